package main

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
	"github.com/heliograph-rtc/heliograph/messages"
)

// reloading takes over what the owner has changed in the configuration file, at SIGHUP: all of it that a
// running device can take, or nothing where anything is wrong with it. What needs a restart is named.
type reloading struct {
	device *device.Device
	was    config // as the device has it now
	read   func() (config, error)
	level  zap.AtomicLevel
	log    *zap.Logger
}

// reloadWithin is how long the actors may take to answer.
const reloadWithin = 5 * time.Second

func (r *reloading) reload(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	var now config
	var level zap.AtomicLevel
	err := r.device.Reload(ctx, func() (s *messages.Settings, err error) {
		if now, err = r.read(); err == nil {
			level, err = settings.Level(now.LogLevel)
		}
		return now.live(), err
	})
	if err != nil {
		r.log.Error("settings refused, the old ones stay", zap.Error(err))
		return
	}
	r.level.SetLevel(level.Level())
	live, fixed, err := settings.Take(&r.was, &now)
	if err != nil {
		r.log.Error("changes of settings are not known", zap.Error(err))
	}
	r.log.Info("settings read again", zap.Strings("changed", live))
	if len(fixed) > 0 {
		r.log.Warn("changed, but needs a restart: "+strings.Join(fixed, ", "), zap.Strings("settings", fixed))
	}
}
