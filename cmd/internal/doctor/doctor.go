// Package doctor makes every step that a device makes on its way to its first viewer, one by one, and
// says of each how it went and what to do.
//
// In order of execution: clock, credentials, the API calls, the signaling socket, STUN and NAT, TURN,
// source. A step that needs what an earlier one did not get is skipped. What it does leaves one trace at
// most: the channel, where it did not exist and the device may create it. Nothing that it prints is secret.
package doctor

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// The outcomes of a check.
const (
	OK   = "ok"
	Warn = "warn" // the device works, though not as well as it might
	Fail = "FAIL"
	Skip = "skip" // an earlier failure keeps it from being made
)

// Check is one line of the report.
type Check struct {
	Name   string  `json:"check"`
	Status string  `json:"status"`
	TookS  float64 `json:"took_s"`
	Detail string  `json:"detail"`
	Action string  `json:"iam_action,omitempty"` // what the policy must allow
	Remedy string  `json:"remedy,omitempty"`
}

// Report is what --json prints.
type Report struct {
	Schema int     `json:"schema"`
	Checks []Check `json:"checks"`
	Failed int     `json:"failed"`
	Pass   bool    `json:"pass"`
}

// Config is what the device is started with, as far as it is checked.
type Config struct {
	Channel      string
	Create       bool // the channel is created when it is not there
	Region       string
	ControlPlane string // URL
	Custom       bool   // of a compatible service, not AWS's
	RootCAs      *x509.CertPool
	Clock        *aws.Clock
	Credentials  func(context.Context) (aws.Provider, error)
	Connect      bool // open the signaling socket as the master
	StunServers  []string
	StunOf       func([]messages.IceServer) []messages.IceServer // the STUN servers that the device takes, given the TURN servers
	Source       func() (media.Source, error)
	SourceWait   time.Duration // for the first key frame
}

// Run makes the checks and prints each as soon as it is done, or all as JSON.
func Run(ctx context.Context, cfg Config, asJSON bool, out io.Writer) (Report, error) {
	e := &examination{cfg: cfg, out: out}
	if asJSON {
		e.out = io.Discard
	}
	e.service(ctx)
	e.network(ctx)
	e.source(ctx)
	report := Report{Schema: 1, Checks: e.checks}
	for _, c := range e.checks {
		if c.Status == Fail {
			report.Failed++
		}
	}
	report.Pass = report.Failed == 0
	if ctx.Err() != nil {
		return report, ctx.Err()
	}
	if asJSON {
		return report, json.NewEncoder(out).Encode(report)
	}
	return report, e.err
}

// examination is one run.
type examination struct {
	cfg    Config
	out    io.Writer
	err    error // of printing
	checks []Check

	// what the checks have found out
	client    *aws.Client
	creds     *messages.Credentials
	arn       string
	endpoints map[string]string
	servers   []messages.IceServer
}

// finding is what a check came to: no problem, or a problem with its remedy.
type finding struct {
	status, detail, remedy string
}

// check makes one check, bounded in time, and prints its line.
func (e *examination) check(ctx context.Context, name, action string, most time.Duration, make func(context.Context) finding) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	began := time.Now()
	found := make(ctx)
	if found.status == "" {
		found.status = OK
	}
	e.add(Check{Name: name, Status: found.status, TookS: time.Since(began).Seconds(), Detail: found.detail, Action: action, Remedy: found.remedy})
	return found.status != Fail
}

func (e *examination) skip(name, action, why string) {
	e.add(Check{Name: name, Status: Skip, Detail: "not tried: " + why, Action: action})
}

func (e *examination) add(c Check) {
	e.checks = append(e.checks, c)
	line := fmt.Sprintf("%-4s  %-36s %7.0f ms  %s", c.Status, c.Name, c.TookS*1000, c.Detail)
	if c.Action != "" {
		line += " [" + c.Action + "]"
	}
	if c.Remedy != "" {
		line += " -> " + c.Remedy
	}
	if _, err := fmt.Fprintln(e.out, line); err != nil && e.err == nil {
		e.err = fmt.Errorf("print report: %w", err)
	}
}

// failed is a finding of an error.
func failed(err error, remedy string) finding { return finding{Fail, err.Error(), remedy} }
