package nat

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNATsBehaveAsTheirKind asks each of them, and one host without any.
func TestNATsBehaveAsTheirKind(t *testing.T) {
	if err := Missing(); err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	n, err := Build(t.Context(), append(Kinds(), Open)...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if left, err := named(n.prefix); err != nil || len(left) > 0 {
			t.Error("left behind: ", left, err)
		}
	}()
	for _, s := range n.Sides {
		got, err := n.Observe(s)
		if err != nil {
			t.Fatal(err)
		}
		if want := s.Kind.Behaviour(); got != want {
			t.Errorf("%s: %s, want %s", s.Kind, got, want)
		}
	}
}
