package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func testStream(name string) Stream {
	return Stream{RetentionHours: 24, MediaType: "video/h264", Resource: Resource{
		Name: name, ARN: "arn:aws:kinesisvideo:us-west-2:123456789012:stream/" + name + "/1577439476380",
		Status: "ACTIVE", Created: time.UnixMilli(1577439476380).UTC(),
	}}
}

func channelNamed(t *testing.T, b *Backplane, name string) Channel {
	t.Helper()
	c, err := b.Channel(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUpdates(t *testing.T) {
	b := openTest(t, Config{})
	c, err := b.CreateChannel(t.Context(), testChannel("cam"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateChannel(t.Context(), testChannel("second"), 1); !errors.Is(err, ErrFull) {
		t.Fatalf("a channel too many: %v", err)
	}
	tagged, err := b.UpdateChannel(t.Context(), "cam", c.ARN, func(c *Channel) error {
		c.Tags["site"] = "cellar"
		return nil
	})
	if err != nil || tagged.Version != c.Version {
		t.Fatalf("tags changed the version from %s to %s, %v", c.Version, tagged.Version, err)
	}
	updated, err := b.UpdateChannel(t.Context(), "cam", c.ARN, func(c *Channel) error {
		c.MessageTTL, c.Edition = 5*time.Second, c.Edition+1
		return nil
	})
	if err != nil || updated.Version == c.Version {
		t.Fatalf("an update left the version at %s, %v", updated.Version, err)
	}
	if got := channelNamed(t, b, "cam"); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", updated) || got.Tags["site"] != "cellar" {
		t.Fatalf("read\n%+v after the update to\n%+v", got, updated)
	}
	if _, err := b.UpdateChannel(t.Context(), "cam", "arn:of:its:predecessor", func(*Channel) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Fatalf("update by another ARN: %v", err)
	}
	if err := b.DeleteChannel(t.Context(), "cam", c.Version); !errors.Is(err, ErrVersion) {
		t.Fatalf("delete by the old version: %v", err)
	}
	if err := b.DeleteChannel(t.Context(), "cam", updated.Version); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateChannel(t.Context(), testChannel("second"), 1); err != nil {
		t.Fatalf("the deleted channel still counts: %v", err)
	}
}

// Two nodes change the same record: no change is lost.
func TestUpdatesOfTwoNodesAddUp(t *testing.T) {
	url := cluster(t)
	nodes := []*Backplane{openTest(t, Config{URL: url}), openTest(t, Config{URL: url})}
	c, err := nodes[0].CreateChannel(t.Context(), testChannel("cam"), 1)
	if err != nil {
		t.Fatal(err)
	}
	const each = 20
	var wg sync.WaitGroup
	for _, b := range nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range each {
				if _, err := b.UpdateChannel(t.Context(), "cam", c.ARN, func(c *Channel) error { c.Edition++; return nil }); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	if got := channelNamed(t, nodes[1], "cam").Edition; got != 2*each {
		t.Fatalf("%d changes are left of %d", got, 2*each)
	}
}

func TestMapping(t *testing.T) {
	b := openTest(t, Config{})
	var channels []Channel
	for _, name := range []string{"a", "b"} {
		c, err := b.CreateChannel(t.Context(), testChannel(name), 10)
		if err != nil {
			t.Fatal(err)
		}
		channels = append(channels, c)
	}
	if _, err := b.CreateStream(t.Context(), testStream("s"), 10); err != nil {
		t.Fatal(err)
	}
	expectMapped := func(want string) {
		t.Helper()
		s, err := b.Stream(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		c, err := b.MappedChannel(t.Context(), s)
		if c.Name != want || want == "" != errors.Is(err, ErrNotFound) {
			t.Fatalf("mapped to %q, %v; want %q", c.Name, err, want)
		}
	}
	mapTo := func(i int) error {
		s, err := b.Stream(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		return b.MapChannel(t.Context(), channels[i], s)
	}
	expectMapped("")
	stale, err := b.Stream(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	if err := mapTo(0); err != nil {
		t.Fatal(err)
	}
	expectMapped("a")
	for what, err := range map[string]error{
		"mapped already":                   mapTo(1),
		"mapped since the stream was read": b.MapChannel(t.Context(), channels[1], stale),
	} {
		if !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if c := channelNamed(t, b, "b"); c.Storage || c.StreamARN != "" {
		t.Errorf("the refused channel names a stream: %+v", c)
	}
	expectMapped("a")
	if _, err := b.UpdateChannel(context.Background(), "a", channels[0].ARN, func(c *Channel) error { c.Storage = false; return nil }); err != nil {
		t.Fatal(err)
	}
	expectMapped("")
	if err := mapTo(1); err != nil {
		t.Fatal(err)
	}
	expectMapped("b")
	if err := b.DeleteChannel(t.Context(), "b", ""); err != nil {
		t.Fatal(err)
	}
	expectMapped("")
	if err := mapTo(0); err != nil {
		t.Fatal(err)
	}
	expectMapped("a")
}

// The marker of a deletion must not expire in a store that a start reads afresh: what it hides
// would come back and be taken for damage.
func TestMarkersStayInAStoreOnDisk(t *testing.T) {
	b := openTest(t, Config{Dir: t.TempDir()})
	if _, err := b.CreateStream(t.Context(), testStream("s"), 10); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteStream(t.Context(), "s", ""); err != nil {
		t.Fatal(err)
	}
	marker, err := b.streams.stream.GetLastMsgForSubject(t.Context(), b.streams.prefix+"s")
	if err != nil || marker.Header.Get(operationHeader) == "" || marker.Header.Get(jetstream.MsgTTLHeader) != "" {
		t.Fatalf("marker %v, %v", marker, err)
	}
}
