package relay

// What clients are told: URLs by address for those who take any number of them, and AWS's list of
// three for GetIceServerConfig (kvs-protocol.md 2.1). Explicit port and transport always (7.4).

import (
	"fmt"
	"net/netip"
)

// URLs are all RTCIceServer URLs by address, in AWS's order: UDP, DTLS, TLS; then TCP, which AWS
// does not offer.
func (r *Relay) URLs() []string {
	var urls []string
	if r.udp.IsValid() {
		urls = append(urls, fmt.Sprintf("turn:%s?transport=udp", r.udp))
		if r.dtls {
			urls = append(urls, fmt.Sprintf("turns:%s?transport=udp", r.udp))
		}
	}
	if r.tcp.IsValid() {
		if r.secure != nil {
			urls = append(urls, fmt.Sprintf("turns:%s?transport=tcp", r.tcp))
		}
		urls = append(urls, fmt.Sprintf("turn:%s?transport=tcp", r.tcp))
	}
	return urls
}

// AWSForm is one server's list in AWS's form: three URLs on the host (host:port), or on the
// addresses where host is empty. It is nil unless the relay serves UDP, DTLS and TLS.
func (r *Relay) AWSForm(host string) []string {
	if r.secure == nil || !r.dtls || (host == "" && !r.tcp.IsValid()) {
		return nil
	}
	udp, tcp := host, host
	if host == "" {
		udp, tcp = r.udp.String(), r.tcp.String()
	}
	return []string{"turn:" + udp + "?transport=udp", "turns:" + udp + "?transport=udp", "turns:" + tcp + "?transport=tcp"}
}

// StunURL is the URL for STUN Binding over UDP; empty when UDP is off.
func (r *Relay) StunURL() string {
	if !r.udp.IsValid() {
		return ""
	}
	return "stun:" + r.udp.String()
}

// Addresses are the announced ones of relayed sockets; not valid where a family is not offered.
func (r *Relay) Addresses() (v4, v6 netip.Addr) {
	offered := r.sides[0].families
	return offered["udp4"].public, offered["udp6"].public
}
