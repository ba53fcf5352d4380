package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// cameraRun is what all measurements have in common.
type cameraRun struct {
	cameraPlan
	service  *service.Service
	program  string // heliograph-gst
	launcher string // gst-launch-1.0
	url      string // of the network camera
	profiles string // directory for the devices' profiles; empty: none
}

// cameraCost is what was used in a span.
type cameraCost struct {
	span           time.Duration
	device, source time.Duration // CPU time of the device, and of its source or of the pipeline on its own
	wakeups        uint64        // of the device's threads: each time one waited and went on
	packets        uint64        // that came at the viewers
	lost           uint64
}

func (c cameraCost) String() string {
	return fmt.Sprintf("device %v, source %v of CPU in %v, %d packets, %d lost, %d wake-ups", c.device, c.source, c.span, c.packets, c.lost, c.wakeups)
}

var cameraVariants = map[string][]string{
	cameraEncode: {subject.Device, variantPlain},
	cameraRTSP:   {subject.Device, variantSample},
}

// rounds measures the variants of a mode in turns; every second round goes the other way round.
func (c cameraRun) rounds(ctx context.Context, mode string, progress io.Writer) (*cameraFound, error) {
	f := &cameraFound{mode: mode, viewers: c.viewers, variants: cameraVariants[mode], rounds: make([][]cameraCost, c.cameraPlan.rounds)}
	for round := range f.rounds {
		f.rounds[round] = make([]cameraCost, len(f.variants))
		for i := range f.variants {
			if round%2 == 1 {
				i = len(f.variants) - 1 - i
			}
			cost, err := c.measure(ctx, mode, f.variants[i], round)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", mode, f.variants[i], err)
			}
			f.rounds[round][i] = cost
			fmt.Fprintf(progress, "%s, round %d, %s: %s\n", mode, round+1, variantName(f.variants[i]), cost)
		}
	}
	return f, nil
}

func (c cameraRun) measure(ctx context.Context, mode, variant string, round int) (cameraCost, error) {
	if variant == variantPlain {
		return c.plain(ctx)
	}
	channel := fmt.Sprintf("camera-%s-%s-%d", mode, variant, round)
	order := c.order(channel)
	switch {
	case variant == variantSample:
		order.Sample = true
	case mode == cameraRTSP:
		order.Pipeline = &subject.Pipeline{Program: c.program, Source: c.url}
	default:
		order.Pipeline = &subject.Pipeline{Program: c.program, Source: "gst:" + fmt.Sprintf(encodePipeline, "appsink", "")}
	}
	return c.watched(ctx, order)
}

func (c cameraRun) order(channel string) subject.Order {
	return subject.Order{
		ControlPlane: c.service.PublicURL, CA: c.service.CAPEM, Region: c.service.Region, Credentials: c.service.Credentials,
		Channel: channel, Viewers: c.viewers,
	}
}

func (c cameraRun) target(channel string) profiles.Target {
	return profiles.Target{Dir: c.profiles, Name: channel}
}

func (c cameraRun) gather(ctx context.Context, channel string) (crowd, error) {
	return fanoutRun{mode: fanoutMode{feedback: true}, viewers: c.viewers, channel: channel, service: c.service}.gather(ctx)
}

// watched measures a device while all viewers watch it.
func (c cameraRun) watched(ctx context.Context, order subject.Order) (cost cameraCost, err error) {
	sender, err := subject.StartSender(ctx, subject.Device, order, c.target(order.Channel))
	if err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, sender.Stop()) }()
	crowd, err := c.gather(ctx, order.Channel)
	defer func() { err = errors.Join(err, crowd.leave()) }()
	if err == nil {
		err = awaitStreaming(ctx, sender, c.viewers)
	}
	if err == nil {
		err = awaitPackets(ctx, crowd)
	}
	if err != nil || !pause(ctx, c.warm) {
		return cost, errors.Join(err, ctx.Err())
	}
	sent, received := crowd.counts()
	woken, err := wakeups(sender.Pid())
	if err != nil {
		return cost, err
	}
	cost, err = c.over(ctx, func() (device, source time.Duration, err error) {
		used, err := sender.Cost()
		if err == nil && order.Pipeline != nil {
			source, err = childrenCPU(sender.Pid())
		}
		return used.CPU, source, err
	})
	wokenAfter, failed := wakeups(sender.Pid())
	err = errors.Join(err, failed)
	cost.wakeups = wokenAfter - min(woken, wokenAfter) // a thread that ended takes its count along
	sentAfter, receivedAfter := crowd.counts()
	cost.packets = receivedAfter - received
	cost.lost = sentAfter - sent - min(cost.packets, sentAfter-sent)
	if err == nil && c.profiles != "" {
		_, err = sender.Settle()
	}
	return cost, err
}

// awaitPackets waits until the source has begun: everybody gets something.
func awaitPackets(ctx context.Context, all crowd) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	for _, s := range all {
		for received := uint64(0); received == 0; _, received = s.counts() {
			if !pause(ctx, readyEvery) {
				return fmt.Errorf("await packets: %w", ctx.Err())
			}
		}
	}
	return nil
}

// plain measures the pipeline on its own.
func (c cameraRun) plain(ctx context.Context) (cost cameraCost, err error) {
	ctx, stop := context.WithCancel(ctx)
	text := fmt.Sprintf(encodePipeline, "fakesink", "sync=false")
	cmd := exec.CommandContext(ctx, c.launcher, append([]string{"-q"}, strings.Fields(text)...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		stop()
		return cost, err
	}
	defer func() {
		stop()
		_ = cmd.Wait() // it was killed
	}()
	if !pause(ctx, c.warm+plainStart) {
		return cost, ctx.Err()
	}
	return c.over(ctx, func() (device, source time.Duration, err error) {
		source, err = processCPU(cmd.Process.Pid)
		return 0, source, err
	})
}

// plainStart is how long a pipeline takes to begin.
const plainStart = time.Second

// over takes the difference of what used tells before and after a span.
func (c cameraRun) over(ctx context.Context, used func() (device, source time.Duration, err error)) (cost cameraCost, err error) {
	began := time.Now()
	device, source, err := used()
	if err != nil {
		return cost, err
	}
	if !pause(ctx, c.span) {
		return cost, ctx.Err()
	}
	deviceAfter, sourceAfter, err := used()
	return cameraCost{span: time.Since(began), device: deviceAfter - device, source: sourceAfter - source}, err
}

// crash kills the source under ten viewers, and returns how long each signal left one of them without a
// new picture.
func (c cameraRun) crash(ctx context.Context, round int) (took []time.Duration, err error) {
	order := c.order(fmt.Sprintf("camera-crash-%d", round))
	order.Pipeline = &subject.Pipeline{Program: c.program, Source: "gst:" + fmt.Sprintf(encodePipeline, "appsink", "")}
	sender, err := subject.StartSender(ctx, subject.Device, order, c.target(order.Channel))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sender.Stop()) }()
	crowd, err := c.gather(ctx, order.Channel)
	defer func() { err = errors.Join(err, crowd.leave()) }()
	if err == nil {
		err = awaitPackets(ctx, crowd)
	}
	for _, signal := range crashes {
		if err != nil {
			break
		}
		var one time.Duration
		one, err = crashOnce(ctx, sender.Pid(), signal, crowd)
		took = append(took, one)
	}
	return took, err
}

var crashes = []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV}

// crashOnce waits until another program has taken the killed one's place and everybody has got a packet of
// video that it made.
func crashOnce(ctx context.Context, device int, signal syscall.Signal, all crowd) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	was, err := children(device)
	if err != nil || len(was) != 1 {
		return 0, errors.Join(fmt.Errorf("crash source: the device has %d children", len(was)), err)
	}
	if err := syscall.Kill(was[0], signal); err != nil {
		return 0, fmt.Errorf("crash source: %w", err)
	}
	killed := time.Now()
	for now := was; len(now) != 1 || now[0] == was[0]; {
		if !pause(ctx, readyEvery) {
			return 0, fmt.Errorf("await source after %v: %w", signal, ctx.Err())
		}
		if now, err = children(device); err != nil {
			return 0, err
		}
	}
	before := make([]uint64, len(all))
	for i, s := range all {
		before[i] = s.video()
	}
	for i, s := range all {
		for s.video() == before[i] {
			if !pause(ctx, readyEvery) {
				return 0, fmt.Errorf("await picture after %v: %w", signal, ctx.Err())
			}
		}
	}
	return time.Since(killed), nil
}

// children are the running children of a process.
func children(parent int) (pids []int, err error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		return nil, err
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("read children: %w", err)
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// childrenCPU is the CPU time of a process's running children.
func childrenCPU(parent int) (sum time.Duration, err error) {
	pids, err := children(parent)
	if err == nil && len(pids) == 0 {
		err = errors.New("read CPU time of the source: the device has no child")
	}
	for _, pid := range pids {
		used, failed := processCPU(pid)
		sum, err = sum+used, errors.Join(err, failed)
	}
	return sum, err
}

// processCPU is the user and system time of a process, as proc_pid_stat(5) tells it.
func processCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // the name may hold spaces
	fields := strings.Fields(string(rest))
	var ticks int64
	for _, at := range []int{11, 12} { // utime and stime; the first of fields is the third
		n, err := strconv.ParseInt(fields[min(at, len(fields)-1)], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerS, nil
}

// wakeups are the voluntary context switches of a process's threads, as proc_pid_status(5) tells them.
func wakeups(pid int) (sum uint64, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := bytes.Cut(text, []byte("\nvoluntary_ctxt_switches:"))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read wake-ups: %w", err)
		}
		sum += n
	}
	return sum, nil
}

const ticksPerS = 100 // of what Linux shows, on every machine that Go runs on
