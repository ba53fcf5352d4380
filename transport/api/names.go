package api

// Host names in AWS's shape (kvs-protocol.md 1.1, 1.4, 2.1, 5), for clients that build them
// themselves. They are the same on every machine, so that a hosts file can be written once.

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
)

const awsPort = "443"

var regionPattern = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)

// Names are the host names of one region. The zero value has none.
type Names struct {
	region       string
	legacy, dual string // the control plane's hosts, and the suffix of all others
}

// AWSNames returns the names of a region.
func AWSNames(region string) (Names, error) {
	if !regionPattern.MatchString(region) {
		return Names{}, fmt.Errorf("%q is no AWS region, as us-west-2 is", region)
	}
	n := Names{region: region, legacy: "kinesisvideo." + region + ".amazonaws.com", dual: "kinesisvideo." + region + ".api.aws"}
	if strings.HasPrefix(region, "cn-") {
		n.legacy, n.dual = n.legacy+".cn", "kinesisvideo."+region+".api.amazonwebservices.com.cn"
	}
	return n, nil
}

// On tells whether there are names.
func (n Names) On() bool { return n.region != "" }

// Region is what clients of these names sign for.
func (n Names) Region() string { return n.region }

// Control is the control plane's host.
func (n Names) Control() string { return n.legacy }

// label is eight hexadecimal digits, AWS's "xxxxxxxx".
func (n Names) label(what string) string {
	sum := sha256.Sum256([]byte(n.region + "/" + what))
	return hex.EncodeToString(sum[:4])
}

// turnLabels are those of the two TURN servers that AWS lists.
func (n Names) turnLabels() [2]string {
	return [2]string{"t-" + n.label("turn-1"), "t-" + n.label("turn-2")}
}

// Certificate are the names that the server's certificate holds. A wildcard stands for one label, so
// those of TURN need their own.
func (n Names) Certificate() []string {
	var names []string
	for _, suffix := range []string{n.legacy, n.dual} {
		names = append(names, suffix, "*."+suffix)
		for _, label := range n.turnLabels() {
			names = append(names, "*."+label+"."+suffix)
		}
	}
	return names
}

// The first letters of the hosts of a channel.
const (
	hostMaster  = "m-"
	hostViewer  = "v-"
	hostREST    = "r-"
	hostStorage = "w-"
)

// Endpoint is the host of a channel's endpoint: no path, no port.
func (n Names) Endpoint(protocol, role string, dualStack bool) string {
	prefix := hostREST
	switch {
	case protocol == "WSS" && role == "VIEWER":
		prefix = hostViewer
	case protocol == "WSS":
		prefix = hostMaster
	case protocol == "WEBRTC":
		prefix = hostStorage
	}
	return prefix + n.label("channel") + "." + n.suffix(dualStack)
}

func (n Names) suffix(dualStack bool) string {
	if dualStack {
		return n.dual
	}
	return n.legacy
}

// DualStack tells whether a request's Host is a dual-stack one, whose answers name such hosts too.
func (n Names) DualStack(host string) bool {
	return n.On() && strings.HasSuffix(bareHost(host), n.dual)
}

// turned is how an address stands in a host's first label, from which the C SDK reads it.
func turned(a netip.Addr) string {
	return strings.NewReplacer(".", "-", ":", "-").Replace(a.StringExpanded())
}

// Turn are host:port of the two TURN servers: the first label is the IPv4 address, and on dual-stack
// hosts the IPv6 address too.
func (n Names) Turn(v4, v6 netip.Addr, dualStack bool) []string {
	first := ""
	if v4.IsValid() {
		first = turned(v4)
	}
	if v6.IsValid() && dualStack {
		first = strings.TrimPrefix(first+"_"+turned(v6), "_")
	}
	if first == "" {
		return nil
	}
	var hosts []string
	for _, label := range n.turnLabels() {
		hosts = append(hosts, net.JoinHostPort(first+"."+label+"."+n.suffix(dualStack), awsPort))
	}
	return hosts
}

// Hosts are all names that a hosts file must hold for clients that resolve them; v4 is the relay's.
func (n Names) Hosts(v4, v6 netip.Addr) []string {
	var hosts []string
	for _, dualStack := range []bool{false, true} {
		hosts = append(hosts, n.suffix(dualStack), "stun."+n.suffix(dualStack))
		for _, prefix := range []string{hostMaster, hostViewer, hostREST, hostStorage} {
			hosts = append(hosts, prefix+n.label("channel")+"."+n.suffix(dualStack))
		}
		for _, at := range n.Turn(v4, v6, dualStack) {
			hosts = append(hosts, bareHost(at))
		}
	}
	return hosts
}

// checkRole refuses a client that came to the host of the other role: AWS decides it by the host
// (kvs-protocol.md 3.1). Elsewhere the client id alone decides.
func (n Names) checkRole(host string, viewer bool) error {
	if !n.On() {
		return nil
	}
	host = bareHost(host)
	ours := strings.HasSuffix(host, "."+n.legacy) || strings.HasSuffix(host, "."+n.dual)
	switch {
	case ours && viewer && strings.HasPrefix(host, hostMaster):
		return invalid("X-Amz-ClientId must be absent at the endpoint of the master")
	case ours && !viewer && strings.HasPrefix(host, hostViewer):
		return invalid("X-Amz-ClientId is required at the endpoint of viewers")
	}
	return nil
}

// bareHost is a Host header's name in lower case.
func bareHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}
