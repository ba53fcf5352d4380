package backplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// damageStore makes a filled store and changes one file of it.
func damageStore(t *testing.T, file string, change func([]byte) []byte) (dir string, want []string) {
	t.Helper()
	dir = t.TempDir()
	want = fill(t, dir)
	path := filepath.Join(dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

// states are the names of what Repair reported, by state.
func states(r Repaired) map[State][]string {
	by := map[State][]string{}
	for _, one := range r.Resources {
		by[one.State] = append(by[one.State], one.Kind+" "+one.Name)
	}
	return by
}

const channelBlock = jetstreamFolder + "/$G/streams/KV_channels/msgs/1.blk"

// One record is destroyed: it is named, and everything else is there as it was.
func TestRepairSavesWhatIsWhole(t *testing.T) {
	dir, want := damageStore(t, channelBlock, func(block []byte) []byte {
		at := strings.Index(string(block), `"Name":"camera-07"`)
		block[at+12] ^= 0x10
		return block
	})
	for range 2 { // as an operator would: try, and try again
		if _, err := Open(t.Context(), Config{Dir: dir}); err == nil {
			t.Fatal("the damage was not found")
		}
	}
	before := treeOf(t, dir)
	looked, err := Repair(t.Context(), dir, false)
	if err != nil || looked.Aside != "" || looked.Damage == "" || looked.Blind {
		t.Fatalf("looked: %+v, %v", looked, err)
	}
	if by := states(looked); !slices.Equal(by[Lost], []string{"channel camera-07"}) || len(by[Intact]) != len(want)-1 {
		t.Errorf("looked: lost %q, %d intact of %d", by[Lost], len(by[Intact]), len(want))
	}
	if after := treeOf(t, dir); !slices.Equal(after, before) {
		t.Errorf("looking changed the folder:\n%q\n%q", before, after)
	}
	acted, err := Repair(t.Context(), dir, true)
	if err != nil || !slices.Equal(acted.Resources, looked.Resources) {
		t.Fatalf("acted: %+v, %v", acted, err)
	}
	b := openTest(t, Config{Dir: dir})
	got, err := holdings(t.Context(), b)
	want = slices.DeleteFunc(want, func(one string) bool { return strings.Contains(one, "Name:camera-07 ") })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("after the repair: %v\n%q, want\n%q", err, got, want)
	}
	if _, err := b.CreateChannel(t.Context(), testChannel("camera-07"), 1000); err != nil {
		t.Errorf("make the lost one again: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(filepath.Join(acted.Aside, asideFolder, strings.TrimPrefix(channelBlock, jetstreamFolder))); err != nil || !strings.Contains(string(kept), "camera-19") {
		t.Errorf("the damaged store was not kept: %d bytes, %v", len(kept), err)
	}
	if again, err := Repair(t.Context(), dir, true); err != nil || again.Damage != "" || again.Aside != "" {
		t.Errorf("an intact store: %+v, %v", again, err)
	}
}

func treeOf(t *testing.T, dir string) (tree []string) {
	t.Helper()
	for _, file := range storeFiles(t, dir) {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		tree = append(tree, file+" "+checksum("", content))
	}
	return tree
}

// Whatever the damage: what is there after the repair is what was written, and what is not there
// was named.
func TestRepairNamesWhatItCannotSave(t *testing.T) {
	dir := t.TempDir()
	want := fill(t, dir)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, file := range storeFiles(t, dir) {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range damages(content) {
			if d.kind == "flipped" && i%4 != 0 {
				continue
			}
			wg.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; wg.Done() }()
				store := filepath.Join(t.TempDir(), "store")
				if err := damagedCopy(dir, store, file, d.content); err != nil {
					t.Error(err)
				} else if err := repairAndCompare(t, store, want); err != nil {
					t.Errorf("%s %s: %v", file, d.name, err)
				}
			}()
		}
	}
	wg.Wait()
}

func repairAndCompare(t *testing.T, dir string, want []string) error {
	r, err := Repair(t.Context(), dir, true)
	if err != nil {
		return err
	}
	b, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		return fmt.Errorf("after the repair: %w", err)
	}
	got, err := holdings(t.Context(), b)
	if err := errors.Join(err, b.Close()); err != nil {
		return err
	}
	by := states(r)
	for _, one := range want {
		if slices.Contains(got, one) {
			continue
		}
		_, name, _ := strings.Cut(one, " Name:")
		name, _, _ = strings.Cut(name, " ")
		named := func(all []string) bool {
			return slices.Contains(all, "channel "+name) || slices.Contains(all, "stream "+name)
		}
		if !named(by[Lost]) && !named(by[Earlier]) && !r.Blind {
			return fmt.Errorf("%s is gone and was not named: %v", name, by)
		}
	}
	if extra := len(got) - len(want); extra > 0 && len(by[Unknown]) < extra {
		return fmt.Errorf("%d of %d resources, %v", len(got), len(want), by)
	}
	return nil
}

// Without a manifest the log tells what there was, what was deleted and what is destroyed.
func TestRepairWithoutManifest(t *testing.T) {
	dir, want := damageStore(t, manifestName, func(text []byte) []byte { return text[:len(text)/2] })
	path := filepath.Join(dir, channelBlock)
	block, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block[strings.Index(string(block), `"Name":"camera-07"`)+12] ^= 0x10
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Repair(t.Context(), dir, true)
	if by := states(r); err != nil || !r.Blind || len(by[Intact]) != len(want)-1 || !slices.Equal(by[Lost], []string{"channel camera-07"}) {
		t.Fatalf("%+v, %v", r, err)
	}
	b := openTest(t, Config{Dir: dir})
	defer b.Close()
	want = slices.DeleteFunc(want, func(one string) bool { return strings.Contains(one, "Name:camera-07 ") })
	if got, err := holdings(t.Context(), b); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %d of %d resources", err, len(got), len(want))
	}
}

// A record that was updated is there in its earlier state when the later one is destroyed.
func TestRepairTakesTheEarlierState(t *testing.T) {
	dir, _ := damageStore(t, channelBlock, func(block []byte) []byte {
		at := strings.LastIndex(string(block), `"Name":"camera-11"`) // mapped, after it was made
		block[at+12] ^= 0x10
		return block
	})
	r, err := Repair(t.Context(), dir, true)
	if by := states(r); err != nil || !slices.Equal(by[Earlier], []string{"channel camera-11"}) || by[Lost] != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	b := openTest(t, Config{Dir: dir})
	defer b.Close()
	if c, err := b.Channel(t.Context(), "camera-11"); err != nil || c.Storage {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestRepairRefusesAStoreInUse(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, Config{Dir: dir})
	defer b.Close()
	if _, err := Repair(t.Context(), dir, true); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "stop the server") {
		t.Errorf("repaired under a server: %v", err)
	}
	if _, err := Repair(t.Context(), filepath.Join(dir, "none"), true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("repaired what is not there: %v", err)
	}
}

// Killed between two moves, the store does not start with less than there was, and a second repair
// finds everything.
func TestRepairInterrupted(t *testing.T) {
	for moved := range 4 {
		dir, want := damageStore(t, channelBlock, func(block []byte) []byte { return block[:len(block)-40] })
		r, err := Repair(t.Context(), dir, true)
		if err != nil {
			t.Fatal(err)
		}
		known := r.Resources
		// Taken back step by step from the end: what stands there is what a kill would have left.
		scratch := filepath.Join(dir, scratchFolder)
		if err := os.Mkdir(scratch, 0o700); err != nil {
			t.Fatal(err)
		}
		for i, back := range [][2]string{
			{filepath.Join(dir, jetstreamFolder), filepath.Join(scratch, jetstreamFolder)},
			{filepath.Join(r.Aside, jetstreamFolder), filepath.Join(dir, jetstreamFolder)},
			{filepath.Join(r.Aside, manifestName), filepath.Join(dir, manifestName)},
		} {
			if i < moved {
				if err := os.Rename(back[0], back[1]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if b, err := Open(t.Context(), Config{Dir: dir}); err == nil {
			if got, _ := holdings(t.Context(), b); len(got) < len(want)-1 {
				t.Errorf("%d moves back: started with %d of %d", moved, len(got), len(want))
			}
			_ = b.Close()
		}
		if r, err = Repair(t.Context(), dir, true); err != nil || r.Damage != "" && len(states(r)[Intact]) < len(want)-1 {
			t.Errorf("%d moves back: %v\n%v\n%v", moved, err, states(r), known)
		}
	}
}

func FuzzTraces(f *testing.F) {
	kinds := (&Backplane{}).kinds()
	f.Add([]byte("$KV.channels.a\x40\x00\x00\x00NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n"))
	f.Add(seal("a", []byte(`{"Name":"a"}`)))
	f.Fuzz(func(t *testing.T, block []byte) {
		for _, found := range traces(block, kinds) {
			if found.value != nil && !strings.Contains(string(block), string(seal(found.key, found.value))) {
				t.Fatalf("found %q under %q", found.value, found.key)
			}
		}
	})
}
