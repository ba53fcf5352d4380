//go:build amd64 || arm64

package steps

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// counted in the environment makes the test binary the counted process.
const counted = "HELIOGRAPH_TEST_COUNTED"

func TestMain(m *testing.M) {
	if os.Getenv(counted) != "" {
		work()
		return
	}
	os.Exit(m.Run())
}

var moved, source [4096]byte

var result int

// work does loops of 0, 1000, 2000 and 3000 rounds, then copies.
func work() {
	runtime.LockOSThread()
	me := This()
	_ = json.NewEncoder(os.Stdout).Encode(me)
	_, _ = fmt.Scanln()
	me.Mark()
	for n := range 4 {
		me.Mark()
		result += loop(1000 * n)
	}
	me.Mark()
	copy(moved[:], source[:1000+result&1])
	me.Mark()
}

//go:noinline
func loop(n int) (sum int) {
	for i := range n {
		sum = sum ^ i + 3
	}
	return sum
}

// followWork counts the work of a child. A child whose counted thread waits for one that stands still is tried
// again, as package bench does.
func followWork(t *testing.T) []Counts {
	t.Helper()
	for range 10 {
		spans, err := followChild(t)
		switch {
		case errors.Is(err, ErrMissing):
			t.Skip(err)
		case err == nil:
			return spans
		case !Stuck(err):
			t.Fatal(err)
		}
	}
	t.Fatal("the counted thread waits for another one every time")
	return nil
}

func followChild(t *testing.T) (spans []Counts, err error) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), counted+"=1"), os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var thread Thread
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &thread)
	}
	if err == nil {
		spans, err = Follow(t.Context(), thread, 6, func() error { _, err := fmt.Fprintln(in); return err })
	}
	if err != nil {
		_ = child.Process.Kill()
		_ = child.Wait()
		return nil, err
	}
	return spans, child.Wait() // it runs on, and ends well
}

func TestFollowCountsExactly(t *testing.T) {
	spans := followWork(t)
	for i, s := range spans {
		for what, parts := range map[string]map[string]float64{"layers": s.Layers, "functions": s.Functions} {
			var sum float64
			for _, n := range parts {
				sum += n
			}
			if sum != s.Instructions {
				t.Errorf("span %d: %s sum up to %v of %v: %v", i, what, sum, s.Instructions, parts)
			}
		}
	}
	rounds := spans[3].Instructions - spans[2].Instructions
	each := math.Round(rounds / 1000)
	if each < 2 || each > 50 || math.Abs(rounds-1000*each) > 4 { // the work around the loop takes a few
		t.Errorf("1000 rounds more took %v instructions", rounds)
	}
	if more := spans[4].Instructions - spans[3].Instructions; math.Abs(more-rounds) > 4 {
		t.Errorf("1000 rounds more took %v instructions, the ones before %v", more, rounds)
	}
	if first := spans[2].Instructions - spans[1].Instructions; math.Abs(first-rounds) > 200 { // a loop of no rounds leaves another way
		t.Errorf("1000 rounds took %v instructions more than none, and %v the ones after", first, rounds)
	}
	if c := spans[0]; c.Calls != 1 || c.Instructions > 200 {
		t.Errorf("between two marks: %+v", c)
	}
	if got := spans[5].Copied; got < 1000 || got > 1001 {
		t.Errorf("copied %v bytes", got)
	}
}
