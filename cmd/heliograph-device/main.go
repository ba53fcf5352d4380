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
	serving, examining := &config{}, &examine{}
	return settings.Dispatch("heliograph-device", []settings.Command{
		{Config: serving, Run: func([]string) error { return serve(ctx, *serving) }},
		{Words: "doctor", Help: "check everything between this machine and its first viewer, with the device's settings, and say what to do",
			Config: examining, Run: func([]string) error { return examining.run(ctx, out) }},
	}, args, environ, out)
}

// serve runs the device until ctx ends.
func serve(ctx context.Context, s config) error {
	log, err := settings.Logger(s.LogLevel, s.LogFormat)
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
	err = supervisor.Attend(ctx, d.Failed(), func(ctx context.Context) (string, error) { return status(ctx, d) })
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
