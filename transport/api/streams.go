package api

// The signed operations on streams that storage needs (kvs-protocol.md 1.4).

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	streamTextCharsMax = 128
	kmsKeyCharsMax     = 2048
	retentionMaxHours  = 87_600
)

var (
	mediaTypePattern = regexp.MustCompile(`^[\w\-\.\+]+/[\w\-\.\+]+(,[\w\-\.\+]+/[\w\-\.\+]+)*$`)
	anyTextPattern   = regexp.MustCompile(`^.+$`)
)

var dataAPIs = []string{
	"PUT_MEDIA", "GET_MEDIA", "LIST_FRAGMENTS", "GET_MEDIA_FOR_FRAGMENT_LIST", "GET_HLS_STREAMING_SESSION_URL",
	"GET_DASH_STREAMING_SESSION_URL", "GET_CLIP", "GET_IMAGES",
}

func (d *doors) streamOperations() map[string]http.Handler {
	return map[string]http.Handler{
		"/createStream":                       signed(d, d.createStream),
		"/describeStream":                     signed(d, d.describeStream),
		"/listStreams":                        signed(d, d.listStreams),
		"/updateStream":                       signed(d, d.updateStream),
		"/deleteStream":                       signed(d, d.deleteStream),
		"/getDataEndpoint":                    signed(d, d.dataEndpoint),
		"/updateDataRetention":                signed(d, d.updateDataRetention),
		"/tagStream":                          signed(d, d.tagStream),
		"/untagStream":                        signed(d, d.untagStream),
		"/listTagsForStream":                  signed(d, d.listTagsForStream),
		"/describeStreamStorageConfiguration": signed(d, d.describeStreamStorage),
		"/updateStreamStorageConfiguration":   signed(d, d.updateStreamStorage),
	}
}

// streamName is how most operations name a stream.
type streamName struct {
	StreamARN  string
	StreamName string
}

func (in *streamName) validate() error {
	if (in.StreamARN == "") == (in.StreamName == "") {
		return invalid("Either StreamName or StreamARN must be given")
	}
	if in.StreamARN != "" {
		return checkText("StreamARN", in.StreamARN, arnCharsMax, arnPattern)
	}
	return checkText("StreamName", in.StreamName, channelNameCharsMax, channelNamePattern)
}

// validateFormat is validate with the error of the operations on tags for a malformed ARN.
func (in *streamName) validateFormat() error {
	if in.StreamARN != "" && in.StreamName == "" && in.validate() != nil {
		return &messages.Refused{Type: "InvalidResourceFormatException", Message: "The format of the StreamARN is invalid"}
	}
	return in.validate()
}

func (in *streamName) name() messages.ResourceName {
	return messages.ResourceName{ARN: in.StreamARN, Name: in.StreamName}
}

// optional checks a member that may be left out.
func optional(member, value string, charsMax int, pattern *regexp.Regexp) error {
	if value == "" {
		return nil
	}
	return checkText(member, value, charsMax, pattern)
}

func checkVersion(value string) error {
	return checkText("CurrentVersion", value, versionCharsMax, versionPattern)
}

type tierWire struct{ DefaultStorageTier string }

func (t *tierWire) validate() error {
	if t.DefaultStorageTier != "HOT" && t.DefaultStorageTier != "WARM" {
		return invalid("DefaultStorageTier must be HOT or WARM")
	}
	return nil
}

type createStreamInput struct {
	DataRetentionInHours       int
	DeviceName                 string
	KmsKeyId                   string
	MediaType                  string
	StreamName                 string
	StreamStorageConfiguration *tierWire
	Tags                       map[string]string
}

func (in *createStreamInput) validate() error {
	if in.DataRetentionInHours < 0 || in.DataRetentionInHours > retentionMaxHours {
		return invalid("DataRetentionInHours must lie between 0 and %d", retentionMaxHours)
	}
	if t := in.StreamStorageConfiguration; t != nil {
		if err := t.validate(); err != nil {
			return err
		}
	}
	return first(
		checkText("StreamName", in.StreamName, channelNameCharsMax, channelNamePattern),
		optional("DeviceName", in.DeviceName, streamTextCharsMax, channelNamePattern),
		optional("MediaType", in.MediaType, streamTextCharsMax, mediaTypePattern),
		optional("KmsKeyId", in.KmsKeyId, kmsKeyCharsMax, anyTextPattern),
		checkTags(in.Tags),
	)
}

func (d *doors) createStream(r *http.Request, in *createStreamInput) (any, error) {
	m := &messages.CreateStream{
		Name: in.StreamName, Device: in.DeviceName, MediaType: in.MediaType, KmsKeyID: in.KmsKeyId,
		RetentionHours: in.DataRetentionInHours, Tags: in.Tags,
	}
	if t := in.StreamStorageConfiguration; t != nil {
		m.Tier = t.DefaultStorageTier
	}
	info, err := d.Backend.CreateStream(r.Context(), m)
	if err != nil {
		return nil, err
	}
	return struct{ StreamARN string }{info.ARN}, nil
}

// streamInfo is StreamInfo on the wire.
type streamInfo struct {
	CreationTime         json.Number // epoch seconds, fractional
	DataRetentionInHours int
	DeviceName           *string
	KmsKeyId             string
	MediaType            *string
	Status               string
	StreamARN            string
	StreamName           string
	Version              string
}

func wireStream(s *messages.StreamInfo) streamInfo {
	orNull := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	return streamInfo{
		CreationTime: wireTime(s.Created), DataRetentionInHours: s.RetentionHours, DeviceName: orNull(s.Device), KmsKeyId: s.KmsKeyID,
		MediaType: orNull(s.MediaType), Status: s.Status, StreamARN: s.ARN, StreamName: s.Name, Version: s.Version,
	}
}

// wireTime is a time in epoch seconds (kvs-protocol.md 1.3).
func wireTime(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}

func (d *doors) stream(r *http.Request, of *streamName, operation string) (*messages.StreamInfo, error) {
	return d.Backend.DescribeStream(r.Context(), &messages.DescribeStream{ResourceName: of.name(), For: operation})
}

func (d *doors) describeStream(r *http.Request, in *streamName) (any, error) {
	info, err := d.stream(r, in, "DescribeStream")
	if err != nil {
		return nil, err
	}
	return struct{ StreamInfo streamInfo }{wireStream(info)}, nil
}

type listStreamsInput struct {
	MaxResults          *int
	NextToken           string
	StreamNameCondition *nameCondition
}

func (in *listStreamsInput) validate() error {
	return checkPage(in.MaxResults, in.NextToken, in.StreamNameCondition)
}

func (d *doors) listStreams(r *http.Request, in *listStreamsInput) (any, error) {
	max, prefix, after, err := pageOf(in.MaxResults, in.NextToken, in.StreamNameCondition, listMax)
	if err != nil {
		return nil, err
	}
	page, err := d.Backend.ListStreams(r.Context(), &messages.ListStreams{Prefix: prefix, After: after, Max: max})
	if err != nil {
		return nil, err
	}
	out := struct {
		NextToken      string `json:",omitempty"`
		StreamInfoList []streamInfo
	}{StreamInfoList: make([]streamInfo, 0, len(page.Streams))}
	for i := range page.Streams {
		out.StreamInfoList = append(out.StreamInfoList, wireStream(&page.Streams[i]))
	}
	if page.More {
		out.NextToken = base64.StdEncoding.EncodeToString([]byte(page.Streams[len(page.Streams)-1].Name))
	}
	return out, nil
}

type updateStreamInput struct {
	CurrentVersion string
	DeviceName     string
	MediaType      string
	streamName
}

func (in *updateStreamInput) validate() error {
	return first(
		in.streamName.validate(), checkVersion(in.CurrentVersion),
		optional("DeviceName", in.DeviceName, streamTextCharsMax, channelNamePattern),
		optional("MediaType", in.MediaType, streamTextCharsMax, mediaTypePattern),
	)
}

func (d *doors) updateStream(r *http.Request, in *updateStreamInput) (any, error) {
	return struct{}{}, d.Backend.UpdateStream(r.Context(), &messages.UpdateStream{
		ResourceName: in.name(), Version: in.CurrentVersion, Device: in.DeviceName, MediaType: in.MediaType,
	})
}

type deleteStreamInput struct {
	CurrentVersion string
	StreamARN      string
}

func (in *deleteStreamInput) validate() error {
	return first(
		checkText("StreamARN", in.StreamARN, arnCharsMax, arnPattern),
		optional("CurrentVersion", in.CurrentVersion, versionCharsMax, versionPattern),
	)
}

func (d *doors) deleteStream(r *http.Request, in *deleteStreamInput) (any, error) {
	return struct{}{}, d.Backend.DeleteStream(r.Context(), &messages.DeleteStream{ARN: in.StreamARN, Version: in.CurrentVersion})
}

type dataEndpointInput struct {
	APIName string
	streamName
}

func (in *dataEndpointInput) validate() error {
	if !slices.Contains(dataAPIs, in.APIName) {
		return invalid("APIName must be one of %v", dataAPIs)
	}
	return in.streamName.validate()
}

func (d *doors) dataEndpoint(r *http.Request, in *dataEndpointInput) (any, error) {
	if _, err := d.stream(r, &in.streamName, "GetDataEndpoint"); err != nil {
		return nil, err
	}
	host, err := d.endpointHost(r)
	if err != nil {
		return nil, err
	}
	return struct{ DataEndpoint string }{"https://" + host}, nil
}

type retentionInput struct {
	CurrentVersion             string
	DataRetentionChangeInHours int
	Operation                  string
	streamName
}

func (in *retentionInput) validate() error {
	switch {
	case in.Operation != "INCREASE_DATA_RETENTION" && in.Operation != "DECREASE_DATA_RETENTION":
		return invalid("Operation must be INCREASE_DATA_RETENTION or DECREASE_DATA_RETENTION")
	case in.DataRetentionChangeInHours < 1 || in.DataRetentionChangeInHours > retentionMaxHours:
		return invalid("DataRetentionChangeInHours must lie between 1 and %d", retentionMaxHours)
	}
	return first(in.streamName.validate(), checkVersion(in.CurrentVersion))
}

func (d *doors) updateDataRetention(r *http.Request, in *retentionInput) (any, error) {
	change := in.DataRetentionChangeInHours
	if in.Operation == "DECREASE_DATA_RETENTION" {
		change = -change
	}
	return struct{}{}, d.Backend.UpdateStream(r.Context(), &messages.UpdateStream{
		ResourceName: in.name(), Version: in.CurrentVersion, RetentionChange: change,
	})
}

type tagStreamInput struct {
	streamName
	Tags map[string]string
}

func (in *tagStreamInput) validate() error {
	if len(in.Tags) < 1 {
		return invalid("Tags must have 1 to %d items", tagsMax)
	}
	return first(in.validateFormat(), checkTags(in.Tags))
}

func (d *doors) tagStream(r *http.Request, in *tagStreamInput) (any, error) {
	return struct{}{}, d.Backend.ChangeTags(r.Context(), &messages.ChangeTags{ResourceName: in.name(), Set: in.Tags})
}

type untagStreamInput struct {
	streamName
	TagKeyList []string
}

func (in *untagStreamInput) validate() error {
	return first(in.validateFormat(), checkTagKeys(in.TagKeyList))
}

func (d *doors) untagStream(r *http.Request, in *untagStreamInput) (any, error) {
	return struct{}{}, d.Backend.ChangeTags(r.Context(), &messages.ChangeTags{ResourceName: in.name(), Remove: in.TagKeyList})
}

type listStreamTagsInput struct {
	NextToken string
	streamName
}

func (in *listStreamTagsInput) validate() error {
	return first(in.validateFormat(), noToken(in.NextToken))
}

func (d *doors) listTagsForStream(r *http.Request, in *listStreamTagsInput) (any, error) {
	return d.listTags(r, in.name())
}

func (d *doors) describeStreamStorage(r *http.Request, in *streamName) (any, error) {
	info, err := d.stream(r, in, "DescribeStreamStorageConfiguration")
	if err != nil {
		return nil, err
	}
	return struct {
		StreamARN                  string
		StreamName                 string
		StreamStorageConfiguration tierWire
	}{info.ARN, info.Name, tierWire{info.Tier}}, nil
}

type tierInput struct {
	CurrentVersion string
	streamName
	StreamStorageConfiguration *tierWire
}

func (in *tierInput) validate() error {
	if in.StreamStorageConfiguration == nil {
		return invalid("StreamStorageConfiguration is missing")
	}
	return first(in.streamName.validate(), checkVersion(in.CurrentVersion), in.StreamStorageConfiguration.validate())
}

func (d *doors) updateStreamStorage(r *http.Request, in *tierInput) (any, error) {
	return struct{}{}, d.Backend.UpdateStream(r.Context(), &messages.UpdateStream{
		ResourceName: in.name(), Version: in.CurrentVersion, Tier: in.StreamStorageConfiguration.DefaultStorageTier,
	})
}
