//go:build unix

package backplane

import (
	"io"
	"os"
	"syscall"
)

// lockFolder keeps a second process out: JetStream does not, and two servers on one folder destroy
// it. The kernel drops the lock when the process ends, however it ends.
func lockFolder(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
