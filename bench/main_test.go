package bench

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// TestMain is also the main of the servers that the benchmarks' tests start: a subject is this same
// program once more.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == subject.Argument {
		if err := subject.Serve(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == cameraArgument {
		fmt.Fprintln(os.Stderr, playSample(os.Stdout, os.Stderr))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
