package service

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

func TestTimeScale(t *testing.T) {
	l := Limits{TimeScale: 60, IdleMax: time.Hour}.withDefaults()
	for name, c := range map[string]struct{ got, want time.Duration }{
		"what is set stays":      {l.IdleMax, time.Hour},
		"connection":             {l.ConnectionMax, time.Minute},
		"grace":                  {l.GoAwayGrace, time.Second},
		"TURN, for the C SDK":    {l.TurnTTL, 31 * time.Second},
		"skew, in whole seconds": {l.SkewMax, 5 * time.Second},
		"session":                {l.sessionLife(time.Hour), time.Minute},
		"ours":                   {l.WhepAnswerMax, 10 * time.Second},
		"AWS's grace":            {Limits{}.withDefaults().GoAwayGrace, time.Minute},
		"AWS's TURN":             {Limits{}.withDefaults().TurnTTL, 5 * time.Minute},
		"AWS's presign":          {Limits{}.withDefaults().PresignMax, 7 * 24 * time.Hour},
		"session, cut":           {Limits{SessionMax: time.Minute}.sessionLife(time.Hour), time.Minute},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func TestImpossibleLimits(t *testing.T) {
	for flag, l := range map[string]Limits{
		"--time-scale": {TimeScale: -1}, "--idle-max": {IdleMax: -1}, "--turn-ttl": {TurnTTL: time.Millisecond}, "--connects-rate": {ConnectsPerSecond: -1},
	} {
		if _, err := Start(t.Context(), Config{Public: "127.0.0.1:0", Local: "127.0.0.1:0", Limits: l}); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%v, want it to name %s", err, flag)
		}
	}
}

func TestShortTimesOfTheDoors(t *testing.T) {
	r := start(t, Config{RelayUDP: "127.0.0.1:0", RelayTCP: Off, Limits: Limits{TurnTTL: 40 * time.Second, SkewMax: time.Minute, PresignMax: time.Minute}})
	arn := r.channel("cam")
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: r.http})
	if _, ttl, err := client.IceServers(r.ctx, r.Credentials, r.PublicURL, arn, "v"); err != nil || ttl != 40*time.Second {
		t.Errorf("ttl %v, %v", ttl, err)
	}
	early := time.Now().Add(-90 * time.Second)
	if resp := r.post("/listSignalingChannels", "{}", r.Credentials, early); resp.StatusCode != 403 {
		t.Errorf("a clock 90 s behind: %d", resp.StatusCode)
	}
	_, err := signaling.Dial(r.ctx, r.presign(arn, "v", early), signaling.DialOptions{TLS: &tls.Config{RootCAs: r.CA}})
	if !refusedAs(err, "InvalidSignatureException") {
		t.Errorf("a URL of 299 s after 90 s: %v", err)
	}
}

func TestConnectionEndsAfterItsGrace(t *testing.T) {
	r := start(t, Config{Limits: Limits{ConnectionMax: 100 * time.Millisecond, GoAwayGrace: 50 * time.Millisecond}})
	f := r.take(r.channel("cam"), "v", newFakeSocket(8))
	began := time.Now()
	if m := r.next(f); m.MessageType != signaling.GoAway || time.Since(began) > time.Second {
		t.Fatalf("got %+v after %v, want GO_AWAY", m, time.Since(began))
	}
	r.ended(f, "1001 lifetime")
}
