package messages

import "time"

// Track tells the two media of a stream apart.
type Track uint8

// The tracks of a stream.
const (
	Video Track = iota
	Audio
)

// String returns the W3C kind of the track.
func (t Track) String() string {
	if t == Audio {
		return "audio"
	}
	return "video"
}

// Codec is the RTP encoding name of a track, as in an SDP rtpmap.
type Codec string

// The codecs the engine forwards.
const (
	H264 Codec = "H264"
	H265 Codec = "H265"
	Opus Codec = "opus"
	PCMU Codec = "PCMU" // G.711, mu-law
	PCMA Codec = "PCMA" // G.711, A-law
)

// Track tells whether the codec is one of pictures or of sound.
func (c Codec) Track() Track {
	switch c {
	case Opus, PCMU, PCMA:
		return Audio
	}
	return Video
}

// AccessUnit is one encoded picture or one audio packet, as a source delivers it.
// Data is never written after the unit was sent: every viewer shares it.
//
// Path: source -> encoder -> fanout
type AccessUnit struct {
	Track    Track
	Seq      uint64 // counts the units of a track that the encoder has passed on, from 0
	Codec    Codec
	Data     []byte        // video: Annex-B with start codes; audio: one Opus packet, or samples of G.711
	KeyFrame bool          // video: decodable without earlier pictures, parameter sets included
	Spare    bool          // video: no other picture refers to it
	PTS      time.Duration // media time since the source began; never goes back within a track
	Duration time.Duration // time until the next unit of the track
	Captured time.Time     // when the picture was taken, on this machine's clock
}

// FrameLane marks what travels in a mailbox's frame lane.
func (*AccessUnit) FrameLane() {}

// Frame is an access unit packetised once for every viewer that negotiated its format.
//
// Path: fanout -> viewer
type Frame struct {
	Unit     *AccessUnit
	Seq      uint64   // counts the frames of a track; a gap means that frames were lost on the way
	Payloads [][]byte // RTP payloads in order; the last one ends the picture
}

// FrameLane marks what travels in a mailbox's frame lane.
func (*Frame) FrameLane() {}

// CatchUp gives a viewer that just subscribed the frames of the current group of pictures, so that
// it starts on a key frame at once. Frames is empty when there is none to give.
//
// Path: fanout -> viewer
type CatchUp struct {
	Frames []*Frame
}

// Subscribe asks for every frame from now on; the sender of the message is the subscriber. A second
// one from the same viewer asks for the catch-up again. The end of the viewer ends it.
//
// Path: viewer -> fanout
type Subscribe struct{}

// RollCall asks every viewer that streams to subscribe again: the fan-out has just started.
//
// Path: fanout -> viewers -> viewer
// Path: fanout -> storage -> viewer
type RollCall struct{}

// KeyFrameWish asks the source for a key frame; wishes of many viewers are merged into one.
//
// Path: viewer -> encoder
// Path: fanout -> encoder
type KeyFrameWish struct{}

// ViewerEstimate says what the path to a viewer carries; a viewer sends it at least once a second.
//
// Path: viewer -> encoder
type ViewerEstimate struct {
	ClientID string
	Epoch    uint64
	Bps      int  // sound included
	Limited  bool // the path has shown a limit
}

// Watched says how many viewers subscribe; the source may rest while there are none.
//
// Path: fanout -> encoder
type Watched struct{ Viewers int }

// WatchedWanted asks how many viewers subscribe: the encoder has just started.
//
// Path: encoder -> fanout
type WatchedWanted struct{}

// SourceRests says that no picture comes until somebody watches again.
//
// Path: encoder -> fanout
type SourceRests struct{}
