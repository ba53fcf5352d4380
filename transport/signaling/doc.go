// Package signaling speaks the KVS signaling protocol: the JSON messages in both directions
// (codec.go), what they carry (payload.go), and the WebSocket that brings them (dial.go, client.go).
//
// The codec serves both ends: a client encodes Outbound and decodes Inbound, a service the other
// way round. What it refuses it refuses with a *FormatError. Nothing here logs, and no error text
// holds an SDP, a candidate or a signed address.
package signaling

// Role is a side of a channel: one master, up to ten viewers.
type Role string

// The roles.
const (
	Master Role = "MASTER"
	Viewer Role = "VIEWER"
)

// The kinds of messages (kvs-protocol.md 3.4, 3.5). The first three are actions of a client; a
// client receives all of them.
const (
	SDPOffer           = "SDP_OFFER"
	SDPAnswer          = "SDP_ANSWER"
	ICECandidate       = "ICE_CANDIDATE"
	GoAway             = "GO_AWAY"
	ReconnectICEServer = "RECONNECT_ICE_SERVER"
	StatusResponse     = "STATUS_RESPONSE"
)

// The bounds of the protocol.
const (
	PayloadCharsMax     = 10_000 // base64 characters of a payload that is sent; AWS's quota "10k"
	MessageBytesMax     = 25_000 // one whole message that is received, in either direction
	ClientIDCharsMax    = 256    // client ids and correlation ids
	DescriptionBytesMax = 1_024  // description of a status
)
