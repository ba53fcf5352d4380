package main

// The commands that make a running service misbehave. The service judges what it is given
// (transport/api/faultcheck.go). They print faults as JSON, one a line.

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
)

func faultCommands(ctx context.Context, out io.Writer) []settings.Command {
	setting, listing, clearing := &faultSet{}, &faultDoor{}, &faultClear{}
	return []settings.Command{
		{Words: "fault", Operands: []string{"KIND"}, Help: "make the running service misbehave; KIND is go-away, reconnect-ice, cut, refuse-connect, error, throttle, expire-tokens, refuse-turn, clock, drop or delay",
			Config: setting, Run: func(operands []string) error { return setting.run(ctx, operands[0], out) }},
		{Words: "fault list", Help: "print the faults that stand",
			Config: listing, Run: func([]string) error { return listing.list(ctx, out) }},
		{Words: "fault clear", Help: "end all faults, or one, and print what has ended",
			Config: clearing, Run: func([]string) error { return clearing.run(ctx, out) }},
	}
}

// faultSocket says where the fault socket is.
type faultSocket struct {
	Socket string `flag:"fault-socket" env:"HELIOGRAPH_FAULT_SOCKET" group:"service" help:"path of the socket that takes faults; default: faults.sock in the data directory"`
}

// path of the socket; an empty dir is none.
func (s faultSocket) path(dir string) (string, error) {
	switch {
	case s.Socket != "":
		return s.Socket, nil
	case dir == "":
		return "", errors.New("--ephemeral has no folder for the socket of --faults: set --fault-socket")
	}
	return filepath.Join(dir, "faults.sock"), nil
}

// faultDoor finds the socket of the running service.
type faultDoor struct {
	data
	faultSocket
}

func (d faultDoor) client() (api.FaultClient, error) {
	dir, err := d.dir()
	if err != nil && d.Socket == "" {
		return "", err
	}
	path, err := d.path(dir)
	return api.FaultClient(path), err
}

func (d faultDoor) list(ctx context.Context, out io.Writer) error {
	client, err := d.client()
	if err != nil {
		return err
	}
	all, err := client.List(ctx)
	return printFaults(out, all, err)
}

type faultClear struct {
	faultDoor
	ID int `flag:"id" group:"fault" help:"the one to end, as fault list shows it; default: all"`
}

func (f *faultClear) run(ctx context.Context, out io.Writer) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	ended, err := client.Clear(ctx, f.ID)
	return printFaults(out, ended, err)
}

type faultSet struct {
	faultDoor
	Channel     string        `flag:"channel" group:"fault" help:"name of the channel that is meant; default: all"`
	ClientID    string        `flag:"client-id" group:"fault" help:"the viewer of that id is meant, or the request that tells it; default: all"`
	Master      bool          `flag:"master" group:"fault" help:"the master is meant, and what it sends"`
	Only        []string      `flag:"only" group:"fault" help:"REST operations as IAM names them, or SDP_OFFER, SDP_ANSWER, ICE_CANDIDATE; default: all"`
	For         time.Duration `flag:"for" group:"fault" help:"how long it stands; default: until fault clear; go-away, reconnect-ice and cut: they strike now and are over"`
	Probability float64       `flag:"probability" default:"1" group:"fault" help:"of striking, each time"`
	Seed        int           `flag:"seed" group:"fault" help:"of the probability: the same seed strikes the same; default: one that is printed"`
	By          time.Duration `flag:"by" group:"fault" help:"delay: how late a message comes; clock: how far it is ahead, as -10m"`
	Status      int           `flag:"status" group:"fault" help:"error: the HTTP status, default 500; refuse-connect: default 503"`
	Type        string        `flag:"type" group:"fault" help:"error and refuse-connect: name of the exception; default: the usual one of the status"`
}

func (f *faultSet) run(ctx context.Context, kind string, out io.Writer) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	if f.Seed < 0 || f.Probability == 0 {
		return errors.New("--seed must not be negative, and --probability not 0")
	}
	set, err := client.Set(ctx, messages.Fault{
		Kind: kind, Channel: f.Channel, ClientID: f.ClientID, Master: f.Master, Only: f.Only, ForS: f.For.Seconds(),
		Probability: f.Probability, Seed: uint64(f.Seed), ByS: f.By.Seconds(), Status: f.Status, Type: f.Type,
	})
	return printFaults(out, []messages.Fault{set}, err)
}

func printFaults(out io.Writer, all []messages.Fault, err error) error {
	lines := json.NewEncoder(out)
	for i := 0; err == nil && i < len(all); i++ {
		err = lines.Encode(all[i])
	}
	return err
}
