package rtc

// Packets pass pion by where there are batches.

import (
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/dtls/v3"
	"github.com/pion/webrtc/v4"
)

// A viewer notices nothing of who seals: not when pion has to go on with a stream whose numbers have
// wrapped around meanwhile, and not when it is left out again.
func TestSealersTakeTurns(t *testing.T) {
	e := newEngine(t, EngineConfig{TWCC: true})
	v, d := connect(t, e, wish{video: true, extensions: []string{transportCCURI}, feedback: true}, PeerConfig{})
	d.tracks[messages.Video].Load().index = 1<<16 - 30
	f := largeFrame(20)
	own := d.out.sealer.Load()
	for i, by := range []struct {
		sealer *sealer
		way    bool // pion has shown it
		sealed uint64
	}{{own, false, 19}, {own, true, 20}, {nil, true, 0}, {own, true, 20}, {own, false, 19}} {
		d.out.sealer.Store(by.sealer)
		d.tracks[messages.Video].Load().toured.at = time.Now().Add(time.Hour) // no tour is due
		if !by.way {
			d.out.batch.lose()
		}
		before := e.Sent().Sealed
		_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
		must(t, err)
		if got := e.Sent().Sealed - before; got != by.sealed {
			t.Fatalf("frame %d: %d packets were sealed past pion, want %d", i, got, by.sealed)
		}
		v.expectPayloads(f)
	}
}

// Now and then pion sees a packet, by number and by time.
func TestPionIsNotLeftOutForLong(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true}, PeerConfig{})
	f, video := largeFrame(20), d.tracks[messages.Video].Load()
	sealed := func() uint64 {
		before := e.Sent().Sealed
		_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
		must(t, err)
		v.expectPayloads(f)
		return e.Sent().Sealed - before
	}
	sealed()
	video.toured.at = time.Now().Add(-tourEvery)
	if got := sealed(); got != 19 {
		t.Errorf("%d of 20 packets past pion, a second after the last it saw", got)
	}
	video.toured.at = time.Now().Add(time.Hour)
	video.toured.index = video.index - tourPackets + 5
	if got := sealed(); got != 19 {
		t.Errorf("%d of 20 packets past pion, within which it is due", got)
	}
}

// A viewer that has no AES-GCM is served by pion.
func TestViewerWithoutGCM(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true, settings: func(s *webrtc.SettingEngine) {
		s.SetSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	}}, PeerConfig{})
	f := largeFrame(20)
	_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
	must(t, err)
	v.expectPayloads(f)
	if got := e.Sent(); got.Sealed != 0 || got.Batched != 20 {
		t.Fatalf("%+v", got)
	}
}
