//go:build !unix

package backplane

import (
	"io"
	"os"
)

// lockFolder has no advisory lock to take here: the open file marks the folder, no more.
func lockFolder(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
