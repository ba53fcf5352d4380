package messages

// AlexaOfferWanted brings an offer to the master of a channel and waits for its answer. It is
// answered by the session with AlexaAnswered, or with Refused.
//
// Path: api -> registry
type AlexaOfferWanted struct {
	ChannelARN string
	ClientID   string // of the sender, as the master sees it
	Payload    string // the offer, base64
}

// AlexaAnswered is the answer to AlexaOfferWanted.
type AlexaAnswered struct {
	Payload string // the answer, base64; empty: the offer has expired
}
