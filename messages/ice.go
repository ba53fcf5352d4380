package messages

import (
	"net/netip"
	"time"
)

// ChannelReady tells the gatherer which channel to ask ICE servers for.
//
// Path: session -> gatherer
type ChannelReady struct {
	ChannelARN    string
	Region        string
	HTTPSEndpoint string // base URL of the channel's signaling REST endpoint
}

// IceServer is one RTCIceServer.
type IceServer struct {
	URLs     []string
	Username string
	Password string
}

// IceServers is the current configuration. A failed fetch is published too, with Err set and the
// STUN servers alone, so that nobody waits for ever.
//
// Path: gatherer -> session
// Path: gatherer -> viewers
type IceServers struct {
	Servers []IceServer
	Expires time.Time
	Took    time.Duration // setup phase get_ice_servers
	Err     error
}

// ReflexiveAddresses tell how the sockets that all viewers share are seen from outside (RFC 8445
// 5.1.1.2), so that a viewer's answer can hold those candidates at once. None: not known.
//
// Path: gatherer -> viewers
type ReflexiveAddresses struct {
	Addresses []ReflexiveAddress
	Took      time.Duration // setup phase gather_srflx
}

// ReflexiveAddress is one socket's address and what a STUN server sees in its place.
type ReflexiveAddress struct{ Local, Mapped netip.AddrPort }

// IceServersWanted asks for the current configuration; the sender gets it when there is one.
//
// Path: viewers -> gatherer
// Path: session -> gatherer
type IceServersWanted struct {
	Refresh bool // fetch anew (RECONNECT_ICE_SERVER)
}

// Candidate is an RTCIceCandidateInit.
type Candidate struct {
	Candidate        string  `json:"candidate"`
	SDPMid           *string `json:"sdpMid,omitempty"`
	SDPMLineIndex    *uint16 `json:"sdpMLineIndex,omitempty"`
	UsernameFragment *string `json:"usernameFragment,omitempty"`
}

// NetworkChanged tells that the machine has other addresses than before.
//
// Path: gatherer -> session
type NetworkChanged struct{ Addresses []netip.Addr }
