package messages

// Socket is one accepted websocket, as a connection owns it. Read and Write block; Close unblocks
// them. Write and Close may be called at the same time as Read.
type Socket interface {
	// Read returns the next text message. An empty one stands for a ping of the client, which has
	// been answered. A client that is silent is pinged; one that stays silent ends Read. The error
	// tells the close code to answer with when it is a *SocketError.
	Read() ([]byte, error)
	// Write sends one text message in one frame.
	Write(text []byte) error
	// Close sends a close frame (within a bounded time) and closes the connection. Code 0 closes at once.
	Close(code int, reason string)
}

// SocketError is why a socket has ended.
type SocketError struct {
	Code   int    // RFC 6455 7.4.1: what to say to the peer; 0: there is nobody to say it to
	Reason string // a short label: "closed", "silent", "oversized", "binary", "protocol", "utf8", "gone", "broken"
}

// Error returns the reason.
func (e *SocketError) Error() string { return "websocket " + e.Reason }

// Admitted is the answer to ConnectWanted: the place is taken for as long as it takes to accept
// a socket.
type Admitted struct {
	Path string // of the connection's actor
}

// SocketOpened hands the accepted socket to its connection; it is answered with SocketTaken.
//
// Path: api -> connection
type SocketOpened struct {
	Socket Socket
}

// SocketTaken is the answer to SocketOpened: the connection owns the socket.
type SocketTaken struct{}

// SocketAbandoned says that no socket will come: the handshake failed after the admission.
//
// Path: api -> connection
type SocketAbandoned struct{}

// FrameReceived is one text message of the client. An empty one stands for a ping.
//
// Path: socket -> connection
type FrameReceived struct {
	Text []byte
}

// Delivered is a message to a session without a socket, as it goes over the wire: of the device to a
// viewer, of a participant to the storage session.
//
// Path: backplane -> whep
// Path: backplane -> alexa
// Path: backplane -> ingest
type Delivered struct {
	From  string // client id; empty: the master
	Kind  string // SDP_ANSWER, ICE_CANDIDATE
	Text  []byte
	Reply string // of a question from another node: how to answer it; empty: it is none
}

// WhepAnswered is the answer to WhepWanted.
type WhepAnswered struct {
	Session string // unguessable; names the session at its channel
	SDP     string
}

// WhepTouched says that the player still watches; it is answered with WhepAlive.
//
// Path: api -> whep
type WhepTouched struct{}

// WhepEnded says that the player is done; it is answered with WhepAlive.
//
// Path: api -> whep
type WhepEnded struct{}

// WhepAlive is the answer to WhepTouched and WhepEnded: there was such a session.
type WhepAlive struct{}
