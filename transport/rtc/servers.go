package rtc

import (
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/stun/v3"
	"github.com/pion/webrtc/v4"
	"go.uber.org/zap"
)

// iceServers picks the URLs that pion may use: every STUN URL, and of all TURN URLs the first over
// UDP and the first over TCP or TLS. pion allocates once per URL and peer, and AWS allows 50
// allocations per channel (performance.md, "What pion 4.2.20 cannot do"): ten viewers that took two of
// each server's would leave none for the viewers themselves.
//
// udpWorks says that a STUN server has answered the shared sockets: then STUN has nothing more to tell,
// and TURN over TCP or TLS, which is there for networks without UDP, would cost a handshake and an
// allocation for nothing.
func iceServers(servers []messages.IceServer, udpWorks bool, log *zap.Logger) []webrtc.ICEServer {
	var picked []webrtc.ICEServer
	var haveUDP, haveTCP bool
	for _, server := range servers {
		var urls []string
		for _, url := range server.URLs {
			uri, err := stun.ParseURI(url)
			if err != nil {
				log.Debug("ICE server URL skipped: cannot be parsed", zap.Error(err))
				continue
			}
			switch {
			case uri.Scheme == stun.SchemeTypeSTUN && udpWorks: // what it would tell is known
			case uri.Scheme == stun.SchemeTypeSTUN:
				urls = append(urls, url)
			case uri.Scheme == stun.SchemeTypeSTUNS:
				log.Debug("ICE server URL skipped: STUN over TLS finds no UDP address")
			case server.Username == "" || server.Password == "":
				log.Debug("ICE server URL skipped: TURN without credentials")
			case uri.Scheme == stun.SchemeTypeTURNS && uri.Proto == stun.ProtoTypeUDP:
				log.Debug("ICE server URL skipped: TURN over DTLS") // kvs-protocol.md 5
			case uri.Proto == stun.ProtoTypeUDP && !haveUDP:
				haveUDP = true
				urls = append(urls, url)
			case uri.Proto == stun.ProtoTypeTCP && udpWorks && offersUDP(servers):
			case uri.Proto == stun.ProtoTypeTCP && !haveTCP:
				haveTCP = true
				urls = append(urls, url)
			}
		}
		if len(urls) > 0 {
			picked = append(picked, webrtc.ICEServer{
				URLs: urls, Username: server.Username, Credential: server.Password,
			})
		}
	}
	return picked
}

// offersUDP tells whether there is a TURN server over UDP.
func offersUDP(servers []messages.IceServer) bool {
	for _, server := range servers {
		for _, url := range server.URLs {
			uri, err := stun.ParseURI(url)
			if err == nil && uri.Scheme == stun.SchemeTypeTURN && uri.Proto == stun.ProtoTypeUDP && server.Password != "" {
				return true
			}
		}
	}
	return false
}
