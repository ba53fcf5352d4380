package service

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"

	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

func (r *rig) stream(name string, hours int32) (arn string) {
	r.Helper()
	out, err := r.sdk().CreateStream(r.ctx, &kinesisvideo.CreateStreamInput{StreamName: &name, DataRetentionInHours: &hours})
	if err != nil {
		r.Fatal(err)
	}
	return *out.StreamARN
}

func (r *rig) mapTo(channel, stream string, status types.MediaStorageConfigurationStatus) error {
	_, err := r.sdk().UpdateMediaStorageConfiguration(r.ctx, &kinesisvideo.UpdateMediaStorageConfigurationInput{
		ChannelARN: &channel, MediaStorageConfiguration: &types.MediaStorageConfiguration{Status: status, StreamARN: &stream},
	})
	return err
}

func (r *rig) version(channel string) string {
	r.Helper()
	out, err := r.sdk().DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelARN: &channel})
	if err != nil {
		r.Fatal(err)
	}
	return *out.ChannelInfo.Version
}

// expectRefused holds the outcome of calls against the exception that each must end in; "" is success.
func (r *rig) expectRefused(outcomes map[string]error, want string) {
	r.Helper()
	for what, err := range outcomes {
		if want == "" && err != nil || want != "" && !refusedAs(err, want) {
			r.Errorf("%s: %v, want %q", what, err, want)
		}
	}
}

func TestUpdateChannel(t *testing.T) {
	r := start(t, Config{})
	arn := r.channel("cam")
	update := func(version string, ttl int32) error {
		_, err := r.sdk().UpdateSignalingChannel(r.ctx, &kinesisvideo.UpdateSignalingChannelInput{
			ChannelARN: &arn, CurrentVersion: &version, SingleMasterConfiguration: &types.SingleMasterConfiguration{MessageTtlSeconds: &ttl},
		})
		return err
	}
	first := r.version(arn)
	r.expectRefused(map[string]error{"update": update(first, 90)}, "")
	if second := r.version(arn); second == first {
		t.Error("the update left the version as it was")
	}
	r.expectRefused(map[string]error{"stale version": update(first, 5)}, "VersionMismatchException")
	r.expectRefused(map[string]error{"ttl": update(r.version(arn), 121)}, "InvalidArgumentException")
	out, err := r.sdk().DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelARN: &arn})
	if err != nil || *out.ChannelInfo.SingleMasterConfiguration.MessageTtlSeconds != 90 {
		t.Fatalf("described %+v, %v", out, err)
	}
}

func TestTags(t *testing.T) {
	r := start(t, Config{})
	sdk := r.sdk()
	name := "cam"
	made, err := sdk.CreateSignalingChannel(r.ctx, &kinesisvideo.CreateSignalingChannelInput{
		ChannelName: &name, Tags: []types.Tag{{Key: sdkaws.String("site"), Value: sdkaws.String("roof")}, {Key: sdkaws.String("old"), Value: sdkaws.String("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := *made.ChannelARN
	before := r.version(arn)
	for _, resource := range []string{arn, r.stream("archive", 0)} {
		_, err = sdk.TagResource(r.ctx, &kinesisvideo.TagResourceInput{ResourceARN: &resource, Tags: []types.Tag{
			{Key: sdkaws.String("site"), Value: sdkaws.String("cellar")}, {Key: sdkaws.String("owner"), Value: sdkaws.String("José")},
		}})
		r.expectRefused(map[string]error{"tag": err}, "")
		_, err = sdk.UntagResource(r.ctx, &kinesisvideo.UntagResourceInput{ResourceARN: &resource, TagKeyList: []string{"old", "never"}})
		r.expectRefused(map[string]error{"untag": err}, "")
		out, err := sdk.ListTagsForResource(r.ctx, &kinesisvideo.ListTagsForResourceInput{ResourceARN: &resource})
		if err != nil || !maps.Equal(out.Tags, map[string]string{"site": "cellar", "owner": "José"}) {
			t.Fatalf("tags of %s: %+v, %v", resource, out, err)
		}
	}
	if r.version(arn) != before {
		t.Error("tags changed the version")
	}
	many := make([]types.Tag, 49)
	for i := range many {
		many[i] = types.Tag{Key: sdkaws.String(fmt.Sprint("k", i)), Value: sdkaws.String("v")}
	}
	_, err = sdk.TagResource(r.ctx, &kinesisvideo.TagResourceInput{ResourceARN: &arn, Tags: many})
	r.expectRefused(map[string]error{"51 tags": err}, "TagsPerResourceExceededLimitException")
	_, err = sdk.ListTagsForResource(r.ctx, &kinesisvideo.ListTagsForResourceInput{ResourceARN: sdkaws.String(arn + "0")})
	r.expectRefused(map[string]error{"no resource": err}, "ResourceNotFoundException")
	_, err = sdk.ListTagsForStream(r.ctx, &kinesisvideo.ListTagsForStreamInput{StreamARN: sdkaws.String("arn")})
	r.expectRefused(map[string]error{"format": err}, "InvalidResourceFormatException")
}

func TestMediaStorage(t *testing.T) {
	r := start(t, Config{})
	sdk := r.sdk()
	cam, other := r.channel("cam"), r.channel("other")
	archive, second, live := r.stream("archive", 24), r.stream("second", 24), r.stream("live", 0)
	webrtc := func() error {
		_, err := sdk.GetSignalingChannelEndpoint(r.ctx, &kinesisvideo.GetSignalingChannelEndpointInput{
			ChannelARN: &cam, SingleMasterChannelEndpointConfiguration: &types.SingleMasterChannelEndpointConfiguration{
				Protocols: []types.ChannelProtocol{"WEBRTC", "WSS"}, Role: types.ChannelRoleMaster,
			},
		})
		return err
	}
	r.expectRefused(map[string]error{"WEBRTC before": webrtc()}, "InvalidArgumentException")
	r.expectRefused(map[string]error{"no retention": r.mapTo(cam, live, "ENABLED")}, "NoDataRetentionException")
	r.expectRefused(map[string]error{"no stream": r.mapTo(cam, archive+"0", "ENABLED")}, "ResourceNotFoundException")
	r.expectRefused(map[string]error{"map": r.mapTo(cam, archive, "ENABLED"), "again": r.mapTo(cam, archive, "ENABLED"), "WEBRTC": webrtc()}, "")
	_, deletion := sdk.DeleteStream(r.ctx, &kinesisvideo.DeleteStreamInput{StreamARN: &archive})
	r.expectRefused(map[string]error{
		"second stream": r.mapTo(cam, second, "ENABLED"), "second channel": r.mapTo(other, archive, "ENABLED"), "deletion": deletion,
	}, "ResourceInUseException")
	for status, channel := range map[types.MediaStorageConfigurationStatus]string{"ENABLED": cam, "DISABLED": other} {
		out, err := sdk.DescribeMediaStorageConfiguration(r.ctx, &kinesisvideo.DescribeMediaStorageConfigurationInput{ChannelARN: &channel})
		if err != nil || out.MediaStorageConfiguration.Status != status || (out.MediaStorageConfiguration.StreamARN != nil) != (channel == cam) {
			t.Errorf("%s: %+v, %v", channel, out, err)
		}
	}
	mapped := func() []types.MappedResourceConfigurationListItem {
		out, err := sdk.DescribeMappedResourceConfiguration(r.ctx, &kinesisvideo.DescribeMappedResourceConfigurationInput{StreamARN: &archive})
		if err != nil {
			t.Fatal(err)
		}
		return out.MappedResourceConfigurationList
	}
	if list := mapped(); len(list) != 1 || *list[0].ARN != cam {
		t.Errorf("mapped to %+v", list)
	}
	r.expectRefused(map[string]error{"disable": r.mapTo(cam, archive, "DISABLED")}, "")
	if list := mapped(); len(list) != 0 {
		t.Errorf("mapped to %+v after the end", list)
	}
	r.expectRefused(map[string]error{"WEBRTC after": webrtc()}, "InvalidArgumentException")
	r.expectRefused(map[string]error{"the stream is free": r.mapTo(other, archive, "ENABLED")}, "")
}

func TestStreams(t *testing.T) {
	r := start(t, Config{Limits: Limits{StreamsMax: 3}})
	sdk := r.sdk()
	arn := r.stream("b", 2)
	describe := func() *types.StreamInfo {
		out, err := sdk.DescribeStream(r.ctx, &kinesisvideo.DescribeStreamInput{StreamARN: &arn})
		if err != nil {
			t.Fatal(err)
		}
		return out.StreamInfo
	}
	info := describe()
	if !strings.HasPrefix(arn, "arn:aws:kinesisvideo:us-west-2:000000000000:stream/b/") || info.Status != types.StatusActive ||
		*info.DataRetentionInHours != 2 || info.DeviceName != nil || time.Since(*info.CreationTime).Abs() > time.Minute {
		t.Fatalf("%s is %+v", arn, info)
	}
	retain := func(version *string, operation types.UpdateDataRetentionOperation, hours int32) error {
		_, err := sdk.UpdateDataRetention(r.ctx, &kinesisvideo.UpdateDataRetentionInput{
			StreamARN: &arn, CurrentVersion: version, Operation: operation, DataRetentionChangeInHours: &hours,
		})
		return err
	}
	r.expectRefused(map[string]error{"below zero": retain(info.Version, "DECREASE_DATA_RETENTION", 3)}, "InvalidArgumentException")
	r.expectRefused(map[string]error{"increase": retain(info.Version, "INCREASE_DATA_RETENTION", 3)}, "")
	r.expectRefused(map[string]error{"stale": retain(info.Version, "INCREASE_DATA_RETENTION", 3)}, "VersionMismatchException")
	_, err := sdk.UpdateStream(r.ctx, &kinesisvideo.UpdateStreamInput{StreamARN: &arn, CurrentVersion: describe().Version, DeviceName: sdkaws.String("roof")})
	r.expectRefused(map[string]error{"update": err}, "")
	if info = describe(); *info.DataRetentionInHours != 5 || *info.DeviceName != "roof" {
		t.Errorf("updated to %+v", info)
	}
	r.stream("a", 0)
	r.stream("c", 0)
	_, err = sdk.CreateStream(r.ctx, &kinesisvideo.CreateStreamInput{StreamName: sdkaws.String("d")})
	r.expectRefused(map[string]error{"a stream too many": err}, "AccountStreamLimitExceededException")
	var names []string
	for p := kinesisvideo.NewListStreamsPaginator(sdk, &kinesisvideo.ListStreamsInput{MaxResults: sdkaws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.StreamInfoList {
			names = append(names, *s.StreamName)
		}
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("listed %q", names)
	}
	_, err = sdk.DeleteStream(r.ctx, &kinesisvideo.DeleteStreamInput{StreamARN: &arn, CurrentVersion: info.Version})
	r.expectRefused(map[string]error{"delete": err}, "")
	_, err = sdk.DescribeStream(r.ctx, &kinesisvideo.DescribeStreamInput{StreamName: sdkaws.String("b")})
	r.expectRefused(map[string]error{"deleted": err}, "ResourceNotFoundException")
}

func TestStreamsAndTagsLiveThroughARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Start(t.Context(), Config{Dir: dir, Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: first.CA}, DisableKeepAlives: true}
	r := &rig{t, first, t.Context(), &http.Client{Transport: transport}}
	cam, archive := r.channel("cam"), r.stream("archive", 1)
	r.expectRefused(map[string]error{"map": r.mapTo(cam, archive, "ENABLED")}, "")
	_, err = r.sdk().TagStream(r.ctx, &kinesisvideo.TagStreamInput{StreamARN: &archive, Tags: map[string]string{"site": "roof"}})
	r.expectRefused(map[string]error{"tag": err}, "")
	version := r.version(cam)
	stop(t, first)
	r = start(t, Config{Dir: dir})
	out, err := r.sdk().DescribeMediaStorageConfiguration(r.ctx, &kinesisvideo.DescribeMediaStorageConfigurationInput{ChannelARN: &cam})
	if err != nil || out.MediaStorageConfiguration.Status != "ENABLED" || *out.MediaStorageConfiguration.StreamARN != archive {
		t.Errorf("storage %+v, %v", out, err)
	}
	tags, err := r.sdk().ListTagsForStream(r.ctx, &kinesisvideo.ListTagsForStreamInput{StreamName: sdkaws.String("archive")})
	if err != nil || tags.Tags["site"] != "roof" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	if after := r.version(cam); after != version {
		t.Errorf("version %s, before %s", after, version)
	}
}

func TestRequestRates(t *testing.T) {
	r := start(t, Config{Limits: Limits{RequestRates: 0.001}})
	arn := r.channel("cam")
	for what, call := range map[string]func() error{
		"create": func() error {
			_, err := r.sdk().CreateSignalingChannel(r.ctx, &kinesisvideo.CreateSignalingChannelInput{ChannelName: sdkaws.String("second")})
			return err
		},
		"describe": func() error {
			return errors.Join(r.describe(arn), r.describe(arn))
		},
	} {
		r.expectRefused(map[string]error{what: call()}, "ClientLimitExceededException")
	}
}

func (r *rig) describe(arn string) error {
	_, err := r.sdk().DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelARN: &arn})
	return err
}

func TestQuotasAreBounded(t *testing.T) {
	q := newQuotas(Limits{}.withDefaults())
	for i := range quotasMax + 100 {
		if !q.allow("GetSignalingChannelEndpoint", fmt.Sprint(i), 300) && i < 300 {
			t.Fatalf("request %d of the account is refused", i)
		}
	}
	if len(q.each) > quotasMax {
		t.Errorf("%d buckets", len(q.each))
	}
	if !newQuotas(Limits{Unlimited: true}.withDefaults()).allow("GetSignalingChannelEndpoint", "a", 300) {
		t.Error("the first request of a service without limits is refused")
	}
}

func TestLifecycle(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		stored     string
		since      time.Duration
		transition time.Duration
		want       string
	}{
		{statusCreating, 0, 0, statusActive},
		{statusCreating, -time.Hour, 0, statusActive}, // another node's clock is ahead
		{statusCreating, time.Second, time.Minute, statusCreating},
		{statusCreating, time.Minute, time.Minute, statusActive},
		{statusUpdating, time.Second, time.Minute, statusUpdating},
		{statusUpdating, time.Hour, time.Minute, statusActive},
		{statusDeleting, time.Second, time.Minute, statusDeleting},
		{statusDeleting, time.Hour, time.Minute, statusDeleted},
		{statusDeleting, 0, 0, statusDeleted},
		{statusActive, time.Hour, time.Minute, statusActive}, // of a store of before
	} {
		if got := statusAt(backplane.Resource{Status: c.stored, Changed: now.Add(-c.since)}, c.transition, now); got != c.want {
			t.Errorf("%s for %v of %v: %s, want %s", c.stored, c.since, c.transition, got, c.want)
		}
	}
}

// A change that takes its time: the resource cannot be changed meanwhile.
func TestTransition(t *testing.T) {
	r := start(t, Config{Limits: Limits{Transition: 200 * time.Millisecond}})
	arn, archive := r.channel("cam"), r.stream("archive", 1)
	state := func(want string) func() bool {
		return func() bool {
			out, err := r.sdk().DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelARN: &arn})
			return want == "" && refusedAs(err, "ResourceNotFoundException") || err == nil && string(out.ChannelInfo.ChannelStatus) == want
		}
	}
	r.until("the channel is active", state(statusActive))
	_, err := r.sdk().DeleteSignalingChannel(r.ctx, &kinesisvideo.DeleteSignalingChannelInput{ChannelARN: &arn})
	r.expectRefused(map[string]error{"delete": err}, "")
	r.until("the channel is gone", state(""))
	r.until("its record is gone too", func() bool {
		_, err := r.back.Channel(r.ctx, "cam")
		return errors.Is(err, backplane.ErrNotFound)
	})
	r.until("the stream can be deleted", func() bool {
		_, err := r.sdk().DeleteStream(r.ctx, &kinesisvideo.DeleteStreamInput{StreamARN: &archive})
		return err == nil
	})
	if again := r.channel("cam"); again == arn {
		t.Error("the new channel has the ARN of the old one")
	}
}

func (r *rig) body(resp *http.Response) string {
	r.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return string(text)
}

// The members stand in alphabetical order, and nothing before the one that is expected first
// (kvs-protocol.md 7.4).
func TestOrderOfKeys(t *testing.T) {
	r := start(t, Config{})
	cam, archive := r.channel("cam"), r.stream("archive", 1)
	r.expectRefused(map[string]error{"map": r.mapTo(cam, archive, "ENABLED")}, "")
	for _, c := range []struct{ path, body, begins string }{
		{"/describeMediaStorageConfiguration", `{"ChannelName":"cam"}`, `{"MediaStorageConfiguration":{"Status":"ENABLED","StreamARN":"` + archive + `"}}`},
		{"/describeMappedResourceConfiguration", `{"StreamName":"archive"}`, `{"MappedResourceConfigurationList":[{"ARN":"` + cam + `","Type":"`},
		{"/describeStream", `{"StreamName":"archive"}`, `{"StreamInfo":{"CreationTime":`},
		{"/ListTagsForResource", `{"ResourceARN":"` + cam + `"}`, `{"Tags":{}}`},
		{"/getDataEndpoint", `{"APIName":"PUT_MEDIA","StreamName":"archive"}`, `{"DataEndpoint":"https://`},
		{"/TagResource", `{"ResourceARN":"` + cam + `","Tags":[{"Key":"a","Value":"b"}]}`, `{}`},
	} {
		if got := r.body(r.post(c.path, c.body, r.Credentials, time.Now())); !strings.HasPrefix(got, c.begins) {
			t.Errorf("%s: %s, want it to begin with %s", c.path, got, c.begins)
		}
	}
}
