//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/heliograph-rtc/heliograph/media"
)

// readClock reads the strip of 32 blocks along the lower edge of 90 pictures (cmd/heliograph-gst/shim.c): the
// wall clock's milliseconds modulo 2^24 and their check sum.
const readClock = `(async () => {
	const video = document.querySelector("video"), canvas = document.createElement("canvas"), ages = [];
	let wrong = 0;
	for (let n = 0; n < 90; n++) {
		await new Promise((shown) => video.requestVideoFrameCallback(shown));
		const now = Date.now(), side = video.videoWidth / 32;
		canvas.width = video.videoWidth; canvas.height = 1;
		const context = canvas.getContext("2d", { willReadFrequently: true });
		context.drawImage(video, 0, video.videoHeight - side / 2, video.videoWidth, 1, 0, 0, video.videoWidth, 1);
		const row = context.getImageData(0, 0, video.videoWidth, 1).data;
		const bytes = [0, 0, 0, 0];
		for (let i = 0; i < 32; i++) bytes[i >> 3] = bytes[i >> 3] << 1 | (row[4 * Math.floor((i + 0.5) * side)] > 128);
		if ((~(bytes[0] + bytes[1] + bytes[2]) & 0xff) !== bytes[3]) { wrong++; continue; }
		ages.push(((now % 0x1000000) - (bytes[0] << 16 | bytes[1] << 8 | bytes[2]) + 0x1800000) % 0x1000000 - 0x800000);
	}
	return { Wrong: wrong, AgesMs: ages };
})()`

// A generated picture goes through x264 to Chromium, and the clock in it is read back there: the picture is
// whole, in time, and not the same one over and over.
func TestClockOfTheCameraIsReadInTheBrowser(t *testing.T) {
	helper := filepath.Join(t.TempDir(), "heliograph-gst")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "gst", "-o", helper, "github.com/heliograph-rtc/heliograph/cmd/heliograph-gst")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		lacks(t, "heliograph-gst does not build: "+string(out))
	}
	s := newService(t)
	newDeviceWith(t, s, media.NewExec(media.ExecConfig{Name: "test", Args: []string{helper, "--source", "test", "--encoder", "x264enc"}, Log: logger(t, "source")}))
	b := newBrowser(t)
	b.do(t, chromedp.Navigate(s.LocalURL+"/?channel="+channel))
	b.holds(t, playWithin, `window.heliograph?.state === "playing"`, `[window.heliograph?.state, document.getElementById("veil").innerText]`)
	got := value[struct {
		Wrong  int
		AgesMs []int
	}](t, b, readClock)
	if got.Wrong > 0 || len(got.AgesMs) == 0 {
		t.Fatalf("%d of 90 clocks could not be read", got.Wrong)
	}
	slices.Sort(got.AgesMs)
	median, oldest := got.AgesMs[len(got.AgesMs)/2], got.AgesMs[len(got.AgesMs)-1]
	t.Logf("90 clocks read; from the camera to the browser's picture: %d ms at the median, %d ms at most", median, oldest)
	if got.AgesMs[0] < 0 || oldest > 3000 {
		t.Errorf("pictures are %d to %d ms old", got.AgesMs[0], oldest)
	}
}
