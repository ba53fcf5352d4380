package device

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// hook runs the owner's commands, each in an edge, few at a time. Whether a viewer may run one is
// decided before, in the viewer (grants.go); what it runs is decided by the owner's configuration
// alone: a viewer names a command and gives no arguments.
type hook struct {
	*parts
	edges   *actors.Edges
	running int
	pace    *rate.Limiter

	commands map[string][]string // with their arguments, by name
}

const (
	hooksRunningMax    = 4
	hooksPerS          = 5
	hookWithin         = 10 * time.Second
	hookOutputBytesMax = 4 << 10
)

func newHook(p *parts) *hook {
	return &hook{parts: p, pace: rate.NewLimiter(hooksPerS, hooksPerS), commands: p.cfg.Commands}
}

// Receive implements actor.Actor.
func (h *hook) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		h.edges = actors.NewEdges(h.sys, ctx)
	case *messages.HookWanted:
		h.onWanted(ctx, msg)
	case *messages.Settings:
		h.commands = msg.Commands
	case *hookEnded:
		ctx.Send(msg.viewer, msg.done)
	case *actors.EdgeEnded:
		h.running--
	}
}

func (h *hook) onWanted(ctx actor.Context, msg *messages.HookWanted) {
	args, known := h.commands[msg.Command]
	switch {
	case !known:
		ctx.Respond(&messages.HookDone{Ticket: msg.Ticket, Refused: "there is no such command"})
		return
	case h.running >= hooksRunningMax || !h.pace.Allow():
		h.metrics.hooks.WithLabelValues("refused").Inc()
		ctx.Respond(&messages.HookDone{Ticket: msg.Ticket, Refused: "too many commands run; try again later"})
		return
	}
	h.running++
	viewer, log := ctx.Sender(), h.sys.Log().With(zap.String("viewer", msg.ClientID), zap.String("command", msg.Command))
	h.edges.Open("hook "+msg.Command, func(e *actors.Edge) error {
		done := h.run(e.Context(), msg, args, log)
		return e.Post(&hookEnded{viewer, done})
	})
}

// run runs in the edge: it uses the parts alone, which nobody writes.
func (h *hook) run(ctx context.Context, msg *messages.HookWanted, args []string, log *zap.Logger) *messages.HookDone {
	ctx, cancel := context.WithTimeout(ctx, hookWithin)
	defer cancel()
	began := time.Now()
	status, output, err := media.RunHook(ctx, args, []string{"HELIOGRAPH_CLIENT_ID=" + msg.ClientID}, hookOutputBytesMax)
	done := &messages.HookDone{Ticket: msg.Ticket, Status: status, Output: output, Took: time.Since(began)}
	outcome := "ran"
	switch {
	case ctx.Err() != nil:
		outcome, done.Refused = "ended", "the command did not end in time"
	case err != nil:
		outcome, done.Refused = "failed", "the command could not be run; the device's log tells why"
	case status != 0:
		outcome = "status"
	}
	h.metrics.hooks.WithLabelValues(outcome).Inc()
	log.Info("command run for a viewer", zap.Int("status", status), zap.Duration("took", done.Took), zap.Error(err))
	return done
}

// hookEnded is the end of a command, on its way to the viewer that asked.
type hookEnded struct {
	viewer *actor.PID
	done   *messages.HookDone
}
