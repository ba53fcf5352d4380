//go:build amd64 || arm64

package steps

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// markSignal stops a followed thread and does nothing to others: Go ignores it.
const markSignal = unix.SIGWINCH

// stuckAfter is how long the counted thread may stand in one instruction: longer, and it waits for one of
// those that stand still.
const stuckAfter = 2 * time.Second

// Thread is a thread that may be followed. A child tells it to its parent.
type Thread struct {
	PID, TID int
	Text     uint64 // where its program holds Mark
}

// This is the calling thread; the caller has locked it.
func This() Thread { return Thread{unix.Getpid(), unix.Gettid(), textOf()} }

func textOf() uint64 { return uint64(reflect.ValueOf(Mark).Pointer()) }

// Mark ends a span and begins the next one. Nothing happens to a thread that is not followed.
func (t Thread) Mark() { Mark(t.PID, t.TID) }

// Mark is Thread's, told apart so that its address can be taken.
func Mark(pid, tid int) {
	_, _, _ = unix.RawSyscall(unix.SYS_TGKILL, uintptr(pid), uintptr(tid), uintptr(markSignal))
}

// follower is the state of Follow. Its thread alone may trace.
type follower struct {
	Thread
	frozen []int
	places map[uint64]place
	clocks map[uint64]uint64 // nanoseconds that a clock showed when it was first read in a span
	read   float64           // the least instructions that reading a clock has taken; 0: none was read
	stuck  atomic.Bool
	alive  *time.Timer
}

// state is what matters of the registers.
type state struct {
	at    uint64    // program counter
	moves uint64    // Go's third argument, by which memmove is told how much to move
	args  [2]uint64 // C's first arguments: the clock that clock_gettime(2) is to read, and where to
}

// Follow counts spans, one less than the marks that begin will make the thread set. It returns once all
// are counted, and the process runs on as before.
func Follow(ctx context.Context, t Thread, spans int, begin func() error) (counted []Counts, err error) {
	if err := supported(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(t.TID); err != nil {
		return nil, fmt.Errorf("%w: trace thread: %w", ErrMissing, err)
	}
	f := &follower{Thread: t, places: map[uint64]place{}}
	f.alive = time.AfterFunc(time.Hour, f.wakeUp)
	defer f.alive.Stop()
	defer func() { err = errors.Join(err, f.release()) }()
	if err := begin(); err != nil {
		return nil, err
	}
	f.alive.Reset(stuckAfter)
	if err := f.awaitMark(); err != nil {
		return nil, err
	}
	if err := f.freeze(); err != nil {
		return nil, err
	}
	for range spans {
		one, err := f.span(ctx)
		if err != nil {
			return nil, err
		}
		counted = append(counted, one)
	}
	return counted, nil
}

// wakeUp ends the wait for a thread that does not go on.
func (f *follower) wakeUp() {
	f.stuck.Store(true)
	_ = unix.Tgkill(f.PID, f.TID, unix.SIGURG) // Go takes it for a wish to preempt
}

// wait returns the signal that a thread stopped for; event: the kernel stopped it.
func wait(tid int) (signal unix.Signal, event bool, err error) {
	var status unix.WaitStatus
	for {
		_, err = unix.Wait4(tid, &status, unix.WALL, nil)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("await traced thread: %w", err)
	case !status.Stopped():
		return 0, false, errors.New("await traced thread: it has ended")
	}
	return status.StopSignal(), status>>16 != 0, nil
}

// awaitMark lets the thread run on to its next mark.
func (f *follower) awaitMark() error {
	for {
		signal, _, err := wait(f.TID)
		switch {
		case err != nil:
			return err
		case f.stuck.Load():
			return errors.New("await mark: there is none")
		case signal == markSignal:
			return nil
		}
		if err := unix.PtraceCont(f.TID, int(signal)); err != nil {
			return fmt.Errorf("await mark: %w", err)
		}
	}
}

// freeze stops all other threads, also those that came up meanwhile.
func (f *follower) freeze() error {
	seen := map[int]bool{f.TID: true}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", f.PID))
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil || seen[tid] {
				continue
			}
			seen[tid], fresh = true, true
			if err := f.hold(tid); err != nil {
				return fmt.Errorf("stop thread %d: %w", tid, err)
			}
		}
	}
	return nil
}

func (f *follower) hold(tid int) error {
	if err := unix.PtraceSeize(tid); err != nil {
		if err == unix.ESRCH { // it has ended
			return nil
		}
		return err
	}
	f.frozen = append(f.frozen, tid)
	if err := unix.PtraceInterrupt(tid); err != nil {
		return err
	}
	for {
		signal, event, err := wait(tid)
		if err != nil || event {
			return err
		}
		if err := unix.PtraceCont(tid, int(signal)); err != nil {
			return err
		}
	}
}

// release lets everything run on. The counted thread, which may run, must stop once more for that.
func (f *follower) release() (err error) {
	for _, tid := range f.frozen {
		err = errors.Join(err, f.detach(tid))
	}
	if stopped := unix.PtraceDetach(f.TID); stopped == nil {
		return err
	}
	if unix.PtraceInterrupt(f.TID) == nil {
		if _, _, gone := wait(f.TID); gone == nil {
			return errors.Join(err, f.detach(f.TID))
		}
	}
	return err // it has ended, and wait has told
}

// detach lets a stopped thread go. One that was killed meanwhile has to be waited for here, or its process could
// not end; the first one's end is for whoever started the process.
func (f *follower) detach(tid int) error {
	err := unix.PtraceDetach(tid)
	if err != unix.ESRCH {
		return err
	}
	if tid != f.PID {
		_, _, _ = wait(tid)
	}
	return nil
}

// span counts up to the next mark.
func (f *follower) span(ctx context.Context) (Counts, error) {
	t := tally{Counts: Counts{Layers: map[string]float64{}, Functions: map[string]float64{}}, layer: Other}
	f.clocks = map[uint64]uint64{}
	var before uint64
	var reads [2]uint64 // the clock that is being read, and where to; none: 0
	var began float64   // clock instructions before
	for n := 0; ; n++ {
		if n%4096 == 0 {
			if ctx.Err() != nil {
				return t.Counts, ctx.Err()
			}
			f.alive.Reset(stuckAfter)
		}
		now, err := registers(f.TID)
		if err != nil {
			return t.Counts, fmt.Errorf("read registers: %w", err)
		}
		at := now.at
		p, known := f.places[at]
		if !known {
			p = f.place(at)
			f.places[at] = p
		}
		if !p.repeats || at != before {
			t.step(p)
			if p.copies {
				t.Copied += float64(now.moves)
			}
		}
		before = at
		switch inside := p.layer == Clock; {
		case inside && reads[1] == 0:
			reads, began = now.args, t.Layers[Clock]-1
		case !inside && reads[1] != 0:
			t.spare(f.once(t.Layers[Clock] - began))
			if err := f.slow(reads[0], uintptr(reads[1]), uint64(t.Instructions)); err != nil {
				return t.Counts, err
			}
			reads = [2]uint64{}
		}
		if err := unix.PtraceSingleStep(f.TID); err != nil {
			return t.Counts, fmt.Errorf("step: %w", err)
		}
		signal, _, err := wait(f.TID)
		switch {
		case err != nil:
			return t.Counts, err
		case f.stuck.Load():
			return t.Counts, errStuck
		case signal == markSignal:
			return t.Counts, nil
		}
	}
}

// once returns how many instructions of a clock's reading are none of its own: the kernel changes what is read a
// thousand times a second, and it is read again then, which takes no time but when somebody stops in between.
func (f *follower) once(took float64) (more float64) {
	if f.read == 0 || took < f.read {
		f.read = took
	}
	return took - f.read
}

// slow has a clock that was just read show a nanosecond for each instruction since it was first read: stopped
// after each, the thread takes seconds, and what it does once a second would be counted every time.
func (f *follower) slow(clock uint64, to uintptr, instructions uint64) error {
	var read [16]byte // struct timespec
	if _, err := unix.PtracePeekData(f.TID, to, read[:]); err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	seconds, nanoseconds := binary.NativeEndian.Uint64(read[:8]), binary.NativeEndian.Uint64(read[8:])
	first, known := f.clocks[clock]
	if !known {
		f.clocks[clock] = seconds*1e9 + nanoseconds - instructions
		return nil
	}
	shows := first + instructions
	binary.NativeEndian.PutUint64(read[:8], shows/1e9)
	binary.NativeEndian.PutUint64(read[8:], shows%1e9)
	if _, err := unix.PtracePokeData(f.TID, to, read[:]); err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	return nil
}

// errStuck: the thread waits for a lock of one that stands still. It is chance; try again.
var errStuck = errors.New("the counted thread waits for another one")

// Stuck tells of a count that is worth another try.
func Stuck(err error) bool { return errors.Is(err, errStuck) }

// place finds out about an instruction. A program's text may lie elsewhere in the child.
func (f *follower) place(at uint64) (p place) {
	name := ""
	if fn := runtime.FuncForPC(uintptr(at - f.Text + textOf())); fn != nil {
		name = fn.Name()
		p.copies = name == "runtime.memmove" && uint64(fn.Entry())-textOf() == at-f.Text
	}
	p.function, p.layer = cmp.Or(name, Clock), layerOf(name)
	code := make([]byte, 4)
	if _, err := unix.PtracePeekText(f.TID, uintptr(at), code); err == nil {
		p.call, p.repeats = kindOf(code)
	}
	return p
}
