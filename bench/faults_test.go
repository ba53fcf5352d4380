package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// The fault matrix: what befalls a device in a year, while two viewers watch. Media does not pass the
// service, so no fault of it may cost a frame; and the device is ready again by itself.

// stage is a world whose network and service can be spoilt.
type stage struct {
	*World
	t         *testing.T
	ctx       context.Context
	faults    api.FaultClient
	audience  *audience
	breaks    atomic.Pointer[error] // of every new connection; nil: none
	links     links
	addresses chan []netip.Addr // told to the device as the machine's
}

// links are the device's connections to the service.
type links struct {
	mu   sync.Mutex
	open []*link
}

// link is a connection that may fall silent: what is written goes nowhere, and nothing comes.
type link struct {
	net.Conn
	silent atomic.Bool
}

func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	for err == nil && l.silent.Load() {
		n, err = l.Conn.Read(b)
	}
	return n, err
}

func (l *link) Write(b []byte) (int, error) {
	if l.silent.Load() {
		return len(b), nil
	}
	return l.Conn.Write(b)
}

func (s *stage) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if broken := s.breaks.Load(); broken != nil {
		return nil, *broken
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn}
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	s.links.open = append(s.links.open, l)
	return l, nil
}

func (s *stage) silence() {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	for _, l := range s.links.open {
		l.silent.Store(true)
	}
}

func (s *stage) watchAddresses(ctx context.Context, changed func([]netip.Addr) error) error {
	for {
		select {
		case now := <-s.addresses:
			if err := changed(now); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *stage) fault(f messages.Fault) {
	s.t.Helper()
	if _, err := s.faults.Set(s.ctx, f); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) clear() {
	s.t.Helper()
	if _, err := s.faults.Clear(s.ctx, 0); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) cut() {
	s.fault(messages.Fault{Kind: messages.FaultCut, Channel: s.Channel, Master: true})
}

func (s *stage) session() messages.SessionStatus {
	s.t.Helper()
	status, err := s.Device.Session(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// failed waits until the session has met so many failures of a class.
func (s *stage) failed(class string, goal uint64) {
	s.t.Helper()
	await(s.t, s.ctx, func() bool { return s.session().Failures[class] >= goal }, "failure of class "+class)
}

func (s *stage) ready() {
	s.t.Helper()
	await(s.t, s.ctx, func() bool { return s.Device.Ready(s.ctx) == nil }, "device that is ready again")
}

// newcomer joins, sees pictures, and leaves.
func (s *stage) newcomer(change func(*ViewerConfig)) {
	s.t.Helper()
	ctx, leave := context.WithCancel(s.ctx)
	defer leave()
	cfg := s.Viewer(9, "newcomer")
	if change != nil {
		change(&cfg)
	}
	v, err := NewViewer(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- v.Run(ctx) }()
	select {
	case <-v.Playing():
	case err := <-end:
		s.t.Fatalf("the newcomer saw nothing: %v", err)
	}
	leave()
	if err := <-end; err != nil {
		s.t.Error(err)
	}
}

// episode is one row: what happens, until the device has noticed it. The device is ready, or gets so by
// itself, when it returns.
type episode struct {
	name  string
	class string // of the failure that must be counted; empty: it is none
	brief bool   // the session must not even be interrupted
	world func(*stage, *WorldConfig)
	play  func(*stage)
}

var episodes = []episode{
	{name: "socket cut", class: "network", play: func(s *stage) { s.cut(); s.failed("network", 1) }},
	{name: "silent socket", class: "silent", world: func(_ *stage, c *WorldConfig) {
		c.Device = func(_ *World, c *device.Config) { c.PingEvery = 200 * time.Millisecond }
	}, play: func(s *stage) { s.silence(); s.failed("silent", 1) }},
	{name: "GO_AWAY", brief: true, play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultGoAway, Channel: s.Channel, Master: true})
		await(s.t, s.ctx, func() bool { return s.session().Replaced > 0 }, "socket in the old one's place")
	}},
	{name: "1 h limit, as 2 s", brief: true,
		world: func(_ *stage, c *WorldConfig) {
			c.Service = func(c *service.Config) { c.Limits.ConnectionMax, c.Limits.GoAwayGrace = 2*time.Second, time.Second }
		},
		play: func(s *stage) {
			await(s.t, s.ctx, func() bool { return s.session().Replaced >= 3 }, "third socket in another's place")
		}},
	{name: "token expired", class: "credentials", world: withCertificate, play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultExpire})
		s.cut()
		s.failed("credentials", 1)
	}},
	{name: "ICE servers expired", brief: true,
		world: func(_ *stage, c *WorldConfig) {
			c.Service = func(c *service.Config) { c.Limits.TurnTTL = 2 * time.Second }
		},
		play: func(s *stage) {
			s.audience.playOn(s.t, s.ctx, 90) // three seconds of pictures: the first set is worthless
			s.newcomer(func(c *ViewerConfig) { c.RelayOnly = true })
		}},
	{name: "RECONNECT_ICE_SERVER", brief: true, play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultReconnectICE, Channel: s.Channel, Master: true})
		s.newcomer(nil)
	}},
	{name: "TURN refused", brief: true, play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultRefuseTurn})
		s.newcomer(nil)
	}},
	{name: "DNS gone", class: "dns", play: func(s *stage) { s.broken("dns", &net.DNSError{Err: "server misbehaving", Name: "kinesisvideo"}) }},
	{name: "connection refused", class: "network", play: func(s *stage) { s.broken("network", errors.New("no route to host")) }},
	{name: "service down", class: "refused", world: func(s *stage, c *WorldConfig) { c.Dir = s.t.TempDir() }, play: func(s *stage) {
		if err := s.Service.Stop(s.ctx); err != nil {
			s.t.Fatal(err)
		}
		s.failed("refused", 3)
		if err := s.startService(s.ctx); err != nil {
			s.t.Fatal(err)
		}
	}},
	{name: "clock +10 min", play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultClock, ByS: 600})
		s.cut()
		await(s.t, s.ctx, func() bool { return s.session().ClockOffset > 590 && s.Device.Ready(s.ctx) == nil }, "clock that is set right")
	}},
	{name: "addresses changed", play: func(s *stage) {
		before := s.session().Reconnects
		s.addresses <- []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		await(s.t, s.ctx, func() bool { return s.session().Reconnects == before+1 }, "new socket")
	}},
	{name: "channel deleted", class: "", play: func(s *stage) {
		calls, done := s.control()
		defer done()
		before := s.session()
		if err := calls.DeleteChannel(s.ctx, s.Service.Credentials, before.ChannelARN); err != nil {
			s.t.Fatal(err)
		}
		await(s.t, s.ctx, func() bool { now := s.session(); return now.ChannelARN != before.ChannelARN && now.State == "open" }, "channel made anew")
	}},
	{name: "403 for a while", class: "credentials", play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultError, Status: 403, Type: "AccessDeniedException"})
		s.cut()
		s.failed("credentials", 2)
		s.clear()
	}},
	{name: "throttle storm", class: "throttled", play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultThrottle})
		s.cut()
		s.failed("throttled", 1)
		s.clear()
	}},
	{name: "handshakes fail", class: "service", play: func(s *stage) {
		s.fault(messages.Fault{Kind: messages.FaultRefuse})
		s.cut()
		s.failed("service", 2)
		s.clear()
	}},
}

// broken has every new connection fail until the session has noticed.
func (s *stage) broken(class string, err error) {
	s.t.Helper()
	s.breaks.Store(&err)
	s.cut()
	s.failed(class, 3)
	s.breaks.Store(nil)
}

// control is a client of the control plane.
func (s *stage) control() (*aws.Client, func()) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Service.CA}}
	calls := aws.NewClient(aws.ClientConfig{
		Region: s.Service.Region, ControlPlane: s.Service.PublicURL, HTTP: &http.Client{Transport: transport},
	})
	return calls, transport.CloseIdleConnections
}

// withCertificate gives the device a certificate, so that its credentials are a session's.
func withCertificate(s *stage, c *WorldConfig) {
	c.Dir = s.t.TempDir()
	c.Service = func(cfg *service.Config) { cfg.IoT = freeLoopback }
	c.Device = func(w *World, cfg *device.Config) {
		thing, err := service.CreateThing(c.Dir, "cam")
		if err != nil {
			s.t.Fatal(err)
		}
		cfg.Channel, w.Channel = "cam", "cam"
		cfg.Clock = &aws.Clock{}
		cfg.Credentials, err = aws.IoT(aws.IoTConfig{
			Endpoint: w.Service.IoTEndpoint, RoleAlias: service.DefaultRoleAlias, ThingName: "cam",
			CertFile: thing.CertFile, KeyFile: thing.KeyFile, RootCAs: w.Service.CA, Clock: cfg.Clock,
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestFaultMatrix(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-22s %-12s %12s %12s %10s\n", "fault", "class", "frames lost", "not ready", "replaced")
	for _, e := range episodes {
		t.Run(strings.ReplaceAll(e.name, " ", "-"), func(t *testing.T) { e.run(t, &table) })
	}
	t.Log(table.String())
}

func (e episode) run(t *testing.T, table io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := &stage{t: t, ctx: ctx, faults: api.FaultClient(filepath.Join(t.TempDir(), "f")), addresses: make(chan []netip.Addr)}
	cfg := WorldConfig{Faults: string(s.faults), Grace: 300 * time.Millisecond}
	if e.world != nil {
		e.world(s, &cfg)
	}
	more := cfg.Device
	cfg.Device = func(w *World, c *device.Config) {
		c.Dial, c.WatchAddresses = s.dial, s.watchAddresses
		if more != nil {
			more(w, c)
		}
	}
	s.World = startWorld(t, ctx, cfg)
	s.audience = newAudience(t, ctx, s.World, 2)
	unready := s.measureUnready()
	e.play(s)
	s.ready()
	down := unready()
	status := s.session()
	if e.class != "" && status.Failures[e.class] == 0 {
		t.Errorf("no failure of class %s was counted, but %v", e.class, status.Failures)
	}
	if e.brief && (status.Reconnects > 0 || len(status.Failures) > 0) {
		t.Errorf("the session was interrupted: %d times, %v", status.Reconnects, status.Failures)
	}
	s.clear()
	s.newcomer(nil)
	s.audience.playOn(t, ctx, 15)
	s.audience.undisturbed(t)
	lost := uint64(0)
	for _, v := range s.audience.viewers {
		lost += v.Row().PacketsLost
	}
	fmt.Fprintf(table, "%-22s %-12s %12d %12v %10d\n", e.name, e.class, lost, down.Round(time.Millisecond), status.Replaced)
}

// measureUnready adds up how long the device is not ready, until the function it returns is called.
func (s *stage) measureUnready() func() time.Duration {
	const every = 5 * time.Millisecond
	ctx, stop := context.WithCancel(s.ctx)
	s.t.Cleanup(stop)
	total := make(chan time.Duration, 1)
	go func() {
		again := time.NewTicker(every)
		defer again.Stop()
		sum, last := time.Duration(0), time.Now()
		for {
			select {
			case now := <-again.C:
				if s.Device.Ready(ctx) != nil && ctx.Err() == nil {
					sum += now.Sub(last)
				}
				last = now
			case <-ctx.Done():
				total <- sum
				return
			}
		}
	}()
	return func() time.Duration { stop(); return <-total }
}
