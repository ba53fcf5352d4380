package rtc

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

func TestReflexiveAddressIsKnownAhead(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	servers := []messages.IceServer{{URLs: []string{stunServer(t, 10*time.Millisecond)}}}
	known, err := e.Reflexive(t.Context(), servers)
	must(t, err)
	if len(known.Addresses) != 1 || known.Addresses[0].Mapped.Addr().String() != "203.0.113.7" || known.Took < 10*time.Millisecond {
		t.Fatalf("found %+v", known)
	}
	v := newViewer(t, wish{video: true})
	d := answerTo(t, e, v, true, PeerConfig{IceServers: servers, Reflexive: known})
	lines := candidateLines(d.answer)
	if len(lines) != 2 || !strings.Contains(lines[1], " 203.0.113.7 ") || !strings.Contains(lines[1], "typ srflx raddr 127.0.0.1 rport "+strings.Fields(lines[0])[5]) {
		t.Fatalf("the answer holds %q, want the host candidate and its reflexive one", lines)
	}
	wait(t, v.up, "the viewer to connect")
	d.connectedEvent()
	for !slices.ContainsFunc(d.all, func(event any) bool {
		phase, ok := event.(*messages.PeerPhase)
		return ok && phase.Name == messages.PhaseGatherSrflx && phase.Took == known.Took
	}) {
		next[*messages.PeerPhase](d)
	}
	for _, event := range d.all {
		if late, ok := event.(*messages.PeerCandidate); ok {
			t.Fatalf("a STUN server was asked again: %v", late.Candidate.Candidate)
		}
	}
}

func TestReflexiveAddressOfASocketThatIsGoneIsLeftOut(t *testing.T) {
	old, e := newEngine(t, EngineConfig{}), newEngine(t, EngineConfig{})
	servers := []messages.IceServer{{URLs: []string{stunServer(t, 0)}}}
	known, err := old.Reflexive(t.Context(), servers)
	must(t, err)
	v := newViewer(t, wish{video: true})
	d := answerTo(t, e, v, false, PeerConfig{IceServers: servers, Reflexive: known})
	if lines := candidateLines(d.answer); len(lines) != 2 || strings.HasPrefix(lines[1], "reflexive") {
		t.Fatalf("the answer holds %q, want what this engine has found", lines)
	}
	if none, err := e.Reflexive(t.Context(), nil); err != nil || len(none.Addresses) != 0 {
		t.Fatalf("without a server: %+v, %v", none, err)
	}
}
