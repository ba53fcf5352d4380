package messages

// The kinds of faults.
const (
	FaultGoAway       = "go-away"        // GO_AWAY, and after the grace the end of the socket
	FaultReconnectICE = "reconnect-ice"  // RECONNECT_ICE_SERVER
	FaultCut          = "cut"            // the socket ends without a close frame
	FaultRefuse       = "refuse-connect" // the websocket's handshake gets an error
	FaultError        = "error"          // a REST request gets an error
	FaultThrottle     = "throttle"       // a REST request gets ClientLimitExceededException
	FaultExpire       = "expire-tokens"  // session credentials made before it are expired
	FaultRefuseTurn   = "refuse-turn"    // no TURN allocation is made
	FaultClock        = "clock"          // the service's clock is off
	FaultDrop         = "drop"           // a signaling message is lost
	FaultDelay        = "delay"          // a signaling message comes late
)

// Fault is something that a test makes go wrong, in the form of the fault socket
// (transport/api/faults.go). It is not written once it was sent.
type Fault struct {
	ID          int      `json:"id,omitempty"` // given by the service; 0: it does not stand
	Kind        string   `json:"kind"`
	Channel     string   `json:"channel,omitempty"`     // name; empty: all
	ClientID    string   `json:"client_id,omitempty"`   // of one viewer, or as a request tells it; empty: all
	Master      bool     `json:"master,omitempty"`      // the master alone
	Only        []string `json:"only,omitempty"`        // REST operations, or kinds of messages; empty: all
	ForS        float64  `json:"for_s,omitempty"`       // how long it stands; 0: until it is cleared
	Probability float64  `json:"probability,omitempty"` // of striking each time; 0: always
	Seed        uint64   `json:"seed,omitempty"`        // of the probability; 0: the service chooses one
	ByS         float64  `json:"by_s,omitempty"`        // how late a message comes, how far the clock is ahead
	Status      int      `json:"status,omitempty"`      // of the error
	Type        string   `json:"type,omitempty"`        // of the error; empty: the usual one of its status

	Struck uint64  `json:"struck"`           // how often so far, as the service tells it
	LeftS  float64 `json:"left_s,omitempty"` // how long it still stands, as the service tells it
}

// FaultWanted asks for a fault; it is answered with Faults, which holds that one.
//
// Path: api -> faults
type FaultWanted struct {
	Fault Fault
}

// FaultsWanted asks which faults stand; it is answered with Faults.
//
// Path: api -> faults
type FaultsWanted struct{}

// ClearFaults ends a fault, or all of them; it is answered with Faults, which holds those that ended.
//
// Path: api -> faults
type ClearFaults struct {
	ID int // 0: all
}

// Faults is the answer of the faults.
type Faults struct {
	Faults []Fault `json:"faults"`
}

// Disturb brings a fault to the connections that there are, for each to ask whether it is struck.
//
// Path: faults -> service -> channel -> connection
type Disturb struct {
	Kind    string
	Strikes func(channel, clientID string) bool // by name; no client id: the master; counts; any goroutine may call it
}
