// Repair of a store that does not start. Nothing is thrown away: what was there moves into a folder
// of its own.
//
// Flow: Repair locks the folder, so that no server runs on it, lets a copy of it start to hear what
// is wrong, and looks what the bytes still hold (salvage.go). When it is to act, it makes a store of
// that in a scratch folder and exchanges the two (exchange). Killed at any point it leaves a store
// that starts with the right data or does not start, and a second Repair finds everything again.
//
// Owner: whoever called Repair.

package backplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	scratchFolder = "repairing"
	damagedFolder = "damaged-" // and the time of the repair
)

// Repaired says what Repair found, and what it did.
type Repaired struct {
	Damage    string     // what a start says; empty: the store is intact, and nothing else is set
	Resources []Resolved // by kind and name
	Blind     bool       // the manifest is unreadable: nobody knows what else there was
	Aside     string     // folder with all that was there before; empty: nothing was changed
}

// Resolved is one channel or stream.
type Resolved struct {
	Kind  string // channel, stream
	Name  string
	State State
}

// ErrInUse says that a server runs on the store.
var ErrInUse = errors.New("the store is in use")

// Repair examines the store in a folder that no server uses. When act is set and it is damaged, it
// makes a store of what is whole, and sets the damaged one aside.
func Repair(ctx context.Context, dir string, act bool) (r Repaired, err error) {
	if _, err := os.Stat(dir); err != nil {
		return r, fmt.Errorf("repair: there is no store: %w", err)
	}
	lock, err := lockFolder(filepath.Join(dir, "lock"))
	if err != nil {
		return r, fmt.Errorf("repair store folder %s: %w (%w): stop the server first", dir, ErrInUse, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	kinds := (&Backplane{}).kinds()
	all, blind, err := examine(dir, kinds)
	if err != nil {
		return r, fmt.Errorf("read store: %w", err)
	}
	scratch := filepath.Join(dir, scratchFolder)
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if r.Damage, err = rehearse(ctx, dir, scratch); err != nil || r.Damage == "" {
		return r, err
	}
	r.Blind = blind
	for _, kind := range kinds {
		r.Resources = append(r.Resources, resolve(kind, all)...)
	}
	if !act {
		return r, nil
	}
	if err := rebuild(ctx, scratch, all); err != nil {
		return r, fmt.Errorf("make a new store: %w", err)
	}
	r.Aside = filepath.Join(dir, damagedFolder+time.Now().UTC().Format("20060102T150405.000Z"))
	if err := exchange(dir, scratch, r.Aside); err != nil {
		return r, fmt.Errorf("put the new store in place: %w", err)
	}
	return r, nil
}

// examine tells what can be had from the folder. The store as the last start found it comes after
// what JetStream made of it, and overrules it.
func examine(dir string, kinds []shelfKind) (all map[string]verdict, blind bool, err error) {
	log, err := readBlocks(filepath.Join(dir, jetstreamFolder), filepath.Join(dir, asideFolder))
	if err != nil {
		return nil, false, err
	}
	everywhere, err := readBlocks(dir)
	if err != nil {
		return nil, false, err
	}
	var m *manifest
	if _, err := os.Stat(filepath.Join(dir, manifestName)); err == nil {
		var damaged *DamageError
		if m, err = loadManifest(dir); errors.As(err, &damaged) {
			m = nil
		} else if err != nil {
			return nil, false, err
		}
	}
	return judge(m, gather(log, kinds), gather(everywhere, kinds)), m == nil, nil
}

// rehearse lets a copy of the store start, and returns the damage that it tells of.
func rehearse(ctx context.Context, dir, scratch string) (damage string, err error) {
	if err := os.RemoveAll(scratch); err != nil {
		return "", err
	}
	if err := copyStore(dir, scratch); err != nil {
		return "", fmt.Errorf("copy store: %w", err)
	}
	b, err := Open(ctx, Config{Dir: scratch})
	var told *DamageError
	if errors.As(err, &told) {
		return told.What, nil
	}
	if err != nil {
		return "", err
	}
	return "", b.Close()
}

func copyStore(dir, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	err := os.CopyFS(filepath.Join(to, jetstreamFolder), os.DirFS(filepath.Join(dir, jetstreamFolder)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return copyFile(filepath.Join(dir, manifestName), filepath.Join(to, manifestName))
}

// copyFile copies a small file, if there is one.
func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return writeSynced(to, data)
}

func resolve(kind shelfKind, all map[string]verdict) (list []Resolved) {
	for _, key := range sortedKeys(all) {
		if markOf(key) == kind.mark {
			list = append(list, Resolved{kind.name, untoken(strings.TrimPrefix(key, kind.mark)), all[key].state})
		}
	}
	return list
}

// rebuild makes a store in scratch that holds the salvaged values as they were sealed.
func rebuild(ctx context.Context, scratch string, all map[string]verdict) error {
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	b, err := Open(ctx, Config{Dir: scratch})
	if err != nil {
		return err
	}
	for _, kind := range b.kinds() {
		for key, v := range all {
			if markOf(key) != kind.mark || v.value == nil || err != nil {
				continue
			}
			err = b.change(key, checksum(key, v.value), func() error {
				_, err := kind.bucket.put(ctx, strings.TrimPrefix(key, kind.mark), seal(key, v.value), 0, 0)
				return err
			})
		}
	}
	return errors.Join(err, b.Close())
}

// exchange puts the store in scratch in place of the one in dir. The new manifest goes first: as long
// as the rest has not followed, a start compares the old store with it, or misses the store.
func exchange(dir, scratch, aside string) error {
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(dir, manifestName), filepath.Join(aside, manifestName)); err != nil {
		return err
	}
	for _, move := range [][2]string{
		{filepath.Join(scratch, manifestName), filepath.Join(dir, manifestName)},
		{filepath.Join(dir, jetstreamFolder), filepath.Join(aside, jetstreamFolder)},
		{filepath.Join(dir, asideFolder), filepath.Join(aside, asideFolder)},
		{filepath.Join(scratch, jetstreamFolder), filepath.Join(dir, jetstreamFolder)},
	} {
		if err := os.Rename(move[0], move[1]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := syncFolder(dir); err != nil {
			return err
		}
	}
	return nil
}
