package relay

// Limits of channels and credentials, and what was counted. A credential counts for the channel that
// its user name was made for; the name cannot be changed without losing its password.

import (
	"net"
	"time"

	"golang.org/x/time/rate"
)

const (
	// AWS documents 50 allocations per channel (kvs-protocol.md 3.8). A browser makes one per URL
	// and network interface, so that ten viewers can pass 50; the default leaves them room.
	allocationsPerChannelDefault = 250
	// A device allocates for ten viewers with one credential, twice for each.
	allocationsPerCredentialDefault = 50
	bitsPerSecondDefault            = 5_000_000 // kvs-protocol.md 3.8
	bucketDepth                     = time.Second
)

// Stats are counters since Listen, except Allocations, which is the current number.
type Stats struct {
	Allocations      int    // live now
	Allocated        uint64 // made since the start
	AuthFailures     uint64 // unknown, expired or wrong credentials
	QuotaRefused     uint64 // allocations beyond those of a channel or a credential
	PeersRefused     uint64 // permissions for addresses that are not relayed to
	Misdirected      uint64 // datagrams to or from the relay's own addresses, dropped
	OverBandwidth    uint64 // datagrams beyond an allocation's bandwidth, dropped
	ConnsRefused     uint64 // streams and DTLS sessions beyond the limit
	FramesRefused    uint64 // streams ended because of a malformed or too long frame
	DatagramsRefused uint64 // DTLS records of no session, or that a session did not read in time
	BytesToPeers     uint64 // payload relayed client -> peer
	BytesFrom        uint64 // payload relayed peer -> client
	Transports       map[string]TransportStats
}

// TransportStats are the allocations of the clients that came over "udp", "tcp", "tls" or "dtls".
type TransportStats struct {
	Allocations int64  // live now
	Allocated   uint64 // made since the start
}

// Stats reads the counters.
func (r *Relay) Stats() Stats {
	s := Stats{
		Allocations: r.server.AllocationCount(), Allocated: r.allocated.Load(),
		AuthFailures: r.authFailures.Load(), QuotaRefused: r.quotaRefused.Load(),
		PeersRefused: r.peersRefused.Load(), Misdirected: r.misdirected.Load(),
		OverBandwidth: r.overBandwidth.Load(), ConnsRefused: r.connsRefused.Load(),
		FramesRefused: r.framesRefused.Load(), DatagramsRefused: r.datagramsRefused.Load(),
		BytesToPeers: r.toPeers.Load(), BytesFrom: r.fromPeers.Load(),
		Transports: map[string]TransportStats{},
	}
	for _, side := range r.sides {
		s.Transports[side.over] = TransportStats{Allocations: side.live.Load(), Allocated: side.made.Load()}
	}
	return s
}

// allocation counts the live allocations of a channel and of a credential.
func (r *Relay) allocation(username string, change int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	count(r.channels, channelOf(username), change)
	count(r.credentials, username, change)
	if change > 0 {
		r.allocated.Add(1)
	}
}

func count(live map[string]int, key string, change int) {
	live[key] += change
	if live[key] <= 0 {
		delete(live, key)
	}
}

func (r *Relay) withinQuota(username, _ string, _ net.Addr) bool {
	user := userOf(username)
	if r.deny(user) {
		return false
	}
	channel := user.Channel
	r.mu.Lock()
	defer r.mu.Unlock()
	within := func(live, most int) bool { return most < 0 || live < most }
	if channel != "" && within(r.channels[channel], r.perChannel) && within(r.credentials[username], r.perCredential) {
		return true
	}
	r.quotaRefused.Add(1)
	return false
}

func (r *Relay) onAuth(_, _ net.Addr, _, _, _, _ string, verdict bool) {
	if !verdict {
		r.authFailures.Add(1)
	}
}

// bucket is an allocation's bandwidth: a token per byte, a second's worth at once, as a key frame
// needs; at least a datagram's.
func (r *Relay) bucket() *rate.Limiter {
	if r.bytesPerS == rate.Inf {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(r.bytesPerS, max(frameBytesMax, int(float64(r.bytesPerS)*bucketDepth.Seconds())))
}
