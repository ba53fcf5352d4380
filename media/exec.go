package media

// Flow: Run starts the program and reads units from its stdout, in the source format or as Annex-B,
// until the program ends, the stream is none that viewers can play, or the run's context ends. The
// wishes for key frames and bitrates come from other goroutines; they are written to the program's stdin
// once it has shown that it speaks the source format.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"go.uber.org/zap"
)

// ExecConfig says which program is a source.
type ExecConfig struct {
	Name  string         // of the source, for logs
	Args  []string       // the program and its arguments
	Env   []string       // added to this program's environment
	Codec messages.Codec // of its video; empty: told by the stream's begin
	Log   *zap.Logger    // takes what the program writes to stderr; nil: nobody
}

// Exec is a source whose units a program of its own makes. Every run starts it anew.
type Exec struct {
	cfg   ExecConfig
	early atomic.Uint64
	codec [2]atomic.Pointer[messages.Codec] // of what came last, by track; nil: nothing has come

	mu       sync.Mutex // guards the rest, which Run and those who wish share
	commands *os.File   // stdin of a program that takes commands; nil: none does now
	bitrate  int
	picture  string // the command; empty: none was asked for
}

// commandWithin is how long a program may leave a command unread while the pipe is full.
const commandWithin = 5 * time.Millisecond

// NewExec returns the source; the program is started by Run.
func NewExec(cfg ExecConfig) *Exec {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Exec{cfg: cfg}
}

// Name implements Source.
func (x *Exec) Name() string { return x.cfg.Name }

// Early returns how many units were dropped because they were taken before the run began.
func (x *Exec) Early() uint64 { return x.early.Load() }

// VideoCodec implements Source. What came counts for more than what was said.
func (x *Exec) VideoCodec() messages.Codec {
	if codec := x.codec[messages.Video].Load(); codec != nil {
		return *codec
	}
	return x.cfg.Codec
}

// AudioCodec implements Source.
func (x *Exec) AudioCodec() messages.Codec {
	if codec := x.codec[messages.Audio].Load(); codec != nil {
		return *codec
	}
	return ""
}

// RequestKeyFrame implements Source.
func (x *Exec) RequestKeyFrame() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.command("key")
}

// RequestBitrate implements Source. What was asked for last also holds for the runs to come.
func (x *Exec) RequestBitrate(bps int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bitrate = bps
	return x.command(fmt.Sprintf("bitrate %d", bps))
}

// RequestPicture implements Source. It holds for the runs to come as well.
func (x *Exec) RequestPicture(size, rate int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.picture = fmt.Sprintf("picture %d %d", size, rate)
	return x.command(x.picture)
}

// command writes a line. A program that does not read is given none any more: half a line may be in
// the pipe.
func (x *Exec) command(line string) bool {
	if x.commands == nil {
		return false
	}
	err := x.commands.SetWriteDeadline(time.Now().Add(commandWithin))
	if err == nil {
		_, err = x.commands.WriteString(line + "\n")
	}
	if err != nil {
		x.cfg.Log.Warn("the source program does not take commands", zap.String("source", x.cfg.Name), zap.Error(err))
		x.commands = nil
	}
	return err == nil
}

// talk makes stdin of a program that speaks the source format the way for commands; nil ends it.
func (x *Exec) talk(stdin *os.File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.commands = stdin
	if stdin != nil && x.bitrate != 0 {
		x.command(fmt.Sprintf("bitrate %d", x.bitrate))
	}
	if stdin != nil && x.picture != "" {
		x.command(x.picture)
	}
}

// Run implements Source. The program's end is an error that tells its status and its last words.
func (x *Exec) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	p := &passage{emit: emit, times: newTimeline(), early: &x.early, codec: &x.codec}
	c, err := startChild(running, x.cfg)
	if err != nil {
		return fmt.Errorf("start source: %w", err)
	}
	err = x.read(c, p)
	x.talk(nil)
	if err != io.EOF {
		stop()
	}
	end := c.end()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == io.EOF:
		return end
	}
	return err
}

func (x *Exec) read(c *child, p *passage) error {
	stdout, err := newOutput(c.stdout)
	if err != nil {
		return fmt.Errorf("read source program: %w", err)
	}
	r := bufio.NewReaderSize(stdout, readBytes)
	first, err := r.Peek(1)
	if err != nil {
		return ended(err)
	}
	if first[0] != pipeMagic {
		return p.annexB(newAnnexB(r, x.cfg.Codec))
	}
	x.talk(c.stdin)
	return p.framed(NewPipeReader(r))
}

// ended makes one of the ways in which a pipe ends.
func ended(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return io.EOF
	}
	return err
}

// passage takes the units of one run from the program to emit.
type passage struct {
	emit  func(*messages.AccessUnit) error
	times *timeline
	video inspector
	sound time.Duration  // the source's time of the last packet
	heard messages.Codec // of the sound; empty: none has come
	count samples
	early *atomic.Uint64
	codec *[2]atomic.Pointer[messages.Codec]
}

// framed passes on a stream in the source format.
func (p *passage) framed(r *PipeReader) error {
	for {
		u, err := r.Next()
		if err != nil {
			return ended(err)
		}
		unit := &messages.AccessUnit{Track: u.Codec.Track(), Codec: u.Codec, Data: u.Data}
		if u.Monotonic && p.times.monotonic != 0 {
			unit.PTS, unit.Captured = p.times.exact(u.PTS)
		} else {
			unit.PTS, unit.Captured = p.times.arrived(unit.Track, u.PTS, time.Now())
		}
		if err := p.pass(unit); err != nil {
			return err
		}
	}
}

// annexB passes on a byte stream, which has no times: a picture was taken when its first bytes came.
func (p *passage) annexB(r *annexB) error {
	last := time.Duration(-1)
	for {
		data, came, err := r.next()
		if err != nil {
			return ended(err)
		}
		last = max(last+1, came.Sub(p.times.start))
		unit := &messages.AccessUnit{Codec: r.codec, Data: data, PTS: last, Captured: came}
		if err := p.pass(unit); err != nil {
			return err
		}
	}
}

func (p *passage) pass(unit *messages.AccessUnit) error {
	if unit.PTS < 0 {
		p.early.Add(1)
		return nil
	}
	var err error
	if unit.Track == messages.Audio {
		err = p.hear(unit)
	} else {
		if !p.video.begun {
			codec := unit.Codec // of the unit nothing is kept
			p.codec[messages.Video].Store(&codec)
		}
		err = p.video.inspect(unit)
	}
	if err != nil {
		return err
	}
	if err := p.emit(unit); err != nil {
		return fmt.Errorf("emit unit: %w", err)
	}
	return nil
}

// hear checks a packet of sound, and gives it the media time of its samples.
func (p *passage) hear(unit *messages.AccessUnit) error {
	switch {
	case p.heard == "":
		codec := unit.Codec
		p.heard = codec
		p.codec[messages.Audio].Store(&codec)
	case unit.Codec != p.heard:
		return fmt.Errorf("the source changed from %s to %s", p.heard, unit.Codec)
	case unit.PTS <= p.sound:
		return fmt.Errorf("the time of an audio packet is %v before that of the one that came earlier", p.sound-unit.PTS)
	}
	p.sound = unit.PTS
	unit.PTS = p.count.count(unit.Codec, unit.Data, unit.PTS)
	return nil
}
