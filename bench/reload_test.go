package bench

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// New settings reach who watches already, and cost nobody a picture; who is above a lower limit stays.
func TestSettingsChangeUnderViewers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	encoder := &encoderScript{}
	w := startWorld(t, ctx, WorldConfig{Source: encoder, Viewers: 2})
	var group actors.Group
	life, leave := context.WithCancel(ctx)
	defer func() {
		leave()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	}()
	operator := newTalker(t, life, &group, w, "operator-1", nil)
	operator.refused(t, ctx, `"bitrate","bps":500000`, "not_allowed")

	settings := &messages.Settings{ViewersMax: 1, Grants: map[string][]string{"operator-*": {"bitrate"}}}
	if err := w.Device.Reload(ctx, func() (*messages.Settings, error) { return settings, nil }); err != nil {
		t.Fatal(err)
	}
	operator.granted(t, ctx, `"bitrate","bps":500000`)
	second, err := NewViewer(w.Viewer(2, "viewer-2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(ctx); err == nil || !strings.Contains(err.Error(), "all slots are taken") {
		t.Errorf("a second viewer: %v", err)
	}
	census, err := w.Device.Census(ctx)
	if err != nil || census.Limit != 1 || len(census.Viewers) != 1 || census.Viewers[0].FramesDropped != 0 {
		t.Errorf("%+v, %v", census, err)
	}
}
