package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// fanoutRun is one measurement of one variant.
type fanoutRun struct {
	mode    fanoutMode
	viewers int
	kind    string
	program string // another build of the benchmark; empty: this one
	channel string
	service *service.Service
	profile profiles.Target
}

// fanoutCost is what a sender used while it played for a span.
type fanoutCost struct {
	span    time.Duration
	cpu     time.Duration
	packets uint64 // sent, to all viewers
	lost    uint64
	mallocs uint64
	sends   int64  // calls into the kernel that sent; -1: not known
	peak    uint64 // bytes of RSS, of the process's whole life
	private uint64 // bytes of RSS at the end that are not pages of the program's file
}

func (c fanoutCost) String() string {
	return fmt.Sprintf("%.2f us per packet, %.1f ms per second, %d packets, %d lost",
		c.perPacket(float64(c.cpu.Microseconds())), c.perSecond().Seconds()*1e3, c.packets, c.lost)
}

// perPacket is NaN where nobody was sent anything.
func (c fanoutCost) perPacket(x float64) float64 { return x / float64(c.packets) }

func (c fanoutCost) perSecond() time.Duration {
	return time.Duration(float64(c.cpu) / c.span.Seconds())
}

// measure has the script played to viewers.
func (f fanoutRun) measure(ctx context.Context) (cost fanoutCost, err error) {
	err = f.with(ctx, func(sender *subject.Subject, crowd crowd) error {
		if cost, err = f.play(ctx, sender, crowd); err == nil && f.profile.Dir != "" {
			_, err = sender.Settle()
		}
		return err
	})
	return cost, err
}

// with starts the sender, lets the viewers in, and ends both after do.
func (f fanoutRun) with(ctx context.Context, do func(*subject.Subject, crowd) error) (err error) {
	order := subject.Order{
		ControlPlane: f.service.PublicURL, CA: f.service.CAPEM, Region: f.service.Region, Credentials: f.service.Credentials,
		Channel: f.channel, Viewers: f.viewers, Script: f.mode.script(f.viewers), Program: f.program,
	}
	var crowd crowd
	defer func() { err = errors.Join(err, crowd.leave()) }()
	if f.kind == subject.Bare {
		if crowd, order.Sinks, err = openSinks(f.viewers); err != nil {
			return err
		}
	}
	sender, err := subject.StartSender(ctx, f.kind, order, f.profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sender.Stop()) }()
	if f.kind != subject.Bare {
		crowd, err = f.gather(ctx)
	}
	if err == nil {
		err = awaitStreaming(ctx, sender, f.viewers)
	}
	if err == nil {
		err = do(sender, crowd)
	}
	return err
}

// play has the script played twice: the first time warms up.
func (f fanoutRun) play(ctx context.Context, sender *subject.Subject, crowd crowd) (cost fanoutCost, err error) {
	before, err := f.playOnce(ctx, sender, crowd, f.mode.warm)
	if err != nil {
		return cost, err
	}
	after, err := f.playOnce(ctx, sender, crowd, f.mode.span)
	if err != nil {
		return cost, err
	}
	if after.Viewers != f.viewers {
		return cost, fmt.Errorf("%d of %d viewers are left", after.Viewers, f.viewers)
	}
	cost = fanoutCost{
		span: f.mode.span, cpu: after.CPU - before.CPU, mallocs: after.Mallocs - before.Mallocs, sends: -1,
		peak: after.Peak, private: after.Private, packets: after.sent - before.sent,
	}
	cost.lost = cost.packets - min(after.received-before.received, cost.packets)
	if after.sends >= 0 && !f.mode.feedback { // there the viewers send, too
		cost.sends = after.sends - before.sends
	}
	return cost, nil
}

// still is how all counters stand while nothing is under way.
type still struct {
	subject.Cost
	sent, received uint64
	sends          int64
}

const calmAfter = 60 * time.Millisecond // without a packet

// playOnce has the script played and reads the counters when the last of it has come.
func (f fanoutRun) playOnce(ctx context.Context, sender *subject.Subject, crowd crowd, d time.Duration) (s still, err error) {
	if err := sender.Play(d); err != nil {
		return s, err
	}
	for calm := false; !calm; {
		if !pause(ctx, calmAfter) {
			return s, ctx.Err()
		}
		sent, received := crowd.counts()
		calm = received == s.received
		s.sent, s.received = sent, received
	}
	s.sends = udpSends()
	s.Cost, err = sender.Cost()
	return s, err
}

// crowd are the viewers of a run.
type crowd []guest

// guest counts the packets that were sent to it, and what of them has come.
type guest interface {
	counts() (sent, received uint64)
	video() (received uint64)
	leave() error
}

// gather lets the viewers join, one after the other. It returns those that came, also with an error.
func (f fanoutRun) gather(ctx context.Context) (c crowd, err error) {
	if f.viewers == 0 {
		return nil, nil
	}
	api, err := spectatorAPI(f.mode.feedback, f.mode.feedback)
	if err != nil {
		return nil, err
	}
	l, err := openLobby(ctx, f.service, f.channel, api)
	if err != nil {
		return nil, err
	}
	for i := range f.viewers {
		s, err := l.join(ctx, fmt.Sprintf("viewer-%d", i+1))
		if err != nil {
			return c, err
		}
		c = append(c, s)
	}
	return c, nil
}

// awaitStreaming asks until the sender's side of every connection is up, too: nobody would tell.
func awaitStreaming(ctx context.Context, sender *subject.Subject, viewers int) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	again := time.NewTicker(readyEvery)
	defer again.Stop()
	for {
		cost, err := sender.Cost()
		if err != nil || cost.Viewers == viewers {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("the sender streams to %d of %d viewers: %w", cost.Viewers, viewers, ctx.Err())
		}
	}
}

func (c crowd) counts() (sent, received uint64) {
	for _, s := range c {
		a, b := s.counts()
		sent, received = sent+a, received+b
	}
	return sent, received
}

func (c crowd) leave() (err error) {
	for _, s := range c {
		err = errors.Join(err, s.leave())
	}
	return err
}

// udpSends is how often a process of this machine has told the kernel to send on a UDP socket over
// IPv4: a segmented send counts once, each message of a sendmmsg for itself. -1: the machine does not
// say.
func udpSends() int64 {
	text, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return -1
	}
	const protocol = "\nUdp:" // a line of names, then one of numbers
	_, rest, _ := bytes.Cut(text, []byte(protocol))
	head, rest, _ := bytes.Cut(rest, []byte(protocol))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	names, numbers := bytes.Fields(head), bytes.Fields(line)
	for i, name := range names {
		if string(name) == "OutDatagrams" && i < len(numbers) {
			if n, err := strconv.ParseInt(string(numbers[i]), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}
