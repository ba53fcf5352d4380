package service

// What tells damage to keys.json from a change by its owner. A flipped bit in a secret or a policy
// leaves a file that is read without complaint; but a disk does not move a file's time of change, and
// an editor does. keys.sum keeps checksum and time of the keys that were in force last: another text
// of the same time is damage.
//
// Owner: Start, and then the edge of keywatch.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	keysSumFile   = "keys.sum"
	keysSumFormat = "heliograph keys 1 %x %d\n"
	// A second change within the clock's tick keeps the time. FAT has the longest tick, 2 s.
	keysSettled = 3 * time.Second
)

func keysSum(text []byte, changed time.Time) string {
	return fmt.Sprintf(keysSumFormat, sha256.Sum256(text), changed.UnixNano())
}

// checkKeysSum refuses a text that changed without its owner. A keys.sum that cannot be read says nothing.
func checkKeysSum(dir string, text []byte, changed time.Time) error {
	noted, err := os.ReadFile(filepath.Join(dir, keysSumFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", keysSumFile, err)
	}
	var sum []byte
	var at int64
	if n, _ := fmt.Sscanf(string(noted), keysSumFormat, &sum, &at); n != 2 || at != changed.UnixNano() || string(noted) == keysSum(text, changed) {
		return nil
	}
	return fmt.Errorf("%s in %s is damaged: it does not match %s, and nobody has written it since: restore it from a backup, or correct it and remove %s",
		keysFile, dir, keysSumFile, keysSumFile)
}

// noteKeys writes keys.sum for keys that are in force, once the time of their file can be relied on.
func noteKeys(dir string, texts keyTexts) error {
	if dir == "" || time.Since(texts.changed) < keysSettled {
		return nil
	}
	path, sum := filepath.Join(dir, keysSumFile), keysSum(texts.kept, texts.changed)
	if noted, err := os.ReadFile(path); err == nil && string(noted) == sum {
		return nil
	}
	if err := os.WriteFile(path, []byte(sum), secretMode); err != nil {
		return fmt.Errorf("write %s: %w", keysSumFile, err)
	}
	return nil
}
