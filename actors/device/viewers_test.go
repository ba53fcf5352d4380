package device

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
)

func TestViewersAskForIceServersTheyHaveMissed(t *testing.T) {
	s := newStage(t, Config{ViewersMax: 1}, "viewers", func(p *parts) actor.Actor { return newViewers(p) }, "gatherer")
	defer s.stop(t)
	if told[*messages.IceServersWanted](t, s, "gatherer").Refresh {
		t.Fatal("asked for a new set instead of the current one")
	}
}
