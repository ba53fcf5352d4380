// Command heliograph-server is the KVS-compatible service: control plane, signaling, STUN/TURN, WHEP
// and the viewer page in one process. Flags -> Config -> Start -> signal -> Stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/cmd/internal/notify"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
)

const (
	startWait = 30 * time.Second
	stopWait  = 15 * time.Second
)

type options struct {
	Public     string   `flag:"public" env:"HELIOGRAPH_PUBLIC" default:"127.0.0.1:8443" group:"listeners" help:"HTTPS and WSS listener for AWS clients, WHEP and the page"`
	Local      string   `flag:"local" env:"HELIOGRAPH_LOCAL" default:"127.0.0.1:8080" group:"listeners" help:"loopback HTTP listener for the page, WHEP and the admin door"`
	PublicName string   `flag:"public-name" env:"HELIOGRAPH_PUBLIC_NAME" group:"listeners" help:"host[:port] to name in endpoints; default: what the client called"`
	RelayUDP   string   `flag:"relay-udp" env:"HELIOGRAPH_RELAY_UDP" default:"127.0.0.1:3478" group:"listeners" help:"STUN and TURN over UDP; off = none"`
	RelayTCP   string   `flag:"relay-tcp" env:"HELIOGRAPH_RELAY_TCP" default:"127.0.0.1:3478" group:"listeners" help:"TURN over TCP; off = none"`
	RelayIP    string   `flag:"relay-ip" env:"HELIOGRAPH_RELAY_IP" group:"listeners" help:"address that clients reach the relay at; default: the one it listens on"`
	RelayIP6   string   `flag:"relay-ip6" env:"HELIOGRAPH_RELAY_IP6" group:"listeners" help:"address of relayed IPv6 addresses, for clients that ask for one; default: none"`
	Private    bool     `flag:"relay-private" env:"HELIOGRAPH_RELAY_PRIVATE" group:"listeners" help:"let the relay reach private addresses, as on a LAN"`
	RelayBits  int      `flag:"relay-bits" env:"HELIOGRAPH_RELAY_BITS" default:"5000000" group:"listeners" help:"bits per second that one TURN allocation relays"`
	PerClient  int      `flag:"relay-allocations" env:"HELIOGRAPH_RELAY_ALLOCATIONS" default:"50" group:"listeners" help:"live TURN allocations of one credential"`
	AWSNames   string   `flag:"aws-names" env:"HELIOGRAPH_AWS_NAMES" group:"listeners" help:"region, as --region, whose AWS host names to answer to and name in endpoints, for clients with hard-coded hosts"`
	IoT        string   `flag:"iot" env:"HELIOGRAPH_IOT" default:"off" group:"listeners" help:"IoT credentials provider over mutual TLS, such as 127.0.0.1:8444; off = none"`
	WhepToken  string   `flag:"whep-token" env:"HELIOGRAPH_WHEP_TOKEN" group:"listeners" secret:"true" help:"bearer token for WHEP and page on the public listener; needed beyond loopback"`
	Origins    []string `flag:"whep-origin" env:"HELIOGRAPH_WHEP_ORIGIN" group:"listeners" help:"further origins (https://host:port) whose pages may use WHEP"`

	data
	KeyFile   string `flag:"access-key-file" env:"HELIOGRAPH_ACCESS_KEY_FILE" group:"store" help:"file that fixes the access key: id and secret, or one entry of keys.json as JSON"`
	Ephemeral bool   `flag:"ephemeral" env:"HELIOGRAPH_EPHEMERAL" group:"store" help:"keep nothing: new keys and no channels at each start"`
	NATS      string `flag:"nats" env:"HELIOGRAPH_NATS" group:"store" help:"URL of a NATS cluster that several servers share; default: one of its own"`
	Node      string `flag:"node" env:"HELIOGRAPH_NODE" group:"store" help:"name of this server in the cluster; default: random"`

	Region  string `flag:"region" env:"AWS_REGION,AWS_DEFAULT_REGION" default:"us-west-2" group:"service" help:"region that clients must sign for"`
	Account string `flag:"account" env:"HELIOGRAPH_ACCOUNT" default:"000000000000" group:"service" help:"account in the ARNs, 12 digits"`

	Faults bool `flag:"faults" env:"HELIOGRAPH_FAULTS" group:"service" help:"take faults from the command fault, by a socket that only this user may open"`
	faultSocket

	limits

	LogLevel  string `flag:"log-level" env:"HELIOGRAPH_LOG_LEVEL,AWS_KVS_LOG_LEVEL" default:"info" group:"log" help:"debug, info, warn, error, silent"`
	LogFormat string `flag:"log-format" env:"HELIOGRAPH_LOG_FORMAT" default:"auto" group:"log" help:"auto, text, json"`
}

func main() {
	err := run(os.Args[1:], os.Environ(), os.Stdout)
	if err != nil && !errors.Is(err, settings.ErrDone) {
		fmt.Fprintln(os.Stderr, "heliograph-server:", err)
		os.Exit(1)
	}
}

func run(args, environ []string, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return settings.Dispatch("heliograph-server", commands(ctx, stop, out), args, environ, out)
}

// serve runs the service until ctx ends.
func (o *options) serve(ctx context.Context, stop func(), out io.Writer) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	defer cfg.Log.Sync()
	supervisor, err := notify.FromEnvironment(os.Environ(), os.Getpid())
	if err != nil {
		return err
	}
	defer supervisor.Close()
	starting, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	s, err := service.Start(starting, cfg)
	if err != nil {
		return err
	}
	announce(out, s)
	failed := supervisor.Attend(ctx, notify.Program{
		Failed: s.Failed(), Check: func(ctx context.Context) (string, error) { return "serving " + s.PublicURL, s.Ready(ctx) },
	})
	stop() // a second signal ends the process at once
	stopping, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return errors.Join(failed, s.Stop(stopping))
}

func (o options) config() (service.Config, error) {
	log, err := settings.Logger(o.LogLevel, o.LogFormat)
	if err != nil {
		return service.Config{}, err
	}
	var dir string
	if !o.Ephemeral {
		if dir, err = o.dir(); err != nil {
			return service.Config{}, err
		}
	}
	var faults string
	if o.Faults {
		if faults, err = o.faultSocket.path(dir); err != nil {
			return service.Config{}, err
		}
	}
	return service.Config{
		Dir: dir, KeyFile: o.KeyFile, Region: o.Region, Account: o.Account,
		Public: o.Public, Local: o.Local, PublicName: o.PublicName,
		RelayUDP: o.RelayUDP, RelayTCP: o.RelayTCP, RelayIP: o.RelayIP,
		Relay:    service.RelayConfig{IP6: o.RelayIP6, PrivatePeers: o.Private, BitsPerSecond: o.RelayBits, PerCredential: o.PerClient},
		AWSNames: o.AWSNames,
		NATS:     o.NATS, Node: o.Node, WhepToken: o.WhepToken, Origins: o.Origins,
		IoT:    o.IoT,
		Limits: o.limits.config(),
		Faults: faults,
		Log:    log,
	}, nil
}

// data says where the service keeps what it knows.
type data struct {
	Dir string `flag:"data-dir" env:"HELIOGRAPH_DATA_DIR" group:"store" help:"keys, certificates and channels; default: heliograph in the user's data folder"`
}

// dir follows the XDG base directory specification where no folder was named.
func (d data) dir() (string, error) {
	if d.Dir != "" {
		return d.Dir, nil
	}
	if base := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "heliograph"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the data folder (set --data-dir or --ephemeral): %w", err)
	}
	return filepath.Join(home, ".local", "share", "heliograph"), nil
}

func announce(out io.Writer, s *service.Service) {
	fmt.Fprintf(out, "page      %s/\n", s.LocalURL)
	fmt.Fprintf(out, "endpoint  %s\n", s.PublicURL)
	for _, url := range s.RelayURLs {
		fmt.Fprintf(out, "relay     %s\n", url)
	}
	if s.HostsFile != "" {
		fmt.Fprintf(out, "hosts     %s\n", s.HostsFile)
	} else if s.HostsLine != "" {
		fmt.Fprintf(out, "hosts     %s\n", s.HostsLine)
	}
	if s.IoTEndpoint != "" {
		fmt.Fprintf(out, "iot       https://%s\n", s.IoTEndpoint)
	}
	if s.EnvFile != "" {
		fmt.Fprintf(out, "clients   source %s\n", s.EnvFile)
	}
}
