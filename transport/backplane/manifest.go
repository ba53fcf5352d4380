// The manifest: a file of our own that says which keys the store must hold, because JetStream does
// not notice what it lost (with one flipped bit it returns fewer keys, without an error).
//
// Flow of a change: expect writes the manifest with the old and the new checksum of the key, then
// the bucket is written, then settle writes the manifest with the new one alone. A process killed at
// any point leaves a store that the manifest accepts. The existence of the file is the marker that
// there is a store: it is written before JetStream first sees the folder.
//
// Owner: Backplane, under its writing mutex.

package backplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	manifestName  = "manifest"
	manifestMagic = "heliograph manifest 1 "
	absentSum     = "-" // in place of a checksum: the key may be absent
	remedy        = "run heliograph-server repair, which saves what is whole, or restore the folder from a backup"
)

// DamageError says that the store is not what was written to it.
type DamageError struct {
	What   string // what does not fit, and where
	Remedy string // what the user can do
}

func (e *DamageError) Error() string { return "store damaged: " + e.What + ": " + e.Remedy }

func damage(dir, what string) *DamageError {
	where := "store folder " + dir
	if _, err := os.Stat(filepath.Join(dir, asideFolder)); err == nil {
		where += " (as it was found: " + asideFolder + " in it)"
	}
	return &DamageError{What: what, Remedy: where + ": " + remedy}
}

type manifest struct {
	dir   string
	fresh bool                // made by this process: there was no store
	keys  map[string][]string // accepted checksums
}

// loadManifest reads the manifest of a folder, or begins one when the folder is empty.
func loadManifest(dir string) (*manifest, error) {
	m := &manifest{dir: dir, keys: map[string][]string{}}
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, jetstreamFolder)); err == nil {
			return nil, damage(dir, "the file "+manifestName+" is missing beside an existing store")
		}
		m.fresh = true
		return m, m.write()
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	if string(head) != manifestMagic+checksum(manifestName, body) || json.Unmarshal(body, &m.keys) != nil {
		return nil, damage(dir, "the file "+manifestName+" does not match its checksum")
	}
	return m, nil
}

// write replaces the file: whole or not at all, and on the disk when it returns.
func (m *manifest) write() error {
	body, err := json.Marshal(m.keys)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	data := append([]byte(manifestMagic+checksum(manifestName, body)+"\n"), body...)
	path := filepath.Join(m.dir, manifestName)
	if err := writeSynced(path+".new", data); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("replace manifest: %w", err)
	}
	return syncFolder(m.dir)
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open store folder: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("sync store folder: %w", err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// expect accepts sum for key besides what is accepted already, on the disk.
func (m *manifest) expect(key, sum string) error {
	accepted := m.keys[key]
	if len(accepted) == 0 {
		accepted = []string{absentSum}
	}
	if !slices.Contains(accepted, sum) {
		accepted = append(slices.Clone(accepted), sum)
	}
	m.keys[key] = accepted
	return m.write()
}

// settle accepts nothing but sum for key.
func (m *manifest) settle(key, sum string) error {
	if m.keys[key] = []string{sum}; sum == absentSum {
		delete(m.keys, key)
	}
	return m.write()
}

// holdsKeys says whether a key with that mark must be there.
func (m *manifest) holdsKeys(mark string) bool {
	for key, accepted := range m.keys {
		if markOf(key) == mark && !slices.Contains(accepted, absentSum) {
			return true
		}
	}
	return false
}

// markOf is what precedes a key of its kind; a key itself has no slash (token).
func markOf(key string) string { return key[:strings.LastIndexByte(key, '/')+1] }

// change runs a write of the bucket between the two writes of the manifest. sum is the checksum of
// what the key will hold.
func (b *Backplane) change(key, sum string, write func() error) error {
	if b.manifest == nil {
		return write()
	}
	before := slices.Clone(b.manifest.keys[key])
	if err := b.manifest.expect(key, sum); err != nil {
		return err
	}
	err := write()
	if err == nil {
		before = []string{sum}
	} else if !errors.Is(err, errConflict) || len(before) != 1 {
		return err // written or not: both stay accepted until the next change or start
	}
	if settled := b.manifest.settle(key, before[0]); settled != nil {
		// The file on the disk still accepts the old and the new value: no false alarm follows.
		b.log.Warn("settle manifest", zap.Error(settled))
	}
	return err
}

// checkStore compares the buckets with the manifest, and settles what a killed process left open.
func (b *Backplane) checkStore(ctx context.Context) error {
	m := b.manifest
	if m == nil {
		return nil
	}
	var wrong []string
	for _, kind := range b.kinds() {
		found, changed, err := kind.found(ctx)
		if err != nil {
			return damage(m.dir, fmt.Sprintf("the %ss cannot be listed (%v)", kind.name, err))
		}
		for _, what := range append(changed, m.compare(kind.mark, found)...) {
			wrong = append(wrong, kind.name+" "+strings.TrimPrefix(what, kind.mark))
		}
	}
	if len(wrong) > 0 {
		return damage(m.dir, describe(wrong))
	}
	if err := os.RemoveAll(filepath.Join(m.dir, asideFolder)); err != nil {
		return fmt.Errorf("remove the copy of the store: %w", err)
	}
	return m.write()
}

// found reads the checksums of all that the bucket holds, and says what does not match its own.
func (k shelfKind) found(ctx context.Context) (sums map[string]string, wrong []string, err error) {
	sums = map[string]string{}
	err = k.bucket.each(ctx, k.bucket.prefix+">", func(msg *jetstream.RawStreamMsg) (bool, error) {
		key := k.mark + strings.TrimPrefix(msg.Subject, k.bucket.prefix)
		if msg.Header.Get(operationHeader) != "" {
			delete(sums, key)
			return true, nil
		}
		value, err := unseal(key, msg.Data)
		if err != nil {
			wrong = append(wrong, key+" changed")
			return true, nil
		}
		sums[key] = checksum(key, value)
		return true, nil
	})
	return sums, wrong, err
}

// compare settles the keys of one mark on what was found, and says what must not be so.
func (m *manifest) compare(mark string, found map[string]string) (wrong []string) {
	for key, accepted := range m.keys {
		if markOf(key) != mark {
			continue
		}
		sum, there := found[key]
		if !there {
			sum = absentSum
		}
		if slices.Contains(accepted, sum) {
			m.keys[key] = []string{sum}
		} else if there {
			wrong = append(wrong, key+" is not as it was written")
		} else {
			wrong = append(wrong, key+" is lost")
		}
		if sum == absentSum {
			delete(m.keys, key)
		}
		delete(found, key)
	}
	for key := range found {
		wrong = append(wrong, key+" was deleted and is back")
	}
	return wrong
}

// describe names the first few resources.
func describe(wrong []string) string {
	const namesMax = 5
	slices.Sort(wrong)
	if len(wrong) > namesMax {
		return fmt.Sprintf("%s, and %d more", strings.Join(wrong[:namesMax], ", "), len(wrong)-namesMax)
	}
	return strings.Join(wrong, ", ")
}
