package steps

import "golang.org/x/sys/unix"

func supported() error { return nil }

func registers(tid int) (state, error) {
	var r unix.PtraceRegs
	err := unix.PtraceGetRegs(tid, &r)
	return state{r.Rip, r.Rcx, [2]uint64{r.Rdi, r.Rsi}}, err
}

// kindOf knows SYSCALL, and the string instructions behind a REP prefix.
func kindOf(code []byte) (call, repeats bool) {
	if code[0] == 0x0f && code[1] == 0x05 {
		return true, false
	}
	if code[0] != 0xf2 && code[0] != 0xf3 {
		return false, false
	}
	op := code[1]
	if op&0xf0 == 0x40 { // REX
		op = code[2]
	}
	return false, op >= 0xa4 && op <= 0xa7 || op >= 0xaa && op <= 0xaf
}
