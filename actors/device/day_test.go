package device

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// A day in the life of the device's tree, in virtual time, over pipes in place of sockets. A peer connection
// needs real sockets, so the viewer is an actor that subscribes to the fan-out and counts.

// fakeService is what the tree needs of KVS, with AWS's times.
type fakeService struct {
	conns chan net.Conn // dialled by the device
	stop  chan struct{}
	live  sync.WaitGroup

	mu   sync.Mutex // guards the rest
	down bool
	open []net.Conn // all that were dialled

	describes, endpoints, servers, sockets, pings, expired atomic.Int64
}

const (
	fakeTTL    = 300        // s, of TURN credentials
	fakeSocket = time.Hour  // the life of a socket
	fakeHost   = "kvs.test" // no name that anybody resolves
)

func newFakeService() *fakeService {
	return &fakeService{conns: make(chan net.Conn), stop: make(chan struct{})}
}

// dial is the device's.
func (f *fakeService) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	f.open = append(f.open, far)
	select {
	case f.conns <- far:
		return near, nil
	case <-f.stop:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fall ends every connection, and takes no more until rise.
func (f *fakeService) fall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	for _, conn := range f.open {
		_ = conn.Close()
	}
	f.open = nil
}

func (f *fakeService) rise() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
}

// Accept, Close and Addr make it the listener of an http.Server.
func (f *fakeService) Accept() (net.Conn, error) {
	select {
	case conn := <-f.conns:
		return conn, nil
	case <-f.stop:
		return nil, net.ErrClosed
	}
}

func (f *fakeService) Close() error { return nil }

func (f *fakeService) Addr() net.Addr { return &net.TCPAddr{} }

func (f *fakeService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const arn = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/door/1"
	switch r.URL.Path {
	case "/describeSignalingChannel":
		f.describes.Add(1)
		answer(w, map[string]any{"ChannelInfo": map[string]any{"ChannelARN": arn, "ChannelName": "door", "ChannelStatus": "ACTIVE"}})
	case "/getSignalingChannelEndpoint":
		f.endpoints.Add(1)
		answer(w, map[string]any{"ResourceEndpointList": []map[string]string{
			{"Protocol": "WSS", "ResourceEndpoint": "ws://" + fakeHost}, {"Protocol": "HTTPS", "ResourceEndpoint": "http://" + fakeHost},
		}})
	case "/v1/get-ice-server-config":
		f.servers.Add(1)
		answer(w, map[string]any{"IceServerList": []map[string]any{
			{"Uris": []string{"turn:192.0.2.1:443?transport=udp"}, "Username": "u", "Password": "p", "Ttl": fakeTTL},
		}})
	default:
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err == nil {
			f.live.Add(1)
			f.sockets.Add(1)
			f.serve(conn)
		}
	}
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(body)
}

// serve answers pings for as long as AWS keeps a socket.
func (f *fakeService) serve(conn net.Conn) {
	defer f.live.Done()
	defer conn.Close()
	end := time.AfterFunc(fakeSocket, func() {
		f.expired.Add(1)
		conn.Close()
	})
	defer end.Stop()
	for {
		frame, err := ws.ReadFrame(conn)
		if err != nil {
			return
		}
		frame = ws.UnmaskFrameInPlace(frame)
		switch frame.Header.OpCode {
		case ws.OpPing:
			f.pings.Add(1)
			if wsutil.WriteServerMessage(conn, ws.OpPong, frame.Payload) != nil {
				return
			}
		case ws.OpClose:
			return
		}
	}
}

// slowSource makes one key frame a second.
type slowSource struct{}

func (slowSource) Name() string                 { return "slow" }
func (slowSource) VideoCodec() messages.Codec   { return messages.H264 }
func (slowSource) AudioCodec() messages.Codec   { return messages.Opus }
func (slowSource) RequestKeyFrame() bool        { return false }
func (slowSource) RequestBitrate(int) bool      { return false }
func (slowSource) RequestPicture(int, int) bool { return false }
func (slowSource) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := time.Duration(1); ; n++ {
		select {
		case at := <-tick.C:
			unit := &messages.AccessUnit{
				Track: messages.Video, Codec: messages.H264, KeyFrame: true, PTS: n * time.Second, Duration: time.Second, Captured: at,
				Data: []byte("\x00\x00\x00\x01\x67\x42\xc0\x1f\x00\x00\x00\x01\x68\xce\x00\x00\x00\x01\x65\x88\x84"),
			}
			if err := emit(unit); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watcher stands in for a viewer.
type watcher struct {
	sys    *actors.System
	frames *atomic.Int64
}

func (w *watcher) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		ctx.Request(w.sys.PID(pathFanout), &messages.Subscribe{})
	case *messages.Frame:
		w.frames.Add(1)
	}
}

// day is the device's tree without an engine.
type day struct {
	parts   *parts
	service *fakeService
	server  *http.Server
	calls   *hourly
	frames  atomic.Int64
	idle    func()
}

func newDay(t *testing.T) *day {
	t.Helper()
	d := &day{service: newFakeService(), calls: &hourly{}}
	d.server = &http.Server{Handler: d.service}
	go func() { _ = d.server.Serve(d.service) }()
	cfg, err := Config{
		Channel: "door", Region: "us-west-2", ControlPlane: "http://" + fakeHost, Credentials: d.calls, Source: slowSource{},
		Dial: d.service.dial, RelayOnly: true, NoSpareRelay: true, Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
		WatchAddresses: func(ctx context.Context, _ func([]netip.Addr) error) error { <-ctx.Done(); return ctx.Err() },
		jitter:         func(d time.Duration) time.Duration { return d / 2 },
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: cfg.dial}
	d.idle = transport.CloseIdleConnections
	p := &parts{cfg: cfg, sys: actors.NewSystem("device", cfg.Log)}
	p.metrics = newMetrics(p.sys, nil)
	p.aws = aws.NewClient(aws.ClientConfig{Region: cfg.Region, ControlPlane: cfg.ControlPlane, HTTP: &http.Client{Transport: transport}})
	d.parts = p
	tree := newRoot(p, nil)
	root := actor.ReceiveFunc(func(ctx actor.Context) {
		tree.Receive(ctx)
		if _, started := ctx.Message().(*actor.Started); started {
			_, err = p.sys.Spawn(ctx, actors.Spec{
				Name: "watcher", Lanes: actors.Lanes{Control: 16, Frames: viewerFrameLane, Inline: true},
				New: func() actor.Actor { return &watcher{p.sys, &d.frames} },
			})
		}
	})
	if startErr := p.sys.Start(actors.Spec{Name: "device", Lanes: actors.Lanes{Control: 64}, New: func() actor.Actor { return root }}); startErr != nil || err != nil {
		t.Fatal(startErr, err)
	}
	return d
}

func (d *day) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := d.parts.sys.Stop(ctx); err != nil {
		t.Error(err)
	}
	d.idle()
	close(d.service.stop)
	_ = d.server.Close()
	d.service.live.Wait()
}

func (d *day) session(t *testing.T) messages.SessionStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	status, err := ask[messages.SessionStatus](ctx, d.parts.sys, pathSession, &messages.SessionStatusWanted{})
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// counts is what happened so far.
func (d *day) counts(t *testing.T) string {
	t.Helper()
	status, f := d.session(t), d.service
	return strings.Join([]string{
		fmt.Sprintf("session %s, reconnects %d, replaced %d, failures %d", status.State, status.Reconnects, status.Replaced, len(status.Failures)),
		fmt.Sprintf("describe %d, endpoints %d, sockets %d, ended by the service %d", f.describes.Load(), f.endpoints.Load(), f.sockets.Load(), f.expired.Load()),
		fmt.Sprintf("credentials %d, ICE servers %d", d.calls.calls, f.servers.Load()),
		fmt.Sprintf("frames %d", d.frames.Load()),
	}, "\n")
}

func TestADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t)
		defer d.stop(t)
		const beside = 30*time.Minute + 500*time.Millisecond // between two of everything's times
		time.Sleep(beside)
		synctest.Wait()
		goroutines, pings := runtime.NumGoroutine(), d.service.pings.Load()
		// Half of all jitter: a socket lives 57:30, credentials are fetched every 59:00, ICE servers every 4:15.
		checkDay(t, d, `session open, reconnects 0, replaced 0, failures 0
describe 1, endpoints 1, sockets 1, ended by the service 0
credentials 1, ICE servers 8
frames 1800`)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		checkDay(t, d, `session open, reconnects 0, replaced 25, failures 0
describe 1, endpoints 1, sockets 26, ended by the service 0
credentials 25, ICE servers 346
frames 88200`)
		if more := d.service.pings.Load() - pings; more < 24*360 || more > 24*360+2*26 {
			t.Errorf("%d pings in a day of one every 10 s", more)
		}
		if now := runtime.NumGoroutine(); now > goroutines+2 { // the runtime has some of its own; a leak would be 25 at least
			t.Errorf("%d goroutines after half an hour, %d after a day", goroutines, now)
		}
		for _, box := range d.parts.sys.Mailboxes() {
			if box.Actors > 1 {
				t.Errorf("mailboxes of kind %s: %+v", box.Kind, box)
			}
		}
	})
}

// The service is gone for a minute, and for an hour: no frame is lost, it is asked ever less often, and the
// session is back as soon as the back-off allows.
func TestServiceDown(t *testing.T) {
	for _, gone := range []time.Duration{time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			d := newDay(t)
			defer d.stop(t)
			time.Sleep(10*time.Minute + 500*time.Millisecond)
			synctest.Wait()
			frames := d.frames.Load()
			d.service.fall()
			time.Sleep(gone)
			synctest.Wait()
			if lost := frames + int64(gone/time.Second) - d.frames.Load(); lost != 0 {
				t.Errorf("%d frames were lost while the service was gone", lost)
			}
			status := d.session(t)
			tries := status.Failures[failedRefused.class]
			if status.State == stateOpen || tries < 5 || tries > 5+2*uint64(gone/backOffMax) {
				t.Errorf("after %v the session is %s and was refused %d times", gone, status.State, tries)
			}
			d.service.rise()
			rose := time.Now()
			for d.session(t).State != stateOpen && time.Since(rose) < time.Hour {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			took := time.Since(rose)
			if took > backOffMax {
				t.Errorf("back after %v, the longest wait is %v", took, backOffMax)
			}
			t.Logf("gone for %v: refused %d times, back %v after the service, no frame lost", gone, tries, took)
		})
	}
}

func checkDay(t *testing.T, d *day, want string) {
	t.Helper()
	if got := d.counts(t); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

var _ io.Closer = (*fakeService)(nil)
