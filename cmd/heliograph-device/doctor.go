package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/cmd/internal/doctor"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// examine is the command doctor: the device's settings, and its own.
type examine struct {
	config
	JSON       bool          `flag:"json" default:"false" help:"print one JSON object instead of lines" group:"Doctor"`
	Connect    bool          `flag:"connect" default:"true" help:"open the signaling socket as the master: a device that runs on this channel loses its own for a moment, and no viewer"`
	SourceWait time.Duration `flag:"source-wait" default:"10s" help:"how long the source may take until its first key frame"`
	NATServers []string      `flag:"nat-server" default:"" help:"further STUN servers, host:port, to tell by how a NAT maps"`
}

// run ends with an error when a check has failed.
func (c *examine) run(ctx context.Context, out io.Writer) error {
	log, err := settings.Logger(c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	c.nameChannel()
	if c.Channel == "" {
		return errNoChannel
	}
	if c.SourceWait <= 0 {
		return errors.New("--source-wait must be more than 0")
	}
	roots, err := aws.ReadRoots(c.CAFile)
	if err != nil {
		return err
	}
	clock := &aws.Clock{}
	report, err := doctor.Run(ctx, doctor.Config{
		Channel: c.Channel, Create: c.Create, Region: c.Region, ControlPlane: c.controlPlane(), Custom: c.Endpoint != "", RootCAs: roots, Clock: clock,
		Credentials: func(ctx context.Context) (aws.Provider, error) { return c.credentials(ctx, roots, clock) },
		Connect:     c.Connect, StunServers: c.NATServers,
		StunOf: func(turn []messages.IceServer) []messages.IceServer {
			return device.StunServers(c.Endpoint, c.Region, c.DualStack, turn)
		},
		Source:     func() (media.Source, error) { return openSource(c.config, log) },
		SourceWait: c.SourceWait,
	}, c.JSON, out)
	if err == nil && !report.Pass {
		err = fmt.Errorf("doctor: %d of %d checks failed", report.Failed, len(report.Checks))
	}
	return err
}

// controlPlane is the URL of the control plane, AWS's where no other is set.
func (c *config) controlPlane() string {
	if c.Endpoint != "" {
		return c.Endpoint
	}
	return aws.ControlPlaneURL(c.Region, c.DualStack)
}
