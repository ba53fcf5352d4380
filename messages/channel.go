package messages

// ConnectWanted asks for a place on a channel, before the socket is accepted. It is answered by
// the connection with Admitted, or with Refused.
//
// Path: api -> registry
type ConnectWanted struct {
	ChannelARN string
	ClientID   string // empty: the master
}

// WhepWanted asks for a WHEP session on a channel. It is answered by the session with WhepAnswered,
// or with Refused.
//
// Path: api -> registry
type WhepWanted struct {
	ChannelName string
	SDP         string // the player's offer, made fit for a device that answers once
}

// Admit asks the channel for a new connection. The sender of the message is the one at the door,
// so that the connection can answer to it.
//
// Path: registry -> service -> channel
type Admit struct {
	Channel    ChannelInfo
	ClientID   string // empty: the master
	Connection string // random; names the connection's actor and its seat
	WhepSDP    string // not empty: a WHEP session with this offer
	AlexaOffer string // not empty: an Alexa device's offer, base64
}

// ChannelEmpty says that the channel has no connection left. Admits counts what it was asked for so
// far: when the service asked for more, a connection is on its way and the channel stays.
//
// Path: channel -> service
type ChannelEmpty struct {
	ID     string
	Admits uint64
}
