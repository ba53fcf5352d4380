package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

const (
	worldChannel   = "heliograph-world"
	freeLoopback   = "127.0.0.1:0"
	readyWithin    = 15 * time.Second
	readyEvery     = 10 * time.Millisecond
	stopWithin     = 10 * time.Second
	viewersDefault = 10
)

// WorldConfig says what world to start. The zero value is a service without rate limits that keeps
// nothing, and a device that sends the built-in sample to ten viewers.
type WorldConfig struct {
	Viewers   int           // the device admits so many; default 10
	AWSLimits bool          // the service keeps to AWS's limits, and the device paces itself
	Dir       string        // the service's data directory; empty: nothing is kept
	Faults    string        // Unix socket by which the service takes faults; empty: none
	Grace     time.Duration // of the service's GO_AWAY; default: AWS's
	Source    media.Source  // default: the built-in sample
	Log       *zap.Logger

	Service func(*service.Config) // changes what the service is started with; nil: nothing
	Device  func(*World, *device.Config)
}

// World is a service and a device in this process, on free loopback ports.
type World struct {
	Service *service.Service
	Device  *device.Device
	Channel string

	service service.Config // as it was started, with the ports it took
}

// StartWorld returns when the device waits for viewers. ctx bounds the start only.
func StartWorld(ctx context.Context, cfg WorldConfig) (_ *World, err error) {
	if cfg.Source == nil {
		if cfg.Source, err = media.NewSample(); err != nil {
			return nil, err
		}
	}
	if cfg.Viewers == 0 {
		cfg.Viewers = viewersDefault
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	w := &World{Channel: worldChannel}
	w.service = service.Config{
		Dir: cfg.Dir, Public: freeLoopback, Local: freeLoopback, RelayUDP: freeLoopback, RelayTCP: freeLoopback,
		Limits: service.Limits{Unlimited: !cfg.AWSLimits, GoAwayGrace: cfg.Grace}, Faults: cfg.Faults, Log: cfg.Log.Named("service"),
	}
	if cfg.Service != nil {
		cfg.Service(&w.service)
	}
	if err := w.startService(ctx); err != nil {
		return nil, err
	}
	settings := device.Config{
		Channel: w.Channel, Region: w.Service.Region, ControlPlane: w.Service.PublicURL, RootCAs: w.Service.CA,
		Credentials: credentialsOf(w.Service), Source: cfg.Source, ViewersMax: cfg.Viewers,
		ListenUDP: freeLoopback, IncludeLoopback: true, NoPacing: !cfg.AWSLimits, Log: cfg.Log.Named("device"),
	}
	if cfg.Device != nil {
		cfg.Device(w, &settings)
	}
	if w.Device, err = device.Start(settings); err == nil {
		err = w.awaitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded device: %w", err), w.Stop())
	}
	return w, nil
}

func (w *World) startService(ctx context.Context) (err error) {
	if w.Service, err = service.Start(ctx, w.service); err != nil {
		return fmt.Errorf("start embedded service: %w", err)
	}
	w.service.Public = strings.TrimPrefix(w.Service.PublicURL, "https://")
	w.service.Local = strings.TrimPrefix(w.Service.LocalURL, "http://")
	return nil
}

// RestartService stops the service and starts it again where it was, as an update of it does. With
// WorldConfig.Dir it knows its channels and keys again.
func (w *World) RestartService(ctx context.Context) error {
	if err := w.Service.Stop(ctx); err != nil {
		return fmt.Errorf("stop embedded service: %w", err)
	}
	return w.startService(ctx)
}

func credentialsOf(s *service.Service) aws.Provider {
	c := s.Credentials
	return aws.Static(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

// awaitReady asks until the session is open: there is nobody who would tell.
func (w *World) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	again := time.NewTicker(readyEvery)
	defer again.Stop()
	for {
		err := w.Device.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case failed := <-w.Device.Failed():
			return failed
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", readyWithin, err)
		}
	}
}

// Viewer is the configuration of a viewer of this world.
func (w *World) Viewer(number int, clientID string) ViewerConfig {
	return viewerOf(w.Service, w.Channel, number, clientID)
}

// viewerOf is the configuration of a viewer of a service in this process.
func viewerOf(s *service.Service, channel string, number int, clientID string) ViewerConfig {
	return ViewerConfig{
		Number: number, ClientID: clientID, Channel: channel, Region: s.Region,
		ControlPlane: s.PublicURL, RootCAs: s.CA, Credentials: credentialsOf(s), LoopbackOnly: true,
	}
}

// CandidatesDropped tells how many candidates the device could not send or take.
func (w *World) CandidatesDropped(ctx context.Context) (uint64, error) {
	s, err := w.Device.Session(ctx)
	return s.CandidatesDropped, err
}

// Stop ends the device, then the service.
func (w *World) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	var err error
	if w.Device != nil {
		err = w.Device.Stop(ctx)
	}
	return errors.Join(err, w.Service.Stop(ctx))
}

// lone starts a service without rate limits and without a device, for senders of a process of their
// own. relay is where it serves STUN and TURN.
func lone(ctx context.Context, relay string) (s *service.Service, stop func() error, err error) {
	s, err = service.Start(ctx, service.Config{
		Public: freeLoopback, Local: freeLoopback, RelayUDP: relay, RelayTCP: relay, Limits: service.Limits{Unlimited: true},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("start embedded service: %w", err)
	}
	return s, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		return s.Stop(ctx)
	}, nil
}
