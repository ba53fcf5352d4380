package messages

// JoinStorageWanted asks for a storage session's offer to the master or to a viewer of a channel
// (kvs-protocol.md 4.2). It is answered by the session with StorageJoined, or with Refused.
//
// Path: api -> registry
type JoinStorageWanted struct {
	ChannelARN string
	ClientID   string // empty: the master
}

// StorageJoin admits a participant to the storage session of a channel. The sender of the message is
// the one at the door, so that the session can answer to it; nobody, when it came from another node.
//
// Path: registry -> service -> ingest
type StorageJoin struct {
	Channel        ChannelInfo
	StreamARN      string
	RetentionHours int    // of the stream
	ClientID       string // empty: the master
}

// StorageJoined is the answer to StorageJoin: an offer is on its way to the participant's websocket.
type StorageJoined struct{}

// IngestEmpty says that the storage session has no participant left. Joins counts what it was asked
// for so far: when the service asked for more, a participant is on its way and the session stays.
//
// Path: ingest -> service
type IngestEmpty struct {
	ID    string // of the channel
	Joins uint64
}

// IngestStatus is what a storage session tells of itself once a second.
//
// Path: ingest -> service
type IngestStatus struct {
	ID           string              `json:"-"` // of the channel
	Channel      string              `json:"channel"`
	Stream       string              `json:"stream_arn"`
	Participants []IngestParticipant `json:"participants"`
}

// IngestParticipant is one end of a storage session.
type IngestParticipant struct {
	ClientID string       `json:"client_id,omitempty"` // none: the master
	State    string       `json:"state"`
	Pair     string       `json:"pair,omitempty"`
	Seconds  float64      `json:"seconds"` // since it joined
	Video    *IngestTrack `json:"video,omitempty"`
	Audio    *IngestTrack `json:"audio,omitempty"`
}

// IngestTrack is what came in on one of the master's tracks.
type IngestTrack struct {
	Packets uint64 `json:"packets"`
	Frames  uint64 `json:"frames"`
	Bytes   uint64 `json:"bytes"`
}

// IngestsWanted asks for the storage sessions of this node; it is answered with Ingests.
//
// Path: admin -> service
type IngestsWanted struct{}

// Ingests is the answer to IngestsWanted.
type Ingests struct {
	Sessions []IngestStatus
}
