//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"text/tabwriter"
)

// sdkRow is one thing that has to be so between a master and a viewer.
type sdkRow struct {
	what, got string
	passed    bool
}

// sdkFigures is what the viewer's page measured.
type sdkFigures struct {
	figures
	Received, Faults []string
}

// TestJavaScriptSDKMasterAndViewer: the official JavaScript WebRTC SDK, unmodified, on both ends, each in a
// Chromium of its own; our service between them, as signaling alone and as relay.
func TestJavaScriptSDKMasterAndViewer(t *testing.T) {
	site := sdkSite(t)
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "master\tviewer\tcandidates\twhat\tgot\t")
	for _, policy := range []string{"all", "relay"} {
		t.Run(policy, func(t *testing.T) {
			for _, r := range masterAndViewer(t, site, policy) {
				mark := "ok"
				if !r.passed {
					mark = "FAILED"
					t.Errorf("%s: %s", r.what, r.got)
				}
				fmt.Fprintf(w, "JavaScript SDK\tJavaScript SDK\t%s\t%s\t%s\t%s\n", policy, r.what, r.got, mark)
			}
		})
	}
	_ = w.Flush()
	t.Logf("\n%s", table.String())
	keep(t, "jssdk.txt", table.Bytes())
}

func masterAndViewer(t *testing.T, site, policy string) []sdkRow {
	t.Helper()
	const viewerID = "e2e-viewer"
	s := newService(t)
	createChannel(t, s)
	master := sdkBrowser(t, s, site+"/sdk-master.html")
	value[bool](t, master, "serve("+sdkConfig(t, s, "MASTER", "", policy)+")")
	viewer := sdkBrowser(t, s, site+"/sdk-viewer.html")
	value[bool](t, viewer, "watch("+sdkConfig(t, s, "VIEWER", viewerID, policy)+")")

	viewer.holds(t, playWithin, `sdk.playing`, `sdk`)
	viewer.holds(t, playWithin, `sdk.received.includes("pong")`, `sdk`)
	played := fmt.Sprintf("sdk.measure().then((f) => f.framesDecoded > %d && f.audioPackets > %d)", framesDecodedMin, audioPacketsMin)
	eventually(t, playFor+playWithin, "the viewer has decoded pictures and sound", func() error {
		if value[bool](t, viewer, played) {
			return nil
		}
		return fmt.Errorf("measured %s", value[string](t, viewer, `sdk.measure().then(JSON.stringify)`))
	})
	f := value[sdkFigures](t, viewer, `(async () => { const s = await sdk.measure(); return {
		Width: s.width, Height: s.height, FramesDecoded: s.framesDecoded, FramesDropped: s.framesDropped, AudioPackets: s.audioPackets,
		AudioEnergy: s.audioEnergy, Lost: s.lost, Pair: s.pair, VideoCodec: s.videoCodec, Received: sdk.received, Faults: sdk.faults }; })()`)
	offers, heard := value[[]string](t, master, "sdk.offers"), value[[]string](t, master, "sdk.received")
	faults := append(value[[]string](t, master, "sdk.faults"), f.Faults...)
	shot := viewer.picture(t)
	keep(t, "jssdk-"+policy+".png", shot)
	viewer.showsPicture(t, shot, "video")
	return []sdkRow{
		{"the master gets one offer, with the viewer's id", fmt.Sprint(offers), slices.Equal(offers, []string{viewerID})},
		{"video is decoded", fmt.Sprintf("%d frames of %dx%d, %s", f.FramesDecoded, f.Width, f.Height, f.VideoCodec), f.FramesDecoded > framesDecodedMin && f.Width == 640 && f.Height == 360},
		{"sound is heard", fmt.Sprintf("%d packets, energy %.3f", f.AudioPackets, f.AudioEnergy), f.AudioPackets > audioPacketsMin && f.AudioEnergy > 0},
		{"data from viewer to master", fmt.Sprint(heard), slices.Contains(heard, "ping")},
		{"data from master to viewer", fmt.Sprint(f.Received), slices.Contains(f.Received, "pong")},
		{"the candidate pair", f.Pair, policy == "all" || f.Pair == "relay/relay"},
		{"neither SDK reports a fault", fmt.Sprint(faults), len(faults) == 0},
	}
}
