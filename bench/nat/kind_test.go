package nat

import "testing"

func TestDirect(t *testing.T) {
	relayed := map[[2]Kind]bool{{PortRestricted, Symmetric}: true, {Symmetric, PortRestricted}: true, {Symmetric, Symmetric}: true}
	for _, a := range append(Kinds(), Open) {
		for _, b := range append(Kinds(), Open) {
			if got := Direct(a, b); got == relayed[[2]Kind{a, b}] {
				t.Errorf("%s and %s: %v", a, b, got)
			}
		}
	}
}
