package main

// The commands besides serving. They work on the data directory; presign also asks the running
// service. What they print is meant for a shell.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

const presignWait = 15 * time.Second

// commands lists what the program does; the first is to serve.
func commands(ctx context.Context, stop func(), out io.Writer) []settings.Command {
	serving, signing, thing, alias, mending := &options{}, &presign{}, &createThing{}, &createRoleAlias{}, &repair{}
	return append([]settings.Command{
		{Config: serving, Run: func([]string) error { return serving.serve(ctx, stop, out) }},
		{Words: "presign", Help: "print a signed wss address of a channel of the running service, good for 299 s",
			Config: signing, Run: func([]string) error { return signing.run(ctx, out) }},
		{Words: "iot create-thing", Operands: []string{"NAME"}, Help: "make a device's certificate and print the variables that the C SDK reads",
			Config: thing, Run: func(operands []string) error { return thing.run(operands[0], out) }},
		{Words: "iot create-role-alias", Operands: []string{"NAME"}, Help: "put a role with a policy, and an alias for it, into keys.json",
			Config: alias, Run: func(operands []string) error { return alias.run(operands[0]) }},
		{Words: "repair", Help: "say what is damaged in the store of a stopped service and, with --yes, save what is whole",
			Config: mending, Run: func([]string) error { return mending.run(ctx, out) }},
	}, faultCommands(ctx, out)...)
}

type presign struct {
	data
	Channel   string `flag:"channel" env:"AWS_KVS_CHANNEL_NAME" group:"channel" help:"name of the channel"`
	ClientID  string `flag:"client-id" env:"HELIOGRAPH_CLIENT_ID" group:"channel" help:"connect as the viewer of this id; default: as the master"`
	AccessKey string `flag:"access-key" env:"HELIOGRAPH_ACCESS_KEY" group:"channel" help:"id of the key in keys.json to sign with; default: the first one"`
}

func (p *presign) run(ctx context.Context, out io.Writer) error {
	if p.Channel == "" {
		return errors.New("no channel: set --channel")
	}
	dir, err := p.dir()
	if err != nil {
		return err
	}
	env, err := service.ReadEnv(dir)
	if err != nil {
		return err
	}
	signer := env.Credentials
	if p.AccessKey != "" {
		if signer, err = service.ReadKey(dir, p.AccessKey); err != nil {
			return err
		}
	}
	roots, err := aws.ReadRoots(env.CAFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, presignWait)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := aws.NewClient(aws.ClientConfig{Region: env.Region, ControlPlane: env.Endpoint, HTTP: &http.Client{Transport: transport}})
	url, err := p.sign(ctx, client, env, signer)
	if err == nil {
		_, err = fmt.Fprintln(out, url)
	}
	return err
}

// sign asks for ARN and address with the first key, so that the other one needs no right but to connect.
func (p *presign) sign(ctx context.Context, client *aws.Client, env service.Env, signer messages.Credentials) (string, error) {
	channel, err := client.DescribeChannel(ctx, env.Credentials, p.Channel)
	if err != nil {
		return "", fmt.Errorf("ask the service at %s: %w", env.Endpoint, err)
	}
	role := "MASTER"
	if p.ClientID != "" {
		role = "VIEWER"
	}
	endpoints, err := client.Endpoints(ctx, env.Credentials, channel.ARN, role, "WSS")
	if err != nil {
		return "", fmt.Errorf("ask the service at %s: %w", env.Endpoint, err)
	}
	return aws.PresignWebSocket(ctx, endpoints["WSS"], channel.ARN, p.ClientID, signer, env.Region, time.Now())
}

type createThing struct {
	data
	RoleAlias string `flag:"role-alias" env:"AWS_IOT_CORE_ROLE_ALIAS" default:"heliograph-device" group:"device" help:"role alias to print; it must be in keys.json"`
}

func (c *createThing) run(name string, out io.Writer) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	thing, err := service.CreateThing(dir, name)
	if err != nil {
		return err
	}
	var b strings.Builder
	if thing.Endpoint == "" {
		b.WriteString("# start heliograph-server with --iot HOST:PORT and set AWS_IOT_CORE_CREDENTIAL_ENDPOINT to it\n")
	}
	for _, v := range [][2]string{
		{"AWS_IOT_CORE_CREDENTIAL_ENDPOINT", withoutHTTPS(thing.Endpoint)},
		{"AWS_IOT_CORE_CERT", thing.CertFile},
		{"AWS_IOT_CORE_PRIVATE_KEY", thing.KeyFile},
		{"AWS_IOT_CORE_ROLE_ALIAS", c.RoleAlias},
		{"AWS_IOT_CORE_THING_NAME", thing.Name},
		{"AWS_KVS_CACERT_PATH", thing.CAFile},
	} {
		if v[1] != "" {
			fmt.Fprintf(&b, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
		}
	}
	_, err = io.WriteString(out, b.String())
	return err
}

// withoutHTTPS leaves the port out where it is 443: the C SDK takes a host alone.
func withoutHTTPS(endpoint string) string {
	if host, port, err := net.SplitHostPort(endpoint); err == nil && port == "443" {
		return host
	}
	return endpoint
}

type createRoleAlias struct {
	data
	Policy string        `flag:"policy" env:"HELIOGRAPH_POLICY" group:"role" help:"file with the role's policy; default: master of the channel that has the thing's name"`
	Life   time.Duration `flag:"duration" env:"HELIOGRAPH_DURATION" default:"1h" group:"role" help:"how long credentials are good, 15m to 12h"`
}

func (c *createRoleAlias) run(name string) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	var policy []byte
	if c.Policy != "" {
		if policy, err = os.ReadFile(c.Policy); err != nil {
			return fmt.Errorf("read policy: %w", err)
		}
	}
	return service.CreateRoleAlias(dir, name, policy, c.Life)
}
