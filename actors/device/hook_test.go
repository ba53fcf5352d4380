package device

import (
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
)

func TestHookRunsTheOwnersCommandAlone(t *testing.T) {
	cfg := Config{Commands: map[string][]string{
		"who": {"/bin/sh", "-c", `echo "$HELIOGRAPH_CLIENT_ID"; exit 2`}, "gone": {"/nonexistent/program"}, "many": {"/bin/sh", "-c", "read line"},
	}}
	s := newStage(t, cfg, "hook", func(p *parts) actor.Actor { return newHook(p) }, "asker")
	defer s.stop(t)
	ask := func(ticket uint64, command string) *messages.HookDone {
		s.sys.Tell("device/asker", &say{s.sys.PID(pathHook), &messages.HookWanted{Ticket: ticket, ClientID: "me", Command: command}})
		return told[*messages.HookDone](t, s, "asker")
	}
	if got := ask(1, "who"); got.Ticket != 1 || got.Status != 2 || got.Output != "me\n" || got.Refused != "" {
		t.Errorf("got %+v", got)
	}
	if got := ask(2, "gone"); got.Refused == "" || strings.Contains(got.Refused, "/nonexistent") {
		t.Errorf("got %+v", got)
	}
	if got := ask(3, "/bin/sh"); got.Refused != "there is no such command" {
		t.Errorf("got %+v", got)
	}
	refused := 0
	for i := range 2 * hooksPerS {
		if got := ask(uint64(10+i), "many"); strings.Contains(got.Refused, "too many") {
			refused++
		}
	}
	if refused == 0 {
		t.Error("commands run at any rate")
	}
}
