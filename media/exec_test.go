package media

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// The tests run this binary once more as the source program: a name in the environment says which.
const actAs = "HELIOGRAPH_TEST_SOURCE"

var sourcePrograms = map[string]func() error{
	"framed": func() error { return writeFramed(os.Stdout, 3) },
	"annexb": func() error {
		_, err := os.Stdout.Write(sampleH264[:200_000])
		return err
	},
	"text": func() error {
		fmt.Println("Opening camera 1 ...")
		return nil
	},
	"fails": func() error {
		fmt.Fprintln(os.Stderr, "loading\nno camera at index 7")
		os.Exit(3)
		return nil
	},
	"noisy": func() error {
		for i := range 1000 {
			fmt.Fprintln(os.Stderr, i, strings.Repeat("x", 10_000))
		}
		return nil
	},
	"obeys": func() error { // tells in its sound what it was told
		if err := writeFramed(os.Stdout, 1); err != nil {
			return err
		}
		lines := bufio.NewScanner(os.Stdin)
		for i := 1; lines.Scan(); i++ {
			unit := PipeUnit{Codec: messages.Opus, PTS: time.Hour + time.Duration(i)*time.Millisecond, Data: lines.Bytes()}
			if err := WritePipeUnit(os.Stdout, unit); err != nil {
				return err
			}
		}
		return errors.New("stdin has ended")
	},
	"deaf": func() error {
		if err := writeFramed(os.Stdout, 1); err != nil {
			return err
		}
		select {}
	},
	"backwards": func() error {
		for _, pts := range []time.Duration{0, 80, 40} {
			if err := WritePipeUnit(os.Stdout, PipeUnit{Codec: messages.H264, PTS: pts * time.Millisecond, Data: keyUnit}); err != nil {
				return err
			}
		}
		return nil
	},
	"monotonic": func() error {
		return WritePipeUnit(os.Stdout, PipeUnit{Codec: messages.H264, PTS: monotonicNow(), Monotonic: true, Data: keyUnit})
	},
}

// keyUnit is a key frame as far as we look.
var keyUnit = []byte{0, 0, 1, 0x67, 66, 0xe0, 31, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 0x88, 0x80}

func writeFramed(w io.Writer, count int) error {
	for i := range count {
		if err := WritePipeUnit(w, PipeUnit{Codec: messages.H264, PTS: time.Hour + time.Duration(i)*40*time.Millisecond, Data: keyUnit}); err != nil {
			return err
		}
	}
	return nil
}

// play runs a program until it ends or take says so, and returns what it gave.
func play(t *testing.T, x *Exec, take func(*messages.AccessUnit) error) (units []*messages.AccessUnit, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = x.Run(ctx, func(u *messages.AccessUnit) error {
		units = append(units, u)
		if take != nil {
			return take(u)
		}
		return nil
	})
	return units, err
}

// execTest makes a source of one of the programs above. Where an emulator runs the tests it has to run the
// child as well.
func execTest(t *testing.T, name string, log *zap.Logger) *Exec {
	t.Helper()
	t.Setenv(actAs, name)
	return NewExec(ExecConfig{Name: name, Args: append(strings.Fields(os.Getenv("TEST_EMULATOR")), os.Args[0]), Log: log})
}

func TestExecPassesFramesOn(t *testing.T) {
	units, err := play(t, execTest(t, "framed", nil), nil)
	if len(units) != 3 || err == nil || err.Error() != "source program ended" {
		t.Fatalf("%d units, ended with %v", len(units), err)
	}
	for i, u := range units {
		if !u.KeyFrame || u.Codec != messages.H264 || u.PTS-units[0].PTS != time.Duration(i)*40*time.Millisecond || !bytes.Equal(u.Data, keyUnit) {
			t.Fatalf("unit %d: %+v", i, u)
		}
		if age := time.Since(u.Captured); age < 0 || age > time.Minute {
			t.Fatalf("unit %d was captured %v ago", i, age)
		}
	}
}

func TestExecReadsAnnexB(t *testing.T) {
	units, err := play(t, execTest(t, "annexb", nil), nil)
	if err == nil || len(units) < 30 || !units[0].KeyFrame {
		t.Fatalf("%d units, %v", len(units), err)
	}
	var all []byte
	for i, u := range units {
		if all = append(all, u.Data...); i > 0 && u.PTS <= units[i-1].PTS {
			t.Fatalf("unit %d at %v after one at %v", i, u.PTS, units[i-1].PTS)
		}
	}
	if !bytes.Equal(all, sampleH264[:200_000]) {
		t.Fatal("bytes were lost")
	}
}

func TestExecTellsWhyItEnded(t *testing.T) {
	for name, want := range map[string]string{
		"text":      "it holds no start code",
		"fails":     "failed with exit status 3, its last words: loading; no camera at index 7",
		"backwards": "pictures are out of order, which viewers cannot play; turn B-frames off",
	} {
		if _, err := play(t, execTest(t, name, nil), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: ended with %v, want %q", name, err, want)
		}
	}
	missing := NewExec(ExecConfig{Args: []string{"no-such-camera"}})
	if _, err := play(t, missing, nil); err == nil || !strings.Contains(err.Error(), `"no-such-camera"`) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestExecBoundsWhatIsLogged(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	x := execTest(t, "noisy", zap.New(core))
	if _, err := play(t, x, nil); err == nil || len(err.Error()) > 2000 {
		t.Fatalf("ended with %.3000v", err)
	}
	if n := logged.Len(); n == 0 || n > 60*saidLinesPerS {
		t.Fatalf("logged %d lines", n)
	}
	if line := logged.All()[0].ContextMap()["said"].(string); len(line) > saidLineBytesMax {
		t.Fatalf("logged a line of %d bytes", len(line))
	}
}

func TestExecPassesWishesOn(t *testing.T) {
	x := execTest(t, "obeys", nil)
	if x.RequestKeyFrame() || x.RequestBitrate(700_000) {
		t.Fatal("took wishes before it runs")
	}
	enough := errors.New("enough")
	var heard []string
	_, err := play(t, x, func(u *messages.AccessUnit) error {
		if u.Track == messages.Video {
			if !x.RequestKeyFrame() || !x.RequestBitrate(900_000) {
				t.Error("took no wish while it runs")
			}
			return nil
		}
		if heard = append(heard, string(u.Data)); len(heard) == 3 {
			return enough
		}
		return nil
	})
	if want := "bitrate 700000,key,bitrate 900000"; strings.Join(heard, ",") != want || !errors.Is(err, enough) {
		t.Fatalf("the program was told %v, want %v; ended with %v", heard, want, err)
	}
}

// A program that reads no commands does not stop the one who has a wish.
func TestExecIsNotHeldUpByTheDeaf(t *testing.T) {
	x := execTest(t, "deaf", nil)
	enough := errors.New("enough")
	_, err := play(t, x, func(*messages.AccessUnit) error {
		for range 100_000 {
			if !x.RequestKeyFrame() {
				return enough
			}
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("ended with %v", err)
	}
}

func TestExecEndsWhatTheProgramStarted(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x := NewExec(ExecConfig{Name: "shell", Args: []string{"/bin/sh", "-c", "sleep 1000 & echo $! >&2; wait"}})
	core, logged := observer.New(zap.InfoLevel)
	x.cfg.Log = zap.New(core, zap.Hooks(func(zapcore.Entry) error { cancel(); return nil })) // its first words end it
	if err := x.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
	pid, err := strconv.Atoi(logged.All()[0].ContextMap()["said"].(string))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second) // the kernel ends it in its own time
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatal("what the program has started is still there")
		}
	}
}

// alive reads the state of a process; one that nobody has waited for is none any more.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

func TestExecKnowsWhenAPictureWasTaken(t *testing.T) {
	if monotonicNow() == 0 {
		t.Skip("no CLOCK_MONOTONIC here")
	}
	before := time.Now()
	units, _ := play(t, execTest(t, "monotonic", nil), nil)
	if len(units) != 1 || units[0].Captured.Before(before) || units[0].Captured.After(time.Now()) || units[0].PTS <= 0 {
		t.Fatalf("began at %v, got %+v", before, units)
	}
}
