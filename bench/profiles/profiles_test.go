package profiles

import (
	"bytes"
	"crypto/sha256"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProfilesAreWrittenAndMerged(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		r, err := Start(Target{Dir: dir + "/x", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		for from := time.Now(); time.Since(from) < 100*time.Millisecond; {
			sha256.Sum256(make([]byte, 4096))
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		for _, kind := range append([]string{"cpu"}, kinds...) {
			if _, err := read(dir + "/x/" + name + "." + kind + suffix); err != nil {
				t.Error(err)
			}
		}
	}
	p, err := Merge(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/" + Merged); err != nil {
		t.Error(err)
	}
	var b bytes.Buffer
	if err := Show(&b, p); err != nil || len(p.Sample) > 0 && !strings.Contains(b.String(), crypto) {
		t.Errorf("%v in\n%s", err, &b)
	}
	if again, err := Merge(t.TempDir()); again != nil || err != nil {
		t.Errorf("nothing merges into %v, %v", again, err)
	}
}

func TestNothingIsRecordedWithoutADirectory(t *testing.T) {
	r, err := Start(Target{})
	if r != nil || err != nil || r.Fullest() != nil || r.Stop() != nil {
		t.Errorf("%v, %v", r, err)
	}
}

// stack is a sample of functions, the innermost first.
func stack(functions ...string) *profile.Sample {
	s := &profile.Sample{Value: []int64{1, 10}}
	for _, name := range functions {
		s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
	}
	return s
}

func TestLayers(t *testing.T) {
	rtc, kernel := ours+"transport/rtc.(*Sender).Send", ours+"actors.(*mailbox).drain"
	for _, test := range []struct {
		want  string
		stack []string
	}{
		{crypto, []string{"crypto/internal/fips140/aes/gcm.seal", "github.com/pion/srtp/v3.x", rtc}},
		{packetise, []string{"runtime.memmove", rtc, kernel}},
		{actors, []string{"runtime.mapaccess1", kernel}},
		{syscalls, []string{"internal/runtime/syscall.Syscall6", "syscall.RawSyscall6", "golang.org/x/sys/unix.Sendmsg", rtc}},
		{scheduler, []string{"internal/runtime/syscall.Syscall6", "internal/runtime/syscall.EpollWait", "runtime.netpoll", "runtime.findRunnable"}},
		{memory, []string{"runtime.nextFreeFast", "runtime.mallocgc", "runtime.newobject", rtc}},
		{memory, []string{"runtime.scanobject", "runtime.gcDrain"}},
		{scheduler, []string{"runtime.futex", "runtime.futexsleep"}},
		{webrtc, []string{"github.com/pion/ice/v4.x"}},
		{harness, []string{ours + "bench/subject.(*script).play"}},
		{others, []string{"runtime.memmove", "main.main"}},
		{others, nil},
	} {
		if got := layerOf(stack(test.stack...)); got != test.want {
			t.Errorf("%v is %s, want %s", test.stack, got, test.want)
		}
	}
	row := Layers(&profile.Profile{Sample: []*profile.Sample{stack(rtc), stack(rtc), stack(kernel), stack("runtime.futex")}})
	if len(row) != 3 || row[0].Name != packetise || row[0].Value != 0.5 {
		t.Errorf("%v", row)
	}
}
