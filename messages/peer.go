package messages

import "time"

// PeerCandidate is a local ICE candidate that was gathered after the answer, or the offer, was written.
//
// Path: peer -> viewer
// Path: peer -> ingest
type PeerCandidate struct {
	Candidate Candidate
}

// PeerPhase reports a setup phase that the peer connection has passed.
//
// Path: peer -> viewer
type PeerPhase struct {
	Name string
	Took time.Duration
}

// PeerConnected says that DTLS is done: media and data can flow.
//
// Path: peer -> viewer
// Path: peer -> ingest
type PeerConnected struct {
	Pair string // candidate types, local first: "host/host", "relay/srflx"
}

// PeerResumed says that media can flow again after ICE has restarted (Engine.Renew).
//
// Path: peer -> viewer
type PeerResumed struct {
	Pair string // as in PeerConnected
}

// PeerGone says that the peer connection failed or was closed by the other side.
//
// Path: peer -> viewer
// Path: peer -> ingest
type PeerGone struct {
	Reason string
}

// PeerData is one message from the viewer's data channel.
//
// Path: peer -> viewer
type PeerData struct {
	Channel string // label of the data channel, to answer on
	Text    bool
	Data    []byte

	Oversized bool // the message was larger than what is taken; Data is empty
}

// PeerKeyFrameWish is a PLI or FIR from the viewer.
//
// Path: peer -> viewer
// Path: peer -> ingest
type PeerKeyFrameWish struct{}

// PeerTookOver says that this master's peer has taken the place of the one before, without a gap.
//
// Path: peer -> ingest
type PeerTookOver struct{}
