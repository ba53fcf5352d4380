package backplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
)

// victimDir makes the test binary a victim: it changes channels in that folder and says which
// changes were acknowledged, until it is killed.
const (
	victimDir     = "HELIOGRAPH_BACKPLANE_VICTIM"
	victimWriters = 4
)

func victim(dir string) {
	b, err := Open(context.Background(), Config{Dir: dir})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for w := range victimWriters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d.%d", w, i%5)
				if _, err := b.CreateChannel(context.Background(), testChannel(name), 1000); err == nil {
					fmt.Println("+", name)
				} else if err := b.DeleteChannel(context.Background(), name, ""); err == nil {
					fmt.Println("-", name)
				} else {
					fmt.Println("fail", err)
				}
			}
		}()
	}
	wg.Wait()
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	there := map[string]bool{} // as acknowledged
	for round := range 6 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), victimDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 20 + rand.N(30); n > 0 && lines.Scan(); n-- {
			note(t, there, lines.Text())
		}
		if err := child.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // acknowledged before the kill
			note(t, there, lines.Text())
		}
		_ = child.Wait()
		there = afterKill(t, dir, round, there)
	}
}

func note(t *testing.T, there map[string]bool, line string) {
	t.Helper()
	sign, name, _ := strings.Cut(line, " ")
	if sign != "+" && sign != "-" {
		t.Fatalf("the victim says %q", line)
	}
	there[name] = sign == "+"
}

// afterKill opens the folder and compares. Each writer had at most one change under way, which may
// have happened or not.
func afterKill(t *testing.T, dir string, round int, there map[string]bool) map[string]bool {
	t.Helper()
	b := openTest(t, Config{Dir: dir})
	defer b.Close()
	list, err := b.Channels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, differ := map[string]bool{}, map[string]int{}
	for _, c := range list {
		found[c.Name] = true
	}
	for w := range victimWriters {
		for i := range 5 {
			if name := fmt.Sprintf("%d.%d", w, i); found[name] != there[name] {
				differ[fmt.Sprint(w)]++
			}
		}
	}
	for w, n := range differ {
		if n > 1 {
			t.Fatalf("round %d: writer %s: %d acknowledged changes are missing", round, w, n)
		}
	}
	t.Logf("round %d: %d channels, %d changes were under way and happened", round, len(found), len(differ))
	return found
}

// fill makes a store with some history and returns what it holds.
func fill(t *testing.T, dir string) []string {
	t.Helper()
	b := openTest(t, Config{Dir: dir})
	for i := range 20 {
		name := fmt.Sprintf("camera-%02d", i)
		if _, err := b.CreateChannel(t.Context(), testChannel(name), 1000); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if err := b.DeleteChannel(t.Context(), name, ""); err != nil {
				t.Fatal(err)
			}
		}
		if i%10 == 0 {
			if _, err := b.CreateChannel(t.Context(), testChannel(name), 1000); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 4 {
		s, err := b.CreateStream(t.Context(), testStream(fmt.Sprintf("archive-%d", i)), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.MapChannel(t.Context(), channelNamed(t, b, fmt.Sprintf("camera-%02d", i+11)), s); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DeleteStream(t.Context(), "archive-3", ""); err != nil {
		t.Fatal(err)
	}
	list, err := holdings(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return list
}

// holdings is all that a store holds.
func holdings(ctx context.Context, b *Backplane) (all []string, err error) {
	channels, err := b.Channels(ctx)
	if err != nil {
		return nil, err
	}
	streams, err := b.Streams(ctx)
	for _, c := range channels {
		all = append(all, fmt.Sprintf("%+v", c))
	}
	for _, s := range streams {
		all = append(all, fmt.Sprintf("%+v", s))
	}
	return all, err
}

// outcome counts what became of the faults of one kind in one file.
type outcome struct{ found, harmless int }

// Every kind of damage to every file is found, now and at the next start, or does no harm.
func TestDamageIsFoundOrHarmless(t *testing.T) {
	dir := t.TempDir()
	want := fill(t, dir)
	var mu sync.Mutex
	table := map[string]map[string]outcome{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8) // most of the time goes into waiting for the disk
	for _, file := range storeFiles(t, dir) {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		row := map[string]outcome{}
		table[file] = row
		for _, d := range damages(content) {
			wg.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; wg.Done() }()
				store := filepath.Join(t.TempDir(), "store")
				if err := damagedCopy(dir, store, file, d.content); err != nil {
					t.Error(err)
					return
				}
				reported := inspect(t, store, file+" "+d.name, want)
				mu.Lock()
				defer mu.Unlock()
				o := row[d.kind]
				if reported {
					o.found++
				} else {
					o.harmless++
				}
				row[d.kind] = o
			}()
		}
	}
	wg.Wait()
	logOutcomes(t, table)
}

// logOutcomes prints the table, and wants both outcomes to occur.
func logOutcomes(t *testing.T, table map[string]map[string]outcome) {
	t.Helper()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "file\t%s\n", strings.Join(damageKinds, "\t"))
	var sum outcome
	for _, file := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprint(w, file)
		for _, kind := range damageKinds {
			o := table[file][kind]
			sum.found, sum.harmless = sum.found+o.found, sum.harmless+o.harmless
			fmt.Fprintf(w, "\t%d found, %d harmless", o.found, o.harmless)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
	t.Logf("%d files: %d damages found, %d harmless, none silent\n%s", len(table), sum.found, sum.harmless, out.String())
	if sum.found == 0 || sum.harmless == 0 {
		t.Error("the test does not reach both")
	}
}

// storeFiles are all files of a store, without the lock, which holds nothing.
func storeFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && entry.Name() != "lock" {
			files = append(files, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"manifest", "KV_channels/meta.inf", "KV_channels/meta.sum", "KV_channels/msgs/1.blk", "KV_channels/msgs/index.db", "KV_streams/msgs/1.blk"} {
		if !slices.ContainsFunc(files, func(file string) bool { return strings.HasSuffix(file, part) }) {
			t.Fatalf("the store has no %s: %q", part, files)
		}
	}
	return files
}

func damagedCopy(from, to, file string, damaged []byte) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	if damaged == nil {
		return os.Remove(filepath.Join(to, file))
	}
	return os.WriteFile(filepath.Join(to, file), damaged, 0o600)
}

type damaged struct {
	kind, name string
	content    []byte // nil: the file is gone
}

var damageKinds = []string{"flipped", "cut", "zeroed", "removed"}

// damages are single flipped bits, cut ends, blocks of zeros as a power cut leaves them, and the
// file's removal.
func damages(content []byte) []damaged {
	const flips, page = 32, 512
	all := []damaged{{"removed", "removed", nil}}
	for i := range min(flips, len(content)) {
		at := i * len(content) / min(flips, len(content))
		flipped := slices.Clone(content)
		flipped[at] ^= 1 << (i % 8)
		all = append(all, damaged{"flipped", fmt.Sprintf("bit %d of byte %d flipped", i%8, at), flipped})
	}
	for _, at := range []int{0, 1, len(content) / 4, len(content) / 2, len(content) - page, len(content) - 1} {
		if at >= 0 && at < len(content) {
			all = append(all, damaged{"cut", fmt.Sprintf("cut to %d bytes", at), append([]byte{}, content[:at]...)})
		}
	}
	for _, at := range []int{0, len(content) / 2, len(content) - page} {
		if at >= 0 && at < len(content) {
			zeroed := slices.Clone(content)
			clear(zeroed[at:min(at+page, len(zeroed))])
			all = append(all, damaged{"zeroed", fmt.Sprintf("zeros from byte %d", at), zeroed})
		}
	}
	return all
}

// inspect opens a damaged store twice. It says whether the damage was reported; when it was not, the
// store must hold what it held.
func inspect(t *testing.T, dir, what string, want []string) (reported bool) {
	t.Helper()
	for start := range 2 {
		b, err := Open(t.Context(), Config{Dir: dir})
		var damage *DamageError
		if errors.As(err, &damage) {
			if !strings.Contains(err.Error(), "heliograph-server repair") || !strings.Contains(err.Error(), dir) || start == 1 && !reported {
				t.Errorf("%s: start %d: %v", what, start, err)
			}
			reported = true
			continue
		}
		if err != nil {
			t.Errorf("%s: start %d: not told as damage: %v", what, start, err)
			return reported
		}
		list, err := holdings(t.Context(), b)
		if err != nil || !slices.Equal(list, want) || reported {
			t.Errorf("%s: start %d: silent: reported before %t, %d of %d resources, %v", what, start, reported, len(list), len(want), err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	return reported
}

// JetStream cuts a damaged block off. The store as it was found must stay beside it, also through a
// second start.
func TestDamagedStoreIsKept(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	block := "$G/streams/KV_channels/msgs/1.blk"
	damaged, err := os.ReadFile(filepath.Join(dir, jetstreamFolder, block))
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/3] ^= 0x10
	if err := os.WriteFile(filepath.Join(dir, jetstreamFolder, block), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := Open(t.Context(), Config{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), asideFolder) {
			t.Fatalf("opened, or no word of the copy: %v", err)
		}
		kept, err := os.ReadFile(filepath.Join(dir, asideFolder, block))
		if err != nil || !slices.Equal(kept, damaged) {
			t.Fatalf("kept %d bytes of %d, %v", len(kept), len(damaged), err)
		}
	}
}

// Whole parts of the store that vanish are found too.
func TestMissingPartsAreFound(t *testing.T) {
	for _, part := range []string{
		"jetstream", "jetstream/$G/streams/KV_channels", "jetstream/$G/streams/KV_channels/msgs",
		"jetstream/$G/streams/KV_channels/meta.inf", "jetstream/$G/streams/KV_streams",
		"jetstream/$G/streams/KV_streams/msgs", "manifest",
	} {
		dir := t.TempDir()
		fill(t, dir)
		if _, err := os.Stat(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), Config{Dir: dir})
		var damage *DamageError
		if !errors.As(err, &damage) {
			t.Errorf("without %s: %v", part, err)
		}
		t.Logf("without %s: %v", part, err)
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add("key", seal("key", []byte(`{"Name":"a"}`)))
	f.Add("", []byte("\n"))
	f.Fuzz(func(t *testing.T, key string, sealed []byte) {
		value, err := unseal(key, sealed)
		if err == nil && string(seal(key, value)) != string(sealed) {
			t.Fatalf("accepted %q under %q, which seals differently", sealed, key)
		}
		if value, err = unseal(key, seal(key, sealed)); err != nil || string(value) != string(sealed) {
			t.Fatalf("does not read what it wrote: %q, %v", value, err)
		}
	})
}
