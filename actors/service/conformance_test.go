package service

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	kv "github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
)

// call is one request through the official Go SDK.
type call func(*rig) error

func via[In, Out any](method func(*kv.Client, context.Context, *In, ...func(*kv.Options)) (*Out, error), in In) call {
	return func(r *rig) error {
		_, err := method(r.sdk(), r.ctx, &in)
		return err
	}
}

// on sends a call to another service than the one of the table.
type on struct {
	*rig
	call
}

// operation is what one operation must end in: ok, what is refused to a key that nothing is allowed
// to (denied), a resource that does not exist (absent; nil: none is named), a wrong argument, and the rest.
type operation struct {
	name                string
	denied              string
	ok, absent, invalid call
	others              map[string]on
}

// documented are the errors of the operations as the SDK's model has them, by what they have in
// common: ClientLimitExceededException and InvalidArgumentException belong to all. Not here, because
// AWS says that it does not implement them: DeviceStreamLimitExceededException, InvalidDeviceException.
var documented = map[string]string{
	"CreateSignalingChannel":              "AccessDenied AccountChannelLimitExceeded ResourceInUse TagsPerResourceExceededLimit",
	"DescribeSignalingChannel":            "AccessDenied ResourceNotFound",
	"ListSignalingChannels":               "AccessDenied",
	"UpdateSignalingChannel":              "AccessDenied ResourceInUse ResourceNotFound VersionMismatch",
	"DeleteSignalingChannel":              "AccessDenied ResourceInUse ResourceNotFound VersionMismatch",
	"GetSignalingChannelEndpoint":         "AccessDenied ResourceInUse ResourceNotFound",
	"TagResource":                         "AccessDenied ResourceNotFound TagsPerResourceExceededLimit",
	"UntagResource":                       "AccessDenied ResourceNotFound",
	"ListTagsForResource":                 "AccessDenied ResourceNotFound",
	"DescribeMediaStorageConfiguration":   "AccessDenied ResourceNotFound",
	"UpdateMediaStorageConfiguration":     "AccessDenied NoDataRetention ResourceInUse ResourceNotFound",
	"DescribeMappedResourceConfiguration": "AccessDenied ResourceNotFound",
	"CreateStream":                        "AccountStreamLimitExceeded ResourceInUse TagsPerResourceExceededLimit",
	"DescribeStream":                      "NotAuthorized ResourceNotFound",
	"ListStreams":                         "",
	"UpdateStream":                        "NotAuthorized ResourceInUse ResourceNotFound VersionMismatch",
	"DeleteStream":                        "NotAuthorized ResourceInUse ResourceNotFound VersionMismatch",
	"GetDataEndpoint":                     "NotAuthorized ResourceNotFound",
	"UpdateDataRetention":                 "NotAuthorized ResourceInUse ResourceNotFound VersionMismatch",
	"TagStream":                           "InvalidResourceFormat NotAuthorized ResourceNotFound TagsPerResourceExceededLimit",
	"UntagStream":                         "InvalidResourceFormat NotAuthorized ResourceNotFound",
	"ListTagsForStream":                   "InvalidResourceFormat NotAuthorized ResourceNotFound",
	"DescribeStreamStorageConfiguration":  "AccessDenied ResourceNotFound",
	"UpdateStreamStorageConfiguration":    "AccessDenied ResourceInUse ResourceNotFound VersionMismatch",
}

// fixture is what the calls of the table are about.
type fixture struct {
	normal, slow                    *rig
	cam, other                      *string
	archive, second, live           *string
	slowChannel, slowStream         *string
	noChannel, noStream, noARN, old *string
}

func newFixture(t *testing.T, normal *rig) *fixture {
	slow := start(t, Config{Limits: Limits{RequestRates: 100, Transition: time.Hour, ChannelsMax: 1, StreamsMax: 1}})
	own := func(s string) *string { return &s }
	f := &fixture{
		normal: normal, slow: slow, cam: own(normal.channel("cam")), other: own(normal.channel("other")),
		archive: own(normal.stream("archive", 24)), second: own(normal.stream("second", 24)), live: own(normal.stream("live", 0)),
		slowChannel: own(slow.channel("slow")), slowStream: own(slow.stream("slow", 24)),
		noARN: own("arn:aws:s3:::bucket"), old: own("abcdefghij0123456789"),
	}
	f.noChannel, f.noStream = own(*f.cam+"0"), own(*f.archive+"0")
	normal.expectRefused(map[string]error{"map": normal.mapTo(*f.cam, *f.archive, "ENABLED")}, "")
	return f
}

// version gives a call the present version of the stream.
func (f *fixture) version(made func(version *string) call) call {
	return func(r *rig) error {
		out, err := f.normal.sdk().DescribeStream(r.ctx, &kv.DescribeStreamInput{StreamARN: f.second})
		if err != nil {
			return err
		}
		return made(out.StreamInfo.Version)(r)
	}
}

func fiftyOneTags() (list []types.Tag, asMap map[string]string) {
	asMap = map[string]string{}
	for i := range 51 {
		key := fmt.Sprint("key-", i)
		list, asMap[key] = append(list, types.Tag{Key: &key, Value: &key}), key
	}
	return list, asMap
}

func (f *fixture) channels() []operation {
	many, _ := fiftyOneTags()
	create := func(name string, tags ...types.Tag) call {
		return via((*kv.Client).CreateSignalingChannel, kv.CreateSignalingChannelInput{ChannelName: &name, Tags: tags})
	}
	describe := func(arn *string) call {
		return via((*kv.Client).DescribeSignalingChannel, kv.DescribeSignalingChannelInput{ChannelARN: arn})
	}
	list := func(max int32) call {
		return via((*kv.Client).ListSignalingChannels, kv.ListSignalingChannelsInput{MaxResults: &max})
	}
	update := func(arn, version *string, ttl int32) call {
		return via((*kv.Client).UpdateSignalingChannel, kv.UpdateSignalingChannelInput{
			ChannelARN: arn, CurrentVersion: version, SingleMasterConfiguration: &types.SingleMasterConfiguration{MessageTtlSeconds: &ttl}})
	}
	endpoint := func(arn *string, protocol types.ChannelProtocol) call {
		return via((*kv.Client).GetSignalingChannelEndpoint, kv.GetSignalingChannelEndpointInput{
			ChannelARN: arn, SingleMasterChannelEndpointConfiguration: &types.SingleMasterChannelEndpointConfiguration{
				Protocols: []types.ChannelProtocol{protocol}, Role: types.ChannelRoleMaster}})
	}
	present := func(r *rig) error {
		version := f.normal.version(*f.cam)
		return update(f.cam, &version, 90)(r)
	}
	return []operation{
		{"CreateSignalingChannel", "AccessDenied", create("made"), nil, create("a b"), map[string]on{
			"ResourceInUse": {f.normal, create("cam")}, "TagsPerResourceExceededLimit": {f.normal, create("x", many...)},
			"AccountChannelLimitExceeded": {f.slow, create("beyond")}}},
		{"DescribeSignalingChannel", "AccessDenied", describe(f.cam), describe(f.noChannel), describe(nil), nil},
		{"ListSignalingChannels", "AccessDenied", list(1), nil, list(0), nil},
		{"UpdateSignalingChannel", "AccessDenied", present, update(f.noChannel, f.old, 90), update(f.cam, f.old, 4), map[string]on{
			"ResourceInUse": {f.slow, update(f.slowChannel, f.old, 90)}, "VersionMismatch": {f.normal, update(f.cam, f.old, 90)}}},
		{"GetSignalingChannelEndpoint", "AccessDenied", endpoint(f.cam, "WSS"), endpoint(f.noChannel, "WSS"), endpoint(f.cam, "FTP"), map[string]on{
			"ResourceInUse": {f.slow, endpoint(f.slowChannel, "WSS")}}},
	}
}

func (f *fixture) tags() []operation {
	many, asMap := fiftyOneTags()
	tag := func(arn *string, tags []types.Tag) call {
		return via((*kv.Client).TagResource, kv.TagResourceInput{ResourceARN: arn, Tags: tags})
	}
	untag := func(arn *string) call {
		return via((*kv.Client).UntagResource, kv.UntagResourceInput{ResourceARN: arn, TagKeyList: []string{"a"}})
	}
	list := func(arn *string) call {
		return via((*kv.Client).ListTagsForResource, kv.ListTagsForResourceInput{ResourceARN: arn})
	}
	tagStream := func(arn *string, tags map[string]string) call {
		return via((*kv.Client).TagStream, kv.TagStreamInput{StreamARN: arn, Tags: tags})
	}
	untagStream := func(arn *string) call {
		return via((*kv.Client).UntagStream, kv.UntagStreamInput{StreamARN: arn, TagKeyList: []string{"a"}})
	}
	listStream := func(arn *string) call {
		return via((*kv.Client).ListTagsForStream, kv.ListTagsForStreamInput{StreamARN: arn})
	}
	one, oneAsMap := many[:1], map[string]string{"a": "b"}
	return []operation{
		{"TagResource", "AccessDenied", tag(f.cam, one), tag(f.noChannel, one), tag(f.noARN, one), map[string]on{
			"TagsPerResourceExceededLimit": {f.normal, tag(f.cam, many)}}},
		{"UntagResource", "AccessDenied", untag(f.cam), untag(f.noStream), untag(f.noARN), nil},
		{"ListTagsForResource", "AccessDenied", list(f.archive), list(f.noStream), list(f.noARN), nil},
		{"TagStream", "NotAuthorized", tagStream(f.archive, oneAsMap), tagStream(f.noStream, oneAsMap), tagStream(nil, oneAsMap), map[string]on{
			"TagsPerResourceExceededLimit": {f.normal, tagStream(f.archive, asMap)}, "InvalidResourceFormat": {f.normal, tagStream(f.noARN, oneAsMap)}}},
		{"UntagStream", "NotAuthorized", untagStream(f.archive), untagStream(f.noStream), untagStream(nil), map[string]on{
			"InvalidResourceFormat": {f.normal, untagStream(f.noARN)}}},
		{"ListTagsForStream", "NotAuthorized", listStream(f.archive), listStream(f.noStream), listStream(nil), map[string]on{
			"InvalidResourceFormat": {f.normal, listStream(f.noARN)}}},
	}
}

func (f *fixture) storage() []operation {
	describe := func(arn *string) call {
		return via((*kv.Client).DescribeMediaStorageConfiguration, kv.DescribeMediaStorageConfigurationInput{ChannelARN: arn})
	}
	update := func(channel, stream *string) call {
		return via((*kv.Client).UpdateMediaStorageConfiguration, kv.UpdateMediaStorageConfigurationInput{
			ChannelARN: channel, MediaStorageConfiguration: &types.MediaStorageConfiguration{Status: "ENABLED", StreamARN: stream}})
	}
	mapped := func(arn *string, max int32) call {
		return via((*kv.Client).DescribeMappedResourceConfiguration, kv.DescribeMappedResourceConfigurationInput{StreamARN: arn, MaxResults: &max})
	}
	return []operation{
		{"DescribeMediaStorageConfiguration", "AccessDenied", describe(f.cam), describe(f.noChannel), describe(nil), nil},
		{"UpdateMediaStorageConfiguration", "AccessDenied", update(f.cam, f.archive), update(f.cam, f.noStream), update(f.cam, nil), map[string]on{
			"NoDataRetention": {f.normal, update(f.other, f.live)}, "ResourceInUse": {f.normal, update(f.cam, f.second)}}},
		{"DescribeMappedResourceConfiguration", "AccessDenied", mapped(f.archive, 1), mapped(f.noStream, 1), mapped(f.archive, 2), nil},
	}
}

func (f *fixture) streams() []operation {
	_, many := fiftyOneTags()
	create := func(name string, tags map[string]string) call {
		return via((*kv.Client).CreateStream, kv.CreateStreamInput{StreamName: &name, Tags: tags})
	}
	describe := func(arn *string) call {
		return via((*kv.Client).DescribeStream, kv.DescribeStreamInput{StreamARN: arn})
	}
	list := func(max int32) call {
		return via((*kv.Client).ListStreams, kv.ListStreamsInput{MaxResults: &max})
	}
	endpoint := func(arn *string, api types.APIName) call {
		return via((*kv.Client).GetDataEndpoint, kv.GetDataEndpointInput{StreamARN: arn, APIName: api})
	}
	tier := func(arn *string) call {
		return via((*kv.Client).DescribeStreamStorageConfiguration, kv.DescribeStreamStorageConfigurationInput{StreamARN: arn})
	}
	return []operation{
		{"CreateStream", "", create("made", nil), nil, create("a/b", nil), map[string]on{
			"ResourceInUse": {f.normal, create("archive", nil)}, "TagsPerResourceExceededLimit": {f.normal, create("x", many)},
			"AccountStreamLimitExceeded": {f.slow, create("beyond", nil)}}},
		{"DescribeStream", "NotAuthorized", describe(f.archive), describe(f.noStream), describe(f.noARN), nil},
		{"ListStreams", "", list(1), nil, list(10_001), nil},
		{"GetDataEndpoint", "NotAuthorized", endpoint(f.archive, "PUT_MEDIA"), endpoint(f.noStream, "PUT_MEDIA"), endpoint(f.archive, "NONE"), nil},
		{"DescribeStreamStorageConfiguration", "AccessDenied", tier(f.archive), tier(f.noStream), tier(f.noARN), nil},
	}
}

func (f *fixture) streamChanges() []operation {
	update := func(arn, version *string) call {
		return via((*kv.Client).UpdateStream, kv.UpdateStreamInput{StreamARN: arn, CurrentVersion: version, DeviceName: sdkaws.String("roof")})
	}
	retain := func(arn, version *string) call {
		return via((*kv.Client).UpdateDataRetention, kv.UpdateDataRetentionInput{
			StreamARN: arn, CurrentVersion: version, Operation: "INCREASE_DATA_RETENTION", DataRetentionChangeInHours: sdkaws.Int32(1)})
	}
	tier := func(arn, version *string) call {
		return via((*kv.Client).UpdateStreamStorageConfiguration, kv.UpdateStreamStorageConfigurationInput{
			StreamARN: arn, CurrentVersion: version, StreamStorageConfiguration: &types.StreamStorageConfiguration{DefaultStorageTier: "WARM"}})
	}
	remove := func(arn, version *string) call {
		return via((*kv.Client).DeleteStream, kv.DeleteStreamInput{StreamARN: arn, CurrentVersion: version})
	}
	var all []operation
	for _, o := range []struct {
		name, denied string
		made         func(arn, version *string) call
	}{
		{"UpdateStream", "NotAuthorized", update}, {"UpdateDataRetention", "NotAuthorized", retain},
		{"UpdateStreamStorageConfiguration", "AccessDenied", tier}, {"DeleteStream", "NotAuthorized", remove},
	} {
		ok := f.version(func(version *string) call { return o.made(f.second, version) })
		all = append(all, operation{o.name, o.denied, ok, o.made(f.noStream, f.old), o.made(f.noARN, f.old), map[string]on{
			"ResourceInUse": {f.slow, o.made(f.slowStream, f.old)}, "VersionMismatch": {f.normal, o.made(f.second, f.old)}}})
	}
	return all
}

func (f *fixture) deletion() []operation {
	remove := func(arn, version *string) call {
		return via((*kv.Client).DeleteSignalingChannel, kv.DeleteSignalingChannelInput{ChannelARN: arn, CurrentVersion: version})
	}
	return []operation{{"DeleteSignalingChannel", "AccessDenied", remove(f.cam, nil), remove(f.noChannel, nil), remove(f.noARN, nil), map[string]on{
		"ResourceInUse": {f.slow, remove(f.slowChannel, nil)}, "VersionMismatch": {f.normal, remove(f.cam, f.old)}}}}
}

// Every operation of the control plane through the official Go SDK: its success, and each error that is
// documented for it.
func TestGoSDKConformance(t *testing.T) {
	const nothing = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"kinesisvideo:*","Resource":"*"}]}`
	key := keyEntry{"DENIED", "denied-secret", json.RawMessage(nothing)}
	normal := start(t, Config{Dir: dirWith(t, key), Limits: Limits{RequestRates: 100}})
	limited, denied := start(t, Config{Limits: Limits{RequestRates: 0.001}}), normal.as(key.credentials())
	f := newFixture(t, normal)
	seen := map[string]string{}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	rows, passed := 0, 0
	for _, o := range slices.Concat(f.channels(), f.tags(), f.storage(), f.streams(), f.streamChanges(), f.deletion()) {
		for _, r := range o.rows(normal, denied, limited) {
			err, mark := r.call(r.rig), "FAILED"
			if rows++; r.want == "" && err == nil || r.want != "" && refusedAs(err, r.want) && status(err) == r.status() {
				mark = "ok"
				passed++
			} else {
				t.Errorf("%s: %v, want %q and %d", o.name, err, r.want, r.status())
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", o.name, r.want, r.status(), mark)
		}
		seen[o.name] = o.errors()
	}
	_ = w.Flush()
	t.Logf("%d rows, %d passed\n%s", rows, passed, table.String())
	if !maps.Equal(seen, documented) {
		t.Errorf("the rows are about\n%v, want\n%v", seen, documented)
	}
}

type conformanceRow struct {
	on
	want string // an exception; empty: success
}

// status is the HTTP status of the outcome (kvs-protocol.md 1.5).
func (r conformanceRow) status() int {
	switch r.want {
	case "":
		return 200
	case "ResourceNotFoundException":
		return 404
	case "AccessDeniedException", "NotAuthorizedException":
		return 401
	}
	return 400
}

// rows lists what is to be tried, what succeeds last.
func (o operation) rows(normal, denied, limited *rig) (all []conformanceRow) {
	twice := func(r *rig) error {
		_ = o.ok(r)
		return o.ok(r)
	}
	add := func(r *rig, c call, want string) { all = append(all, conformanceRow{on{r, c}, want}) }
	add(normal, o.invalid, "InvalidArgumentException")
	add(limited, twice, "ClientLimitExceededException")
	if o.denied != "" {
		add(denied, o.ok, o.denied+"Exception")
	}
	if o.absent != nil {
		add(normal, o.absent, "ResourceNotFoundException")
	}
	for _, want := range slices.Sorted(maps.Keys(o.others)) {
		add(o.others[want].rig, o.others[want].call, want+"Exception")
	}
	add(normal, o.ok, "")
	return all
}

// errors names the errors of the rows as documented does.
func (o operation) errors() string {
	names := slices.Collect(maps.Keys(o.others))
	if o.denied != "" {
		names = append(names, o.denied)
	}
	if o.absent != nil {
		names = append(names, "ResourceNotFound")
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
