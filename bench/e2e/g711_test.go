//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// alawTone is the sample with 20 ms of a 500 Hz tone in A-law in the place of each packet of sound.
type alawTone struct{ media.Source }

func (alawTone) AudioCodec() messages.Codec { return messages.PCMA }

func (s alawTone) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	high, low := bytes.Repeat([]byte{0xaa}, 8), bytes.Repeat([]byte{0x2a}, 8) // the greatest and the least sample
	tone := bytes.Repeat(append(high, low...), 10)
	return s.Source.Run(ctx, func(u *messages.AccessUnit) error {
		if u.Track == messages.Audio {
			u.Codec, u.Data = messages.PCMA, tone
		}
		return emit(u)
	})
}

// TestPageHearsG711: a browser plays a network camera's sound as the camera sends it.
func TestPageHearsG711(t *testing.T) {
	sample, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t)
	w := &world{Service: s, device: newDeviceWith(t, s, alawTone{sample})}
	b := newBrowser(t)
	b.do(t, chromedp.Navigate(w.LocalURL+"/?channel="+channel))
	b.holds(t, playWithin, `window.heliograph?.state === "playing"`, `[window.heliograph?.state, document.getElementById("veil").innerText]`)
	b.played(t, w, "heliograph.stats")
	b.holds(t, playWithin, `(heliograph.peer.getStats().then((r) => {
		const sound = [...r.values()].find((s) => s.type === "inbound-rtp" && s.kind === "audio");
		window.soundCodec = r.get(sound?.codecId)?.mimeType;
	}), window.soundCodec === "audio/PCMA")`, `window.soundCodec`)
}
