package device

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
)

// New settings reach the tree as one message. In order of execution:
//
//	Device.Reload   reads and checks them: what is bad changes nothing
//	root            keeps them for whomever it spawns from then on, and passes them on
//	the others      take what is theirs of them, and do at once what follows. Their parts stay as they are:
//	                edges read them

// Reload has read give new settings, checks them as Start does and passes them on. An error leaves the
// device as it was.
func (d *Device) Reload(ctx context.Context, read func() (*messages.Settings, error)) error {
	s, err := read()
	if err == nil {
		_, err = d.cfg.with(s).withDefaults()
	}
	if err == nil {
		_, err = ask[messages.SettingsTaken](ctx, d.sys, pathRoot, s)
	}
	if err != nil {
		d.reload.WithLabelValues("refused").Inc()
		return err
	}
	d.reload.WithLabelValues("taken").Inc()
	return nil
}

// with is the configuration with other settings.
func (c Config) with(s *messages.Settings) Config {
	c.ViewersMax, c.RelayOnly, c.Grants, c.Commands = s.ViewersMax, s.RelayOnly, s.Grants, s.Commands
	c.Bitrate = BitrateLimits{Min: s.BitrateMin, Max: s.BitrateMax, SlewPercent: s.BitrateSlew}
	if c.ViewersMax == 0 {
		c.ViewersMax = viewersMaxDefault
	}
	return c
}

func (p *parts) with(s *messages.Settings) *parts {
	own := *p
	own.cfg = p.cfg.with(s)
	return &own
}

func (r *root) onSettings(ctx actor.Context, msg *messages.Settings) {
	r.parts = r.with(msg)
	paths := []string{pathViewers, pathEncoder, pathHook, pathGatherer}
	if r.cfg.StorageChannel != "" {
		paths = append(paths, pathStorage)
	}
	for _, path := range paths {
		ctx.Send(r.sys.PID(path), msg)
	}
	ctx.Respond(&messages.SettingsTaken{})
	r.sys.Log().Info("new settings taken", zap.Int("viewers_max", msg.ViewersMax), zap.Bool("relay_only", msg.RelayOnly))
}

// onSettings: viewers that are above a lower limit stay.
func (v *viewers) onSettings(ctx actor.Context, msg *messages.Settings) {
	v.newest = v.newest.with(msg)
	for _, e := range v.table {
		ctx.Send(e.pid, msg)
	}
}

// onSettings: the bitrate follows its bounds at once.
func (n *encoder) onSettings(msg *messages.Settings) {
	limits := n.cfg.with(msg).Bitrate
	n.askBitrate(n.bitrate.bound(limits.withDefaults(), time.Now()))
}

// onSettings: the spare peer is one that the next viewer can have.
func (g *gatherer) onSettings(msg *messages.Settings) {
	if msg.RelayOnly == g.relayOnly {
		return
	}
	g.relayOnly = msg.RelayOnly
	g.reflect()
	g.keepSpare()
}
