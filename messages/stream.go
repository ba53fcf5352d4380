package messages

import "net"

// TurnStream is a TURN client's stream, decrypted, that came in at the public door; it is answered
// with a TurnStreamTaken, or refused and stays the door's.
//
// Path: api -> relay
type TurnStream struct{ Conn net.Conn }

// TurnStreamTaken is the answer to TurnStream: the stream is the relay's.
type TurnStreamTaken struct{}
