package device

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// What a session does otherwise on a channel whose media is stored: it talks to the storage session
// alone, which has no client id (kvs-protocol.md 4.3).

// consumer is who gets offers and candidates.
func (s *session) consumer() string {
	if s.stores {
		return pathStorage
	}
	return pathViewers
}

// knows tells whether a message may come from such a sender.
func (s *session) knows(sender string) bool {
	if s.stores {
		return sender == ""
	}
	return signaling.ValidClientID(sender)
}

// tellStorage says that the storage session can be joined.
func (s *session) tellStorage(ctx actor.Context, fresh bool) {
	about := s.storing
	about.Setup, about.Fresh = s.setup, fresh
	ctx.Send(s.sys.PID(pathStorage), &about)
}

func (s *session) onStorageSocketWanted(ctx actor.Context) {
	if s.stores && s.state == stateOpen {
		s.tellStorage(ctx, true)
	}
}
