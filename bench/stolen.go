package bench

import (
	"fmt"
	"os"
	"strings"
)

// On a virtual machine whose processors serve others as well, whoever is ready to run may have to wait for
// tens of milliseconds, and that time may count as its own: what a report says of tails, and of a processor's
// time, is to be read by how much was taken.

// processors is what the machine's processors have done since it began, in clock ticks (proc_stat(5)).
type processors struct{ busy, stolen uint64 }

// readProcessors gives zeros where the system does not say.
func readProcessors() processors {
	text, _ := os.ReadFile("/proc/stat")
	return processorsOf(string(text))
}

func processorsOf(stat string) (p processors) {
	first, _, _ := strings.Cut(stat, "\n")
	var user, nice, system, idle, waiting, interrupts, soft, stolen uint64
	if _, err := fmt.Sscanf(first, "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &waiting, &interrupts, &soft, &stolen); err != nil {
		return p
	}
	return processors{busy: user + nice + system + interrupts + soft, stolen: stolen}
}

// stolenSince is the share of the time in which there was something to do that went to others.
func (p processors) stolenSince(before processors) float64 {
	stolen := p.stolen - before.stolen
	if wanted := p.busy - before.busy + stolen; wanted > 0 {
		return float64(stolen) / float64(wanted)
	}
	return 0
}
