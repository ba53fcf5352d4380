package steps

import (
	"fmt"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// supported: a processor without the atomic instructions of Armv8.1, such as a Cortex-A53 or A72, uses pairs
// of exclusive loads and stores, and a stop between the two makes the store fail, for ever.
func supported() error {
	if !cpu.ARM64.HasATOMICS {
		return fmt.Errorf("%w: the processor has no atomic instructions (LSE)", ErrMissing)
	}
	return nil
}

// noteGeneral is NT_PRSTATUS: the general registers.
const noteGeneral = 1

func registers(tid int) (state, error) {
	var r unix.PtraceRegsArm64
	err := unix.PtraceGetRegSetArm64(tid, noteGeneral, &r)
	return state{r.Pc, r.Regs[2], [2]uint64{r.Regs[0], r.Regs[1]}}, err
}

// kindOf knows SVC #0.
func kindOf(code []byte) (call, repeats bool) {
	return code[0] == 0x01 && code[1] == 0 && code[2] == 0 && code[3] == 0xd4, false
}
