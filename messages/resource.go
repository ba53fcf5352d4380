package messages

import "time"

// ResourceName names a channel or a stream: by its ARN or, when that is empty, by its name.
type ResourceName struct {
	ARN  string
	Name string
}

// ARNWanted asks for the ARN of the channel or stream that now has a name, for those who decide on
// permissions before a request counts; it is answered with a ResourceARN.
//
// Path: api -> registry
type ARNWanted struct {
	Kind string // "channel" or "stream"
	Name string
}

// ResourceARN is the answer to ARNWanted: the resource's ARN or, where there is none of that name, one
// with a creation time of zeros.
type ResourceARN struct{ ARN string }

// UpdateChannel changes a channel's configuration; it is answered with a ChannelInfo.
//
// Path: api -> registry
type UpdateChannel struct {
	ARN        string
	Version    string
	MessageTTL time.Duration // zero: as it is
}

// EndpointWanted asks whether endpoints of a channel may be given out; it is answered with a ChannelInfo.
//
// Path: api -> registry
type EndpointWanted struct {
	ARN     string
	Storage bool // that of the storage session among them
}

// ChangeTags sets and removes tags of a channel or a stream; it is answered with a Tags.
//
// Path: api -> registry
type ChangeTags struct {
	ResourceName // a name is that of a stream
	Set          map[string]string
	Remove       []string
}

// TagsWanted asks for the tags of a channel or a stream; it is answered with a Tags.
//
// Path: api -> registry
type TagsWanted struct {
	ResourceName // a name is that of a stream
}

// Tags are all tags of a resource.
type Tags struct {
	Tags map[string]string
}

// StorageWanted asks where the media of a channel is stored; it is answered with a Storage.
//
// Path: api -> registry
type StorageWanted struct {
	ResourceName
}

// ChangeStorage says where the media of a channel is to be stored; it is answered with a Storage.
//
// Path: api -> registry
type ChangeStorage struct {
	ChannelARN string
	Storage
}

// Storage is a media storage configuration.
type Storage struct {
	Enabled   bool
	StreamARN string // empty: never mapped
}

// MappingWanted asks which channel is mapped to a stream; it is answered with a Mapping.
//
// Path: api -> registry
type MappingWanted struct {
	ResourceName
}

// Mapping is the answer to MappingWanted.
type Mapping struct {
	ChannelARN string // empty: none
}

// CreateStream makes a stream; it is answered with a StreamInfo.
//
// Path: api -> registry
type CreateStream struct {
	Name           string
	Device         string
	MediaType      string
	KmsKeyID       string // empty: the service's own
	Tier           string // HOT or WARM; empty: HOT
	RetentionHours int
	Tags           map[string]string
}

// DescribeStream asks for a stream; it is answered with a StreamInfo.
//
// Path: api -> registry
type DescribeStream struct {
	ResourceName
	For string // the operation that asks, which has limits of its own
}

// StreamInfo is what the control plane tells of a stream.
type StreamInfo struct {
	ARN            string
	Name           string
	Status         string
	Version        string
	Device         string
	MediaType      string
	KmsKeyID       string
	Tier           string
	RetentionHours int
	Created        time.Time
}

// ListStreams asks for a page of streams in the order of their names; it is answered with a StreamPage.
//
// Path: api -> registry
type ListStreams struct {
	Prefix string // only names that begin with it
	After  string // only names behind it
	Max    int
}

// StreamPage is the answer to ListStreams.
type StreamPage struct {
	Streams []StreamInfo
	More    bool // there are further names behind the last one
}

// UpdateStream changes a stream; it is answered with a StreamInfo. What is empty stays as it is.
//
// Path: api -> registry
type UpdateStream struct {
	ResourceName
	Version         string
	Device          string
	MediaType       string
	Tier            string
	RetentionChange int // hours to add
}

// DeleteStream removes a stream; it is answered with a StreamDeleted.
//
// Path: api -> registry
type DeleteStream struct {
	ARN     string
	Version string // empty: whatever the version is
}

// StreamDeleted is the answer to DeleteStream.
type StreamDeleted struct{}
