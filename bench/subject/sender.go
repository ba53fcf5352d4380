package subject

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// Order tells a sender what to be the master of, and what to play there; and those that record, where to.
type Order struct {
	ControlPlane string // https://host:port
	CA           []byte // PEM
	Region       string
	Credentials  messages.Credentials
	Channel      string // is created
	Viewers      int    // admitted at most
	Script       Script
	Sinks        []string  // of a Bare sender, which has no channel: where its viewers are, ip:port
	Program      string    `json:"-"` // another build of the benchmark whose sender it shall be; empty: this one
	Sample       bool      // the device sends the built-in sample instead, all the time; there is nothing to play
	Pipeline     *Pipeline // likewise what heliograph-gst makes
	Dir          string    // of what is recorded
	Streams      int       // of a Recorder
}

// Pipeline is a source of heliograph-gst.
type Pipeline struct {
	Program string // heliograph-gst
	Source  string // as its --source
}

// The waits of a sender.
const (
	readyEvery = 10 * time.Millisecond
	playExtra  = 30 * time.Second // beyond a script's length: the sender hangs
)

// master is what a sender is made of.
type master interface {
	streaming(ctx context.Context) (viewers int, err error)
	stop(ctx context.Context) error
}

// sender is a subject that sends what its script says.
type sender struct {
	script *script
	master master
}

func readOrder(lines *bufio.Scanner) (order Order, err error) {
	if !lines.Scan() {
		return order, errors.New("no order came")
	}
	if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
		return order, fmt.Errorf("read order: %w", err)
	}
	return order, nil
}

func openSender(kind string, lines *bufio.Scanner) (server, error) {
	order, err := readOrder(lines)
	if err != nil {
		return nil, fmt.Errorf("open sender: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	s := &sender{script: newScript(order.Script)}
	switch kind {
	case Device:
		s.master, err = openDevice(ctx, order, s.script)
	case Bare:
		s.master, err = openBare(order, s.script)
	default:
		s.master, err = openPion(ctx, order, s.script, kind == PionSHA1)
	}
	if err != nil {
		return nil, fmt.Errorf("open sender: %w", err)
	}
	return s, nil
}

func (o *Order) roots() (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(o.CA) {
		return nil, errors.New("read order: it holds no certificate of the service")
	}
	return roots, nil
}

// address is empty: viewers find a sender through its channel.
func (s *sender) address() Address { return Address{} }

func (s *sender) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return s.master.stop(ctx)
}

func (s *sender) streaming() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	return s.master.streaming(ctx)
}

// play plays the script for a span of time written as in Go.
func (s *sender) play(span string) error {
	d, err := time.ParseDuration(span)
	if err != nil {
		return fmt.Errorf("play: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), d+playExtra)
	defer cancel()
	if err := s.script.play(ctx, d); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	return nil
}

// census is the device's; the baselines keep none.
func (s *sender) census() (messages.Census, error) {
	c, keeps := s.master.(camera)
	if !keeps {
		return messages.Census{}, errors.New("this sender keeps no census")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	return c.Census(ctx)
}

// camera is our device.
type camera struct{ *device.Device }

func openDevice(ctx context.Context, order Order, s *script) (master, error) {
	roots, err := order.roots()
	if err != nil {
		return nil, err
	}
	source := media.Source(s)
	if order.Sample {
		if source, err = media.NewSample(); err != nil {
			return nil, err
		}
	}
	if p := order.Pipeline; p != nil {
		source = media.NewExec(media.ExecConfig{Name: "pipeline", Args: []string{p.Program, "--source", p.Source}})
	}
	device.UseProcessors(device.ProcessorsDefault) // as the daemon
	d, err := device.Start(device.Config{
		Channel: order.Channel, Region: order.Region, ControlPlane: order.ControlPlane, RootCAs: roots,
		Credentials: aws.Static(order.Credentials.AccessKeyID, order.Credentials.SecretAccessKey, order.Credentials.SessionToken),
		Source:      source, ViewersMax: max(order.Viewers, 1), ListenUDP: freeLoopback, IncludeLoopback: true, NoPacing: true,
	})
	if err != nil {
		return nil, err
	}
	again := time.NewTicker(readyEvery)
	defer again.Stop()
	for d.Ready(ctx) != nil {
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("await device: %w", ctx.Err()), d.Stop(context.WithoutCancel(ctx)))
		}
	}
	return camera{d}, nil
}

func (c camera) stop(ctx context.Context) error { return c.Stop(ctx) }

func (c camera) streaming(ctx context.Context) (viewers int, err error) {
	census, err := c.Census(ctx)
	for _, v := range census.Viewers {
		if v.State == "streaming" {
			viewers++
		}
	}
	return viewers, err
}
