//go:build e2e

package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/heliograph-rtc/heliograph/media"
)

// A viewer above the device's own limit: Chromium takes the answer that rejects everything, and the page tells
// the visitor why.
func TestRejectedViewer(t *testing.T) {
	s := newService(t)
	source, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Service: s, device: newDeviceFor(t, s, source, 1)}
	first := newBrowser(t)
	first.do(t, chromedp.Navigate(w.LocalURL+"/?channel="+channel))
	first.holds(t, playWithin, `window.heliograph?.state === "playing"`, `window.heliograph?.state`)

	second := newBrowser(t)
	second.refusals = true
	second.do(t, chromedp.Navigate(w.LocalURL+"/?channel="+channel))
	second.holds(t, playWithin, `document.getElementById("veil").innerText.includes("All places are taken")`,
		`[window.heliograph?.state, document.getElementById("veil").innerText]`)

	// Without the page, which reads the answer before the browser does.
	rejected := value[map[string]any](t, second, `(async () => {
		const peer = new RTCPeerConnection();
		peer.addTransceiver("video", { direction: "recvonly" });
		peer.addTransceiver("audio", { direction: "sendrecv" });
		peer.createDataChannel("kvsDataChannel");
		await peer.setLocalDescription();
		if (peer.iceGatheringState !== "complete") {
			await new Promise((done) => peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done());
		}
		const response = await fetch("/whep/`+channel+`", { method: "POST", headers: { "Content-Type": "application/sdp" }, body: peer.localDescription.sdp });
		await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
		const state = { status: response.status, signaling: peer.signalingState, stopped: peer.getTransceivers().every((t) => t.currentDirection === "stopped") };
		peer.close();
		return state;
	})()`)
	if rejected["status"] != 201.0 || rejected["signaling"] != "stable" || rejected["stopped"] != true {
		t.Errorf("Chromium made of the rejecting answer: %v", rejected)
	}
	first.holds(t, playWithin, `heliograph.state === "playing"`, `heliograph.state`)
}
