package messages

import "time"

// The twelve setup phases, the same words in logs, metrics, JSON and tables
// (definitions: kvs-protocol.md section 8.1).
const (
	PhaseGetCredentials     = "get_credentials"
	PhaseDescribeChannel    = "describe_channel"
	PhaseGetEndpoints       = "get_endpoints"
	PhaseGetIceServers      = "get_ice_servers"
	PhaseConnectWebsocket   = "connect_websocket"
	PhaseGatherHost         = "gather_host"
	PhaseGatherSrflx        = "gather_srflx"
	PhaseGatherRelay        = "gather_relay"
	PhaseJoinStorageSession = "join_storage_session"
	PhaseFindPair           = "find_pair"
	PhaseDTLSHandshake      = "dtls_handshake"
	PhaseFirstFrame         = "first_frame"
)

// PhaseNames lists the phases in the order in which a connection passes them.
var PhaseNames = [...]string{
	PhaseGetCredentials, PhaseDescribeChannel, PhaseGetEndpoints, PhaseGetIceServers,
	PhaseConnectWebsocket, PhaseGatherHost, PhaseGatherSrflx, PhaseGatherRelay,
	PhaseJoinStorageSession, PhaseFindPair, PhaseDTLSHandshake, PhaseFirstFrame,
}

// Phases holds how long each phase took. A phase that did not happen is absent.
type Phases map[string]time.Duration

// With returns a copy with one phase added, so that a map that was sent stays as it was.
func (p Phases) With(name string, took time.Duration) Phases {
	c := make(Phases, len(p)+1)
	for k, v := range p {
		c[k] = v
	}
	c[name] = took
	return c
}
