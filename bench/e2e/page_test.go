//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/heliograph-rtc/heliograph/actors/service"
)

// Asked of every viewer that has played for playFor.
const (
	playWithin       = 20 * time.Second
	playFor          = 8 * time.Second
	framesDecodedMin = 150
	audioPacketsMin  = 200
)

// figures is what the page (stats.js) and the SDK's viewer both report.
type figures struct {
	Width, Height int
	FramesDecoded int
	FramesDropped int
	AudioPackets  int
	AudioEnergy   float64
	TalkPackets   int
	Lost          int
	Pair          string
	VideoCodec    string
}

// played asks for the figures once the viewer has played for playFor, and checks them. What the device says of the
// same viewer is logged beside: it tells whose fault a shortage is.
func (b *browser) played(t *testing.T, w *world, stats string) figures {
	t.Helper()
	playedMs := fmt.Sprintf("performance.now() - (window.e2eBegan ??= performance.now()) >= %d", playFor.Milliseconds())
	b.holds(t, playFor+playWithin, playedMs, "window.e2eBegan")
	f := value[figures](t, b, `(async () => { const s = `+stats+`; return {
		Width: s.width, Height: s.height, FramesDecoded: s.framesDecoded, FramesDropped: s.framesDropped,
		AudioPackets: s.audioPackets, AudioEnergy: s.audioEnergy, TalkPackets: s.talkPackets, Lost: s.lost, Pair: s.pair, VideoCodec: s.videoCodec }; })()`)
	v := w.viewer(t)
	t.Logf("after %v: %+v", playFor, f)
	t.Logf("the device: %d pictures and %d audio packets sent, %d dropped, %d key frames asked for; phases %v",
		v.VideoFrames, v.AudioFrames, v.FramesDropped, v.KeyFrameWishes, v.Phases)
	if f.FramesDecoded <= framesDecodedMin {
		t.Errorf("%d frames decoded, want more than %d", f.FramesDecoded, framesDecodedMin)
	}
	if f.AudioPackets <= audioPacketsMin {
		t.Errorf("%d audio packets received, want more than %d", f.AudioPackets, audioPacketsMin)
	}
	if f.AudioEnergy <= 0 {
		t.Error("the sound is silence")
	}
	if f.Width != 1280 || f.Height != 720 {
		t.Errorf("the picture is %d x %d, the sample's is 1280 x 720", f.Width, f.Height)
	}
	if f.Lost != 0 {
		t.Errorf("%d packets lost on loopback", f.Lost)
	}
	return f
}

// TestPage plays the page as a visitor does: sees, hears, pings, talks, leaves.
func TestPage(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	b.do(t, chromedp.Navigate(w.LocalURL+"/?channel="+channel))
	b.holds(t, playWithin, `window.heliograph?.state === "playing"`, `[window.heliograph?.state, document.getElementById("veil").innerText]`)

	b.do(t, chromedp.Click(chromedp.CSS("#data-ping")))
	b.holds(t, playWithin, `heliograph.log.some((m) => m.direction === "received" && m.text === "pong" && m.rttMs > 0)`, `heliograph.log`)
	b.do(t, chromedp.SendKeys(chromedp.CSS("#data-text"), "hello camera\r"))
	b.holds(t, playWithin, `heliograph.log.some((m) => m.direction === "received" && m.text === "hello camera")`, `heliograph.log`)

	b.do(t, chromedp.Click(chromedp.CSS("#talk")))
	b.holds(t, playWithin, `heliograph.stats?.talkPackets > 50`, `[heliograph.stats, document.getElementById("notice").innerText]`)
	eventually(t, playWithin, "the device hears the visitor", func() error {
		if v := w.viewer(t); v.AudioReceived == 0 {
			return fmt.Errorf("the device received no audio packet: %+v", v)
		}
		return nil
	})

	b.played(t, w, "heliograph.stats")
	checkTransport(t, b, w)
	shot := b.picture(t)
	keep(t, "page.png", shot)
	b.showsPicture(t, shot, "#video")
	checkWaterfall(t, b)

	b.do(t, chromedp.Click(chromedp.CSS("#theme")))
	b.holds(t, playWithin, `document.documentElement.dataset.theme === "dark" && document.getAnimations().length === 0`, `document.documentElement.dataset.theme`)
	keep(t, "page-dark.png", b.picture(t))

	b.do(t, chromedp.Click(chromedp.CSS("#leave")))
	b.holds(t, playWithin, `heliograph.state === "idle" && heliograph.peer === null`, `heliograph.state`)
	eventually(t, playWithin, "the device has let the visitor go", func() error {
		census, err := w.device.Census(t.Context())
		if err == nil && len(census.Viewers) > 0 {
			err = fmt.Errorf("still there: %s in state %s", census.Viewers[0].ClientID, census.Viewers[0].State)
		}
		return err
	})
}

// checkTransport: the browser has taken the cipher that is cheap, its packets leave without pion but for a
// few, and its feedback tells the device what the path carries.
func checkTransport(t *testing.T, b *browser, w *world) {
	t.Helper()
	b.holds(t, playWithin, `(heliograph.peer.getStats().then((r) => {
		window.cipher = [...r.values()].find((s) => s.type === "transport")?.srtpCipher;
	}), window.cipher === "SRTP_AEAD_AES_128_GCM")`, `window.cipher`)
	sealed, all := w.metric(t, "kvs_udp_packets_sealed_total"), w.metric(t, "kvs_udp_packets_batched_total")
	if sealed < all*9/10 {
		t.Errorf("%.0f of %.0f packets were sealed in their batch", sealed, all)
	}
	eventually(t, playWithin, "the device knows what the path carries", func() error {
		if v := w.viewer(t); v.EstimateBps == 0 || v.RoundTrip == 0 || v.Loss > 0.02 {
			return fmt.Errorf("estimate %d bit/s, round trip %v s, loss %v", v.EstimateBps, v.RoundTrip, v.Loss)
		}
		return nil
	})
}

// checkWaterfall: every phase of the first frame has its mark, in the order in which they happen.
func checkWaterfall(t *testing.T, b *browser) {
	t.Helper()
	marks := value[map[string]float64](t, b, "heliograph.marks")
	last := 0.0
	for _, phase := range []string{"ice_servers", "gather", "answer", "ice", "dtls", "first_packet", "first_frame"} {
		at, ok := marks[phase]
		if !ok || at < last {
			t.Errorf("phase %s at %.1f ms after one at %.1f ms (there: %v)", phase, at, last, ok)
		}
		last = at
	}
	t.Logf("first frame after %.0f ms: %v", marks["first_frame"], marks)
}

// TestPageExplainsRefusal: what the service refuses is said in words, with a remedy; the page tries again by
// itself where that can help, and plays once it does.
func TestPageExplainsRefusal(t *testing.T) {
	s := newService(t)
	b := newBrowser(t)
	b.refusals = true
	const said = `document.getElementById("veil").innerText`
	b.do(t, chromedp.Navigate(s.LocalURL+"/?channel=nobody"))
	b.holds(t, playWithin, `window.heliograph?.state === "lost" && `+said+`.includes("No such channel")`, said)

	createChannel(t, s)
	b.do(t, chromedp.Navigate(s.LocalURL+"/?channel="+channel))
	b.holds(t, playWithin, `window.heliograph?.state === "lost" && `+said+`.includes("The camera is offline")`, said)

	newDevice(t, s)
	b.holds(t, playWithin, `heliograph.state === "playing"`, said)
}

// TestPageSound: where the browser wants a click before it makes a sound, the page plays silently and offers that click.
func TestPageSound(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t, chromedp.Flag("autoplay-policy", "document-user-activation-required"))
	const state = `[heliograph.state, video.muted, video.paused, unmute.hidden, heliograph.stats]`
	b.do(t, chromedp.Navigate(w.LocalURL+"/?channel="+channel))
	b.holds(t, playWithin, `window.heliograph?.state === "playing" && video.muted && !video.paused && !unmute.hidden`, state)
	b.do(t, chromedp.Click(chromedp.CSS("#unmute")))
	b.holds(t, playWithin, `!video.muted && !video.paused && unmute.hidden && heliograph.stats?.audioEnergy > 0`, state)
	b.do(t, chromedp.Click(chromedp.CSS("#sound")))
	b.holds(t, playWithin, `video.muted && !unmute.hidden && sound.getAttribute("aria-pressed") === "false"`, state)
}

// TestPageComesBack: a camera that is switched off and on plays again without anybody's doing.
func TestPageComesBack(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t)
	b.refusals = true
	const state = `[heliograph.state, document.getElementById("veil").innerText]`
	b.do(t, chromedp.Navigate(w.LocalURL+"/?channel="+channel))
	b.holds(t, playWithin, `window.heliograph?.state === "playing"`, state)
	stopNow(t, "device", w.device.Stop)
	b.holds(t, playWithin, `heliograph.state === "lost"`, state)
	newDevice(t, w.Service)
	b.holds(t, playWithin, `heliograph.state === "playing"`, state)
}

// TestPageAsksForToken: over HTTPS with a token the page asks for it, says when it is wrong, and plays with the right one.
func TestPageAsksForToken(t *testing.T) {
	s := newServiceWith(t, service.Config{WhepToken: "the right one"})
	newDevice(t, s)
	b := newBrowser(t, chromedp.Flag("ignore-certificate-errors-spki-list", fingerprint(t, s)))
	b.refusals = true
	const said = `document.getElementById("veil").innerText`
	b.do(t, chromedp.Navigate(s.PublicURL+"/?channel="+channel))
	b.holds(t, playWithin, `window.heliograph?.state === "locked"`, said)
	b.do(t, chromedp.SendKeys(chromedp.CSS("#token"), "a wrong one\r"))
	b.holds(t, playWithin, said+`.includes("not accepted")`, said)
	b.do(t, chromedp.SendKeys(chromedp.CSS("#token"), "the right one\r"))
	b.holds(t, playWithin, `heliograph.state === "playing"`, said)
}

// TestPageReadsIceServers: Link headers as draft-ietf-wish-whep 4.6 and RFC 8288 allow them.
func TestPageReadsIceServers(t *testing.T) {
	s := newService(t)
	b := newBrowser(t)
	b.do(t, chromedp.Navigate(s.LocalURL+"/"))
	header := `<stun:127.0.0.1:3478>; rel="ice-server", <https://example.org/a,b>; rel=next, ` +
		`<turn:127.0.0.1:3478?transport=udp>; rel="ice-server"; username="1:a=,;\"x\""; credential="p+/=" ; credential-type="password"`
	quoted, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	got := value[string](t, b, `import("/whep.js").then(({ parseIceServers }) => JSON.stringify(parseIceServers(`+string(quoted)+`)))`)
	want := `[{"urls":"stun:127.0.0.1:3478"},{"urls":"turn:127.0.0.1:3478?transport=udp","username":"1:a=,;\"x\"","credential":"p+/="}]`
	if got != want {
		t.Errorf("parsed %s\nwant   %s", got, want)
	}
}
