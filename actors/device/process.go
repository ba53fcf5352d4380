package device

import (
	"os"
	"runtime"
)

// ProcessorsDefault is how many threads of a daemon run Go code at the same time. A camera's work is
// small and comes in ticks; with more than one thread the runtime wakes up a second one for most of
// them, which costs a device with ten viewers a quarter more CPU (heliograph-bench fanout, mode
// paced-reference) and buys nothing.
const ProcessorsDefault = 1

// UseProcessors limits this process to n such threads; 0 leaves it at all there are. An explicit
// GOMAXPROCS in the environment wins.
func UseProcessors(n int) {
	if n > 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(n)
	}
}
