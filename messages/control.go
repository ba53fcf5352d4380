package messages

import "time"

// Refused is the answer to a request that the service turns down. Type is the name of AWS's
// exception (kvs-protocol.md 1.5); the door knows its HTTP status.
//
// Path: relay -> ingest
type Refused struct {
	Type    string
	Message string
}

// Error returns the refusal as one line.
func (r *Refused) Error() string { return r.Type + ": " + r.Message }

// CreateChannel makes a signaling channel; it is answered with a ChannelInfo.
//
// Path: api -> registry
type CreateChannel struct {
	Name       string
	MessageTTL time.Duration // zero: 60 s
	Tags       map[string]string
}

// DescribeChannel asks for a channel by its ARN or, when that is empty, by its name; it is
// answered with a ChannelInfo.
//
// Path: api -> registry
type DescribeChannel struct {
	ARN  string
	Name string
}

// ChannelInfo is what the control plane tells of a channel.
type ChannelInfo struct {
	ID         string // unique over all channels that ever were; safe in subjects and actor names
	ARN        string
	Name       string
	Status     string
	Type       string
	Version    string
	Created    time.Time
	MessageTTL time.Duration
}

// ListChannels asks for a page of channels in the order of their names; it is answered with a ChannelPage.
//
// Path: api -> registry
type ListChannels struct {
	Prefix string // only names that begin with it
	After  string // only names behind it
	Max    int
}

// ChannelPage is the answer to ListChannels.
type ChannelPage struct {
	Channels []ChannelInfo
	More     bool // there are further names behind the last one
}

// DeleteChannel removes a channel; it is answered with a ChannelDeleted.
//
// Path: api -> registry
type DeleteChannel struct {
	ARN     string
	Version string // empty: whatever the version is
}

// ChannelDeleted is the answer to DeleteChannel. The backplane evicts those who were connected.
type ChannelDeleted struct{}

// TurnWanted asks for TURN credentials on a channel, named by its ARN or, when that is empty, by its
// name; it is answered with TurnServers.
//
// Path: api -> registry -> relay
// Path: start -> service -> relay
// Path: ingest -> relay
type TurnWanted struct {
	ChannelARN  string
	ChannelName string
	ClientID    string
	DualStack   bool // asked at a dual-stack host (kvs-protocol.md 1.1)
}

// TurnServers is the answer to TurnWanted. STUN needs no credentials and stands apart, because
// AWS does not list it (kvs-protocol.md 2.1).
//
// Path: relay -> ingest
type TurnServers struct {
	Turn    []IceServer // as AWS lists them
	Direct  IceServer   // every URL of the relay, by address; without URLs when it is off
	StunURL string
	TTL     time.Duration
}

// OverviewWanted asks for all channels with who is connected; it is answered with an Overview.
//
// Path: api -> registry
// Path: admin -> registry
type OverviewWanted struct{}

// Overview is the answer to OverviewWanted.
type Overview struct {
	Channels []ChannelState `json:"channels"`
}

// ChannelState is one channel of an Overview.
type ChannelState struct {
	Name       string  `json:"name"`
	ARN        string  `json:"arn"`
	Status     string  `json:"status"`
	CreatedS   float64 `json:"created_s"` // seconds since the epoch
	Master     bool    `json:"master"`
	Viewers    int     `json:"viewers"`
	ViewersMax int     `json:"viewers_max"`
}
