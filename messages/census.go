package messages

import "time"

// ViewerStatus is what a viewer tells of itself, on every change of state and once a second.
//
// Path: viewer -> viewers
// Path: viewer -> storage
type ViewerStatus struct {
	ClientID       string             `json:"client_id"`
	Epoch          uint64             `json:"epoch"`
	State          string             `json:"state"`
	Since          time.Time          `json:"since"`
	Pair           string             `json:"pair,omitempty"`
	VideoFrames    uint64             `json:"video_frames"`
	AudioFrames    uint64             `json:"audio_frames"`
	PacketsSent    uint64             `json:"packets_sent"`
	BytesSent      uint64             `json:"bytes_sent"`
	BitrateBps     uint64             `json:"bitrate_bps"`
	FramesDropped  uint64             `json:"frames_dropped"`
	FramesShed     uint64             `json:"frames_shed"`     // of the dropped: for want of bandwidth
	EstimateBps    int                `json:"estimate_bps"`    // what the path carries; 0: not known
	Limited        bool               `json:"limited"`         // the path has shown a limit
	Loss           float64            `json:"loss"`            // share of the packets
	RoundTrip      float64            `json:"round_trip_s"`    // 0: not known
	PacketsResent  uint64             `json:"packets_resent"`  // on the viewer's NACKs
	ResendsRefused uint64             `json:"resends_refused"` // asked for too late, or too often
	AudioReceived  uint64             `json:"audio_packets_received"`
	DataReceived   uint64             `json:"data_messages_received"`
	KeyFrameWishes uint64             `json:"key_frame_wishes"`
	IceRestarts    uint64             `json:"ice_restarts"`
	Phases         map[string]float64 `json:"phases_s"`
}

// CensusWanted asks for everybody who is connected; it is answered with a Census.
//
// Path: admin -> viewers
type CensusWanted struct{}

// Census is the answer to CensusWanted.
type Census struct {
	Limit   int            `json:"viewers_max"`
	Refused uint64         `json:"viewers_refused"`
	Viewers []ViewerStatus `json:"viewers"`
}

// SessionStatusWanted asks how the signaling session is; it is answered with a SessionStatus.
//
// Path: admin -> session
type SessionStatusWanted struct{}

// SessionStatus is the answer to SessionStatusWanted.
type SessionStatus struct {
	State      string    `json:"state"`
	Since      time.Time `json:"since"`
	Channel    string    `json:"channel"`
	ChannelARN string    `json:"channel_arn,omitempty"`
	Reconnects uint64    `json:"reconnects"`
	LastError  string    `json:"last_error,omitempty"`

	Failures map[string]uint64 `json:"failures,omitempty"` // by class: dns, refused, tls, credentials, ...

	Replaced          uint64  `json:"sockets_replaced"` // before the old one was given up
	ClockOffset       float64 `json:"clock_offset_s"`   // the service's clock less this machine's
	AnswersSent       uint64  `json:"answers_sent"`
	CandidatesSent    uint64  `json:"candidates_sent"`
	CandidatesDropped uint64  `json:"candidates_dropped"`
	MessagesBad       uint64  `json:"messages_bad"`
}
