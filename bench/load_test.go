package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// These tests run the real thing: service, device and viewers in this process, over loopback. What they
// ask for is what holds on a slow machine too: times are the load test's business, not theirs.

func TestLoadEmbedded(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var progress bytes.Buffer
	r, err := Load(ctx, LoadConfig{Viewers: 3, Duration: 3 * time.Second, Embedded: true, Source: "sample", SendAudio: true, Seed: 1}, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(progress.String(), "limits are lifted") || !strings.Contains(progress.String(), "connected 3/3") {
		t.Errorf("progress:\n%s", &progress)
	}
	if len(r.Rows) != 3 || r.Summary.Get("ok") != 3 || r.Summary.Get("candidates_dropped") != uint64(0) {
		t.Fatalf("summary %v, failures %v", r.Summary, r.Failures)
	}
	for _, row := range r.Rows {
		n := row.Get("viewer")
		for _, name := range []string{
			"first_rtp_s", "first_key_frame_s", "latency_p50_s", "describe_channel_s", "get_endpoints_s", "get_ice_servers_s",
			"connect_websocket_s", "gather_host_s", "gather_relay_s", "find_pair_s", "dtls_handshake_s", "first_frame_s",
		} {
			if _, ok := row.Get(name).(time.Duration); !ok {
				t.Errorf("viewer %v: no %s", n, name)
			}
		}
		if frames := row.Get("frames").(uint64); frames < 45 {
			t.Errorf("viewer %v: %d frames in 3 s", n, frames)
		}
		if fps := row.Get("source_fps").(float64); fps < 29.5 || fps > 30.5 {
			t.Errorf("viewer %v: the source makes %v frames per second", n, fps)
		}
		if audio := row.Get("audio_packets").(uint64); audio < 75 {
			t.Errorf("viewer %v: %d audio packets in 3 s", n, audio)
		}
		if pair := row.Get("pair").(string); !strings.Contains(pair, "/") {
			t.Errorf("viewer %v: pair %q", n, pair)
		}
	}
}

// TestLoadFindsAServiceElsewhere goes the way of a user: endpoint, roots and keys from outside.
func TestLoadFindsAServiceElsewhere(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{})
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, w.Service.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", w.Service.Credentials.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", w.Service.Credentials.SecretAccessKey)
	r, err := Load(ctx, LoadConfig{
		Viewers: 1, Duration: time.Second, Channel: w.Channel, Endpoint: w.Service.PublicURL, Region: w.Service.Region, CAFile: roots,
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if r.Summary.Get("ok") != 1 {
		t.Errorf("failures %v", r.Failures)
	}
}

// playing starts a viewer and waits until it plays.
func playing(t *testing.T, ctx context.Context, group *actors.Group, cfg ViewerConfig) *Viewer {
	t.Helper()
	v, err := NewViewer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	group.Go("viewer", func() error {
		err := v.Run(ctx)
		ended <- err
		return err
	})
	select {
	case <-v.Playing():
	case err := <-ended:
		t.Fatalf("viewer %s ended: %v", cfg.ClientID, err)
	}
	return v
}

func TestViewersComeAndGo(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{Viewers: 2, AWSLimits: true})
	var group actors.Group
	viewing, leave := context.WithCancel(ctx)
	defer leave()

	relayed := w.Viewer(1, "relayed")
	relayed.RelayOnly, relayed.Data = true, true
	relayed.Network.RTT = 10 * time.Millisecond
	first := playing(t, viewing, &group, relayed)
	second := playing(t, viewing, &group, w.Viewer(2, "second"))

	// A viewer that vanishes ends without an error, and its id may come back at once.
	second.Vanish()
	again := playing(t, viewing, &group, w.Viewer(3, "second"))
	await(t, ctx, func() bool { return first.Progress().Pongs > 0 }, "an answer on the data channel")

	first.Vanish() // through a relay, too
	leave()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	for _, v := range []*Viewer{first, second, again} {
		if row := v.Row(); !row.OK() || row.CandidatesDropped > 0 {
			t.Errorf("%+v", row)
		}
	}
	row := first.Row()
	if !strings.HasPrefix(row.Pair, "relay/") || row.Network.Sent == 0 || row.Network.Received == 0 {
		t.Errorf("pair %q, network %+v", row.Pair, row.Network)
	}
	if row.FirstRTP.(time.Duration) < 10*time.Millisecond {
		t.Errorf("first packet after %v through a network with a round trip of 10 ms", row.FirstRTP)
	}
}

// await asks until something holds.
func await(t *testing.T, ctx context.Context, holds func() bool, what string) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("no %s", what)
		}
	}
}

func TestViewerTellsWhyItCannotJoin(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{})
	run := func(cfg ViewerConfig) error {
		v, err := NewViewer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = v.Run(ctx)
		if row := v.Row(); err == nil || row.OK() || row.Error != err.Error() {
			t.Errorf("%v: %+v", err, row)
		}
		return err
	}
	stranger := w.Viewer(1, "AWS_viewer") // a reserved prefix (kvs-protocol.md 3.1)
	var refused *signaling.HandshakeError
	if err := run(stranger); !errors.As(err, &refused) {
		t.Errorf("reserved client id: %v", err)
	}
	elsewhere := w.Viewer(2, "elsewhere")
	elsewhere.Channel = "no-such-channel"
	if err := run(elsewhere); !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("unknown channel: %v", err)
	}
	cut := w.Viewer(3, "cut")
	cut.Network.Loss = 1
	cut.PlayWithin = 2 * time.Second
	if err := run(cut); !strings.Contains(err.Error(), "no decodable key frame within 2s") {
		t.Errorf("a network that loses everything: %v", err)
	}
}

func TestViewersTakeOneTurnAddress(t *testing.T) {
	const tcp, tls, udp, bare = "turn:h:443?transport=tcp", "turns:h:443?transport=tcp", "turn:h:443?transport=udp", "turn:h:443"
	for want, servers := range map[string][]messages.IceServer{
		udp:  {{URLs: []string{tls, tcp}}, {URLs: []string{udp}, Username: "u", Password: "p"}},
		bare: {{URLs: []string{bare, tcp}, Username: "u", Password: "p"}},
		tls:  {{URLs: []string{tls, tcp}, Username: "u", Password: "p"}},
	} {
		got := firstUDP(servers)
		if len(got) != 1 || len(got[0].URLs) != 1 || got[0].URLs[0] != want || got[0].Username != "u" || got[0].Password != "p" {
			t.Errorf("%v, want %s", got[0].URLs, want)
		}
	}
	if got := firstUDP(nil); got != nil {
		t.Errorf("%v of nothing", got)
	}
}
