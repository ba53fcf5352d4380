// Package profiles records where a process spends its time and reads it back. In order of execution:
//
//	Start    in the process that is measured: the CPU profile begins
//	Fullest  its heap and goroutines now, not at the end, where the load is gone
//	Stop     the rest is written: CPU, mutex, block
//	Merge    all CPU profiles of a directory become one, which the compiler takes (-pgo)
//	Layers   and a table of where the time went (layers.go)
package profiles

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// Target says where a process writes its profiles. The zero value writes none.
type Target struct {
	Dir  string // is made
	Name string // unique in it
}

// Rates at which the runtime samples: often enough to see what is slow, and seldom enough not to be it.
const (
	blockEveryNs  = 100_000
	mutexFraction = 20
)

const suffix = ".pb.gz"

// kinds are the profiles besides CPU; the first two are taken when the load is at its fullest.
var kinds = []string{"heap", "goroutine", "mutex", "block"}

// Recorder writes the profiles of this process. A nil one does nothing.
type Recorder struct {
	target Target
	cpu    *os.File
	full   bool
}

// Start begins the CPU profile.
func Start(t Target) (*Recorder, error) {
	if t.Dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(t.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	f, err := os.Create(t.file("cpu"))
	if err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write profile: %w", err), f.Close())
	}
	runtime.SetBlockProfileRate(blockEveryNs)
	runtime.SetMutexProfileFraction(mutexFraction)
	return &Recorder{target: t, cpu: f}, nil
}

func (t Target) file(kind string) string {
	return filepath.Join(t.Dir, t.Name+"."+kind+suffix)
}

// Fullest takes heap and goroutines as they are now.
func (r *Recorder) Fullest() error {
	if r == nil {
		return nil
	}
	r.full = true
	return r.write(kinds[:2])
}

// Stop writes what is left.
func (r *Recorder) Stop() (err error) {
	if r == nil {
		return nil
	}
	pprof.StopCPUProfile()
	if !r.full {
		err = r.Fullest()
	}
	err = errors.Join(err, r.write(kinds[2:]), r.cpu.Close())
	runtime.SetBlockProfileRate(0)
	runtime.SetMutexProfileFraction(0)
	return err
}

func (r *Recorder) write(names []string) error {
	for _, name := range names {
		f, err := os.Create(r.target.file(name))
		if err != nil {
			return fmt.Errorf("write profile: %w", err)
		}
		if err := errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close()); err != nil {
			return fmt.Errorf("write profile %s: %w", name, err)
		}
	}
	return nil
}
