package api

// The signed operations on what channels and streams share: tags, and where a channel's media is
// stored (kvs-protocol.md 1.4).

import (
	"net/http"
	"unicode/utf8"

	"github.com/heliograph-rtc/heliograph/messages"
)

func (d *doors) resourceOperations() map[string]http.Handler {
	return map[string]http.Handler{
		"/TagResource":                         signed(d, d.tagResource),
		"/UntagResource":                       signed(d, d.untagResource),
		"/ListTagsForResource":                 signed(d, d.listTagsForResource),
		"/describeMediaStorageConfiguration":   signed(d, d.describeMediaStorage),
		"/updateMediaStorageConfiguration":     signed(d, d.updateMediaStorage),
		"/describeMappedResourceConfiguration": signed(d, d.describeMappedResource),
	}
}

// Tags.

type tag struct{ Key, Value string }

// checkTags holds a set of tags against the published patterns; each key counts once.
func checkTags(tags map[string]string) error {
	if len(tags) > tagsMax {
		return &messages.Refused{Type: "TagsPerResourceExceededLimitException", Message: "A resource has at most 50 tags"}
	}
	for key, value := range tags {
		if err := checkTagKey(key); err != nil {
			return err
		}
		if utf8.RuneCountInString(value) > tagValueCharsMax || !tagPattern.MatchString(value) {
			return invalid("Tag value must have at most %d characters of %s", tagValueCharsMax, tagPattern)
		}
	}
	return nil
}

func checkTagKey(key string) error {
	if n := utf8.RuneCountInString(key); n < 1 || n > tagKeyCharsMax || !tagPattern.MatchString(key) {
		return invalid("Tag key must have 1 to %d characters of %s", tagKeyCharsMax, tagPattern)
	}
	return nil
}

func checkTagKeys(keys []string) error {
	if len(keys) < 1 || len(keys) > tagsMax {
		return invalid("TagKeyList must have 1 to %d items", tagsMax)
	}
	for _, key := range keys {
		if err := checkTagKey(key); err != nil {
			return err
		}
	}
	return nil
}

func tagMap(list []tag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, t := range list {
		tags[t.Key] = t.Value
	}
	return tags
}

// noToken refuses a token where everything fits on one page: none was ever given out.
func noToken(token string) error {
	if token != "" {
		return invalid("NextToken is none that this operation gave out")
	}
	return nil
}

type tagInput struct {
	ResourceARN string
	Tags        []tag
}

func (in *tagInput) validate() error {
	if err := checkText("ResourceARN", in.ResourceARN, arnCharsMax, arnPattern); err != nil {
		return err
	}
	if len(in.Tags) < 1 {
		return invalid("Tags must have 1 to %d items", tagsMax)
	}
	return checkTags(tagMap(in.Tags))
}

func (d *doors) tagResource(r *http.Request, in *tagInput) (any, error) {
	m := &messages.ChangeTags{Set: tagMap(in.Tags)}
	m.ARN = in.ResourceARN
	return struct{}{}, d.Backend.ChangeTags(r.Context(), m)
}

type untagInput struct {
	ResourceARN string
	TagKeyList  []string
}

func (in *untagInput) validate() error {
	return first(checkText("ResourceARN", in.ResourceARN, arnCharsMax, arnPattern), checkTagKeys(in.TagKeyList))
}

func (d *doors) untagResource(r *http.Request, in *untagInput) (any, error) {
	m := &messages.ChangeTags{Remove: in.TagKeyList}
	m.ARN = in.ResourceARN
	return struct{}{}, d.Backend.ChangeTags(r.Context(), m)
}

type listTagsInput struct {
	NextToken   string
	ResourceARN string
}

func (in *listTagsInput) validate() error {
	return first(checkText("ResourceARN", in.ResourceARN, arnCharsMax, arnPattern), noToken(in.NextToken))
}

func (d *doors) listTagsForResource(r *http.Request, in *listTagsInput) (any, error) {
	return d.listTags(r, messages.ResourceName{ARN: in.ResourceARN})
}

func (d *doors) listTags(r *http.Request, of messages.ResourceName) (any, error) {
	tags, err := d.Backend.Tags(r.Context(), &messages.TagsWanted{ResourceName: of})
	if err != nil {
		return nil, err
	}
	out := struct{ Tags map[string]string }{tags.Tags}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	return out, nil
}

// Media storage.

// storageWire is MediaStorageConfiguration; StreamARN is absent when a channel was never mapped.
type storageWire struct {
	Status    string
	StreamARN string `json:",omitempty"`
}

func (d *doors) describeMediaStorage(r *http.Request, in *describeInput) (any, error) {
	m := &messages.StorageWanted{ResourceName: messages.ResourceName{ARN: in.ChannelARN, Name: in.ChannelName}}
	storage, err := d.Backend.Storage(r.Context(), m)
	if err != nil {
		return nil, err
	}
	out := storageWire{"DISABLED", storage.StreamARN}
	if storage.Enabled {
		out.Status = "ENABLED"
	}
	return struct{ MediaStorageConfiguration storageWire }{out}, nil
}

type updateStorageInput struct {
	ChannelARN                string
	MediaStorageConfiguration *storageWire
}

func (in *updateStorageInput) validate() error {
	if err := checkARN(in.ChannelARN); err != nil {
		return err
	}
	c := in.MediaStorageConfiguration
	switch {
	case c == nil:
		return invalid("MediaStorageConfiguration is missing")
	case c.Status != "ENABLED" && c.Status != "DISABLED":
		return invalid("Status must be ENABLED or DISABLED")
	case c.Status == "ENABLED" || c.StreamARN != "":
		return checkText("StreamARN", c.StreamARN, arnCharsMax, arnPattern)
	}
	return nil
}

func (d *doors) updateMediaStorage(r *http.Request, in *updateStorageInput) (any, error) {
	c := in.MediaStorageConfiguration
	return struct{}{}, d.Backend.ChangeStorage(r.Context(), &messages.ChangeStorage{
		ChannelARN: in.ChannelARN, Storage: messages.Storage{Enabled: c.Status == "ENABLED", StreamARN: c.StreamARN},
	})
}

type mappedInput struct {
	MaxResults *int
	NextToken  string
	streamName
}

func (in *mappedInput) validate() error {
	if in.MaxResults != nil && *in.MaxResults != 1 {
		return invalid("MaxResults must be 1")
	}
	return first(in.streamName.validate(), noToken(in.NextToken))
}

// mappedResource is an item of MappedResourceConfigurationList. AWS does not publish the values of Type.
type mappedResource struct{ ARN, Type string }

func (d *doors) describeMappedResource(r *http.Request, in *mappedInput) (any, error) {
	mapping, err := d.Backend.Mapping(r.Context(), &messages.MappingWanted{ResourceName: in.name()})
	if err != nil {
		return nil, err
	}
	list := []mappedResource{}
	if mapping.ChannelARN != "" {
		list = append(list, mappedResource{mapping.ChannelARN, "SIGNALING_CHANNEL"})
	}
	return struct{ MappedResourceConfigurationList []mappedResource }{list}, nil
}
