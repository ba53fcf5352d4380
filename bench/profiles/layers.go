package profiles

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// Merged is the file, in a directory of profiles, that holds all of its CPU profiles as one.
const Merged = "merged" + suffix

// Merge reads all CPU profiles below a directory and writes them as one; nil where there are none.
func Merge(dir string) (*profile.Profile, error) {
	var all []*profile.Profile
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".cpu"+suffix) {
			return err
		}
		p, err := read(name)
		all = append(all, p)
		return err
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	merged, err := profile.Merge(all)
	if err != nil {
		return nil, fmt.Errorf("merge profiles: %w", err)
	}
	f, err := os.Create(filepath.Join(dir, Merged))
	if err != nil {
		return nil, fmt.Errorf("merge profiles: %w", err)
	}
	return merged, errors.Join(merged.Write(f), f.Close())
}

func read(name string) (*profile.Profile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("read profile %s: %w", name, err)
	}
	return p, nil
}

// The layers.
const (
	crypto    = "crypto"
	syscalls  = "syscalls"
	packetise = "packetise"
	actors    = "actors"
	webrtc    = "webrtc" // pion's, where it is neither crypto nor ours
	memory    = "GC"     // and allocation
	scheduler = "runtime"
	harness   = "bench"
	others    = "other"
)

const ours = "github.com/heliograph-rtc/heliograph/"

// rules give a function to a layer by the beginning of its name; the first that fits counts.
var rules = []struct {
	layer    string
	prefixes []string
}{
	{memory, []string{"runtime.gc", "runtime.mallocgc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.scan", "runtime.sweep", "runtime.wbBuf",
		"runtime.growslice", "runtime.newobject", "runtime.makeslice", "runtime.(*mspan)", "runtime.(*mheap)", "runtime.(*mcache)", "runtime.(*mcentral)"}},
	{scheduler, []string{"runtime.schedule", "runtime.findRunnable", "runtime.mcall", "runtime.park", "runtime.gopark", "runtime.goready", "runtime.ready",
		"runtime.futex", "runtime.netpoll", "runtime.usleep", "runtime.sysmon", "runtime.mstart", "runtime.wakep", "runtime.startm", "runtime.stopm",
		"runtime.lock2", "runtime.unlock2", "runtime.(*timer", "runtime.(*timers", "runtime.entersyscall", "runtime.exitsyscall", "runtime.reentersyscall", "runtime.newproc", "runtime.goexit0"}},
	{syscalls, []string{"internal/runtime/syscall", "syscall.", "golang.org/x/sys/unix.", "internal/poll.", "net.(*"}},
	{crypto, []string{"crypto/", "golang.org/x/crypto", "hash/", "math/big.", "github.com/pion/srtp", "github.com/pion/dtls"}},
	{packetise, []string{ours + "transport/rtc", ours + "media", "github.com/pion/rtp"}},
	{webrtc, []string{"github.com/pion/"}},
	{actors, []string{ours + "actors", "github.com/asynkron/"}},
	{harness, []string{ours + "bench"}},
}

// layerOf goes from the innermost function outwards until one belongs to a layer: what copies memory
// or hashes a key works for whoever called it. A system call of the poller is the runtime's.
func layerOf(s *profile.Sample) string {
	found := ""
	for _, at := range s.Location {
		for _, line := range at.Line {
			layer := layerOfFunction(line.Function)
			switch {
			case found == "":
				found = layer
			case found == syscalls && (layer == scheduler || layer == memory):
				return layer
			}
			if found != "" && found != syscalls {
				return found
			}
		}
	}
	if found == "" {
		return others
	}
	return found
}

func layerOfFunction(f *profile.Function) string {
	if f == nil {
		return ""
	}
	return LayerOf(f.Name)
}

// LayerOf is the layer that a function belongs to by itself; empty: it works for whoever calls it.
func LayerOf(function string) string {
	for _, r := range rules {
		for _, prefix := range r.prefixes {
			if strings.HasPrefix(function, prefix) {
				return r.layer
			}
		}
	}
	return ""
}

// Layers are the shares of a CPU profile's time by layer, the greatest first.
func Layers(p *profile.Profile) report.Row {
	return shares(p, layerOf)
}

// functions are the shares by innermost function.
func functions(p *profile.Profile) report.Row {
	return shares(p, func(s *profile.Sample) string {
		if len(s.Location) == 0 || len(s.Location[0].Line) == 0 || s.Location[0].Line[0].Function == nil {
			return others
		}
		return s.Location[0].Line[0].Function.Name
	})
}

func shares(p *profile.Profile, of func(*profile.Sample) string) (row report.Row) {
	sums := map[string]int64{}
	var all int64
	for _, s := range p.Sample {
		v := s.Value[len(s.Value)-1] // nanoseconds; the first is a count
		sums[of(s)] += v
		all += v
	}
	if all == 0 {
		return nil
	}
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b)) })
	for _, name := range names {
		row = append(row, report.Field{Name: name, Value: float64(sums[name]) / float64(all)})
	}
	return row
}

const functionsShown = 15

// Show writes where the time goes.
func Show(w io.Writer, p *profile.Profile) error {
	for _, part := range []struct {
		head string
		row  report.Row
		most int
	}{{"layer", Layers(p), len(rules) + 1}, {"function", functions(p), functionsShown}} {
		var rows []report.Row
		for _, f := range part.row[:min(part.most, len(part.row))] {
			rows = append(rows, report.Row{{Name: "share", Value: fmt.Sprintf("%.1f %%", 100*f.Value.(float64))}, {Name: part.head, Value: f.Name}})
		}
		fmt.Fprintln(w, "\nwhere the time goes")
		if err := report.Table(w, rows, "share", part.head); err != nil {
			return err
		}
	}
	return nil
}
