package messages

// PeerSound is one Opus packet of the viewer's microphone, in the order in which it came.
//
// Path: peer -> viewer
type PeerSound struct{ Sound }

// Sound is one Opus packet as RTP brought it (RFC 7587). Data is never written after it was sent.
type Sound struct {
	Sequence  uint16
	Timestamp uint32 // of the clock of 48 kHz
	Data      []byte
}

// Spoken is a viewer's sound on its way to the sink.
//
// Path: viewer -> sink
type Spoken struct {
	ClientID string
	Epoch    uint64
	Sound    Sound
}
