// Command heliograph-device is the daemon on a camera: the master of a KVS signaling channel. It
// answers viewers and sends each of them the camera's stream.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/cmd/internal/notify"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
)

// stopWithin bounds a clean shutdown; whatever is still open then is closed by the kernel.
const stopWithin = 5 * time.Second

func main() {
	if err := run(os.Args[1:], os.Environ(), os.Stdout); err != nil && !errors.Is(err, settings.ErrDone) {
		fmt.Fprintln(os.Stderr, "heliograph-device:", err)
		os.Exit(1)
	}
}

func run(args, environ []string, out io.Writer) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	again := func() (s config, err error) {
		return s, dispatch(ctx, args, environ, io.Discard, func(read config) error { s = read; return nil })
	}
	return dispatch(ctx, args, environ, out, func(s config) error { return serve(ctx, s, again) })
}

// dispatch reads the settings and does what the arguments name: serve, unless they name a command.
func dispatch(ctx context.Context, args, environ []string, out io.Writer, serve func(config) error) error {
	serving, examining := &config{}, &examine{}
	return settings.Dispatch("heliograph-device", []settings.Command{
		{Config: serving, Run: func([]string) error { return serve(*serving) }},
		{Words: "doctor", Help: "check everything between this machine and its first viewer, with the device's settings, and say what to do",
			Config: examining, Run: func([]string) error { return examining.run(ctx, out) }},
	}, args, environ, out)
}

// serve runs the device until ctx ends. again reads the settings once more.
func serve(ctx context.Context, s config, again func() (config, error)) error {
	level, err := settings.Level(s.LogLevel)
	if err != nil {
		return err
	}
	log, err := settings.LoggerAt(level, s.LogFormat)
	if err != nil {
		return err
	}
	cfg, err := s.device(ctx, log)
	if err != nil {
		return err
	}
	supervisor, err := notify.FromEnvironment(os.Environ(), os.Getpid())
	if err != nil {
		return err
	}
	defer supervisor.Close()
	device.UseProcessors(s.Processors)
	d, err := device.Start(cfg)
	if err != nil {
		return err
	}
	if addr := d.AdminAddr(); addr != "" {
		log.Info("admin door open", zap.String("url", "http://"+addr+"/sessions"))
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGHUP)
	defer signal.Stop(changed)
	reloads := reloading{d, s, again, level, log}
	err = supervisor.Attend(ctx, notify.Program{
		Failed: d.Failed(), Check: func(ctx context.Context) (string, error) { return status(ctx, d) },
		Changed: changed, Reload: reloads.reload,
	})
	stopping, release := context.WithTimeout(context.Background(), stopWithin)
	defer release()
	return errors.Join(err, d.Stop(stopping))
}

// status asks the actors, so that it has no answer when they hang.
func status(ctx context.Context, d *device.Device) (string, error) {
	session, err := d.Session(ctx)
	if err != nil {
		return "", err
	}
	census, err := d.Census(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("signaling %s, %d of %d viewers", session.State, len(census.Viewers), census.Limit), nil
}
