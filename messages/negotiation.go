package messages

import "time"

// Offer is a viewer's SDP offer.
//
// Path: session -> viewers -> viewer
// Path: session -> storage -> viewer
type Offer struct {
	ClientID string
	SDP      string
	Received time.Time // start of the phase first_frame
	Setup    Phases    // the phases that the session went through
}

// RemoteCandidate is an ICE candidate of a viewer. It may come before the offer.
//
// Path: session -> viewers -> viewer
// Path: session -> storage -> viewer
type RemoteCandidate struct {
	ClientID  string
	Candidate Candidate
}

// Answer is the device's SDP answer to a viewer's offer. viewers itself sends the one that rejects all.
//
// Path: viewer -> session
// Path: viewers -> session
type Answer struct {
	ClientID string
	SDP      string
}

// LocalCandidate is an ICE candidate of the device that did not travel in the answer.
//
// Path: viewer -> session
type LocalCandidate struct {
	ClientID  string
	Candidate Candidate
}
