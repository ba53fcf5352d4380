package service

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// The store has a test of its own (transport/backplane). Of the rest of a data directory, these are
// written anew at each start or belong to a device, which shows them at the door:
func heldElsewhere(file string) bool {
	return strings.HasPrefix(file, "store/") || strings.HasPrefix(file, "iot/things/")
}

// kept is what a data directory says beyond the store.
type kept struct {
	document          string // keys.json, whatever its blanks
	authority, device string // certificates
	channels          int
}

// startKept starts a service for as long as it takes to see what it has.
func startKept(t *testing.T, dir string) (kept, error) {
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	s, err := Start(ctx, Config{Dir: dir, Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off, IoT: "127.0.0.1:0"})
	if err != nil {
		return kept{}, err
	}
	defer stop(t, s)
	channels, err := s.back.Channels(ctx)
	if err != nil {
		return kept{}, err
	}
	env, err := ReadEnv(dir)
	if err != nil || env.Credentials != s.Credentials || env.Endpoint != s.PublicURL {
		return kept{}, fmt.Errorf("the env file is not this start's: %+v, %w", env, err)
	}
	d, err := decodeKeys(s.door.keys.initial.kept)
	if err != nil {
		return kept{}, err
	}
	authority, _ := pem.Decode(s.CAPEM)
	root, err := os.ReadFile(filepath.Join(dir, "iot", "root.pem"))
	if err != nil {
		return kept{}, err
	}
	device, _ := pem.Decode(root)
	return kept{string(d.encode()), string(authority.Bytes), string(device.Bytes), len(channels)}, nil
}

// filledDir is a data directory after some use, that nobody has touched for a while.
func filledDir(t *testing.T) (dir string, want kept) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	r := start(t, Config{Dir: dir, IoT: "127.0.0.1:0"})
	r.channel("cam")
	if err := CreateRoleAlias(dir, "mine", nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateThing(dir, "cam"); err != nil {
		t.Fatal(err)
	}
	stop(t, r.Service)
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, keysFile), past, past); err != nil {
		t.Fatal(err)
	}
	want, err := startKept(t, dir)
	if err != nil || want.channels != 1 {
		t.Fatalf("%+v, %v", want, err)
	}
	if _, err := os.Stat(filepath.Join(dir, keysSumFile)); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

// Every flipped bit and every cut in every file beside the store is refused at the start, by a message
// that names the file and the way out, or changes nothing. A disk that rots leaves a file's time alone.
func TestDataDirectoryDamage(t *testing.T) {
	dir, want := filledDir(t)
	type outcome struct{ refused, harmless int }
	table := map[string]*outcome{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, file := range filesOf(t, dir) {
		if heldElsewhere(file) {
			continue
		}
		o := &outcome{}
		table[file] = o
		for name, content := range faultsOf(t, filepath.Join(dir, file)) {
			wg.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; wg.Done() }()
				got, err := startKept(t, damagedDir(t, dir, file, content))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && got == want:
					o.harmless++
				case err == nil:
					t.Errorf("%s %s: silent: started with other keys or certificates", file, name)
				case !strings.Contains(err.Error(), filepath.Base(file)) || !strings.Contains(err.Error(), "remove") && !strings.Contains(err.Error(), "without"):
					t.Errorf("%s %s: neither the file nor the way out is named: %v", file, name, err)
				default:
					o.refused++
				}
			}()
		}
	}
	wg.Wait()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, file := range filesOf(t, dir) {
		if o := table[file]; o != nil {
			fmt.Fprintf(w, "%s\t%d refused\t%d harmless\t0 silent\n", file, o.refused, o.harmless)
		}
	}
	_ = w.Flush()
	t.Logf("\n%s", out.String())
	for _, file := range []string{keysFile, "ca.pem", "ca-key.pem", "iot/root.pem"} {
		if table[file] == nil || table[file].refused == 0 {
			t.Errorf("%s: no damage was refused", file)
		}
	}
}

func filesOf(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// faultsOf are flipped bits and cut ends of a file.
func faultsOf(t *testing.T, path string) map[string][]byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const flips = 20
	faults := map[string][]byte{}
	for i := range min(flips, len(content)) {
		at := i * len(content) / min(flips, len(content))
		flipped := slices.Clone(content)
		flipped[at] ^= 1 << (i % 8)
		faults[fmt.Sprintf("bit %d of byte %d flipped", i%8, at)] = flipped
	}
	for _, length := range []int{0, 1, len(content) / 3, len(content) * 2 / 3, len(content) - 2, len(content) - 1} {
		faults[fmt.Sprintf("cut to %d bytes", length)] = slices.Clone(content[:max(length, 0)])
	}
	return faults
}

// damagedDir is a copy with another content of one file, and the times as they were.
func damagedDir(t *testing.T, dir, file string, content []byte) string {
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(to, file), content, secretMode); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, keysFile))
	if err == nil {
		err = os.Chtimes(filepath.Join(to, keysFile), info.ModTime(), info.ModTime())
	}
	if err != nil {
		t.Error(err)
	}
	return to
}

// Files that vanish are missed, and who writes keys.json is heard.
func TestKeysAreMissedAndMayBeEdited(t *testing.T) {
	dir, want := filledDir(t)
	for _, name := range []string{keysFile, "ca.pem", "ca-key.pem"} {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if _, err := startKept(t, dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(t, dir, func(d *keyDocument) { d.Keys[0].SecretAccessKey = "another" })
	if got, err := startKept(t, dir); err != nil || got.document == want.document || got.authority != want.authority {
		t.Errorf("an edited keys.json: %v", err)
	}
}

// A running service notes the keys in force, and refuses a text that nobody wrote.
func TestKeysRotWhileTheServiceRuns(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Dir: dir, KeysPoll: keysPollTest})
	path, past := filepath.Join(dir, keysFile), time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	r.until("the keys are noted", func() bool {
		_, err := os.Stat(filepath.Join(dir, keysSumFile))
		return err == nil
	})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rotten := bytes.Replace(text, []byte(r.Credentials.SecretAccessKey), []byte(strings.Repeat("x", secretChars)), 1)
	if err := os.WriteFile(path+".rotten", rotten, secretMode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path+".rotten", past, past); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".rotten", path); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeys(dir, "", "000000000000", Limits{}); err == nil || !strings.Contains(err.Error(), keysSumFile) {
		t.Errorf("a start: %v", err)
	}
	r.until("the reload is refused", func() bool { return r.metric(`kvs_service_key_reloads_total{outcome="refused"}`) == "1" })
	if err := r.describeNamed("cam"); !refusedAs(err, "ResourceNotFoundException") {
		t.Errorf("the key in force: %v", err)
	}
}
