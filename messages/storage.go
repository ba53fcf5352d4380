package messages

import "time"

// StorageSocket says that the channel whose media is stored has an open websocket: the storage session can
// be joined.
//
// Path: session -> storage
type StorageSocket struct {
	ChannelARN    string
	StreamARN     string
	HTTPSEndpoint string
	JoinEndpoint  string // of protocol WEBRTC
	Setup         Phases // the phases that the session went through
	Fresh         bool   // there was none: the service may know nothing of an earlier join
}

// StorageSocketWanted asks for the socket there is: storage has just started.
//
// Path: storage -> session
type StorageSocketWanted struct{}

// StorageRefused says that the service could not use the answer.
//
// Path: session -> storage
type StorageRefused struct{ Reason string }

// StorageStatusWanted asks how the storage session is; it is answered with a StorageStatus.
//
// Path: admin -> storage
type StorageStatusWanted struct{}

// StorageStatus is the answer to StorageStatusWanted.
type StorageStatus struct {
	State     string         `json:"state"`
	Since     time.Time      `json:"since"`
	Channel   string         `json:"channel"`
	StreamARN string         `json:"stream_arn,omitempty"`
	Joins     uint64         `json:"joins"`
	NoOffers  uint64         `json:"joins_without_offer"`
	Rejoins   uint64         `json:"rejoins"` // in which the next peer took over from one that delivered
	Failures  int            `json:"failures_lately"`
	LastError string         `json:"last_error,omitempty"`
	Peers     []ViewerStatus `json:"peers"`
}
