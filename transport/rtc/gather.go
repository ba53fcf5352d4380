package rtc

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// gathering sorts the local candidates: those found before the answer is written travel in it, the
// later ones become events. Each is in exactly one of the two.
//
// pion's candidate goroutine calls found; the goroutine of Answer calls take.
type gathering struct {
	hosts     int                         // how many host candidates will come
	reflexive messages.ReflexiveAddresses // of host candidates, known ahead
	allHosts  chan struct{}               // closed when they are there
	done      chan struct{}               // closed when gathering is complete

	mu    sync.Mutex
	began time.Time
	took  map[string]time.Duration // phase -> until its last candidate
	held  []webrtc.ICECandidateInit
	taken bool
}

func newGathering(hosts int) *gathering {
	g := &gathering{
		hosts: hosts, allHosts: make(chan struct{}), done: make(chan struct{}),
		began: time.Now(), took: map[string]time.Duration{},
	}
	if hosts == 0 {
		close(g.allHosts)
	}
	return g
}

// found takes one candidate, nil at the end. It returns the events to report.
func (g *gathering) found(c *webrtc.ICECandidate) []any {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c == nil {
		return g.complete()
	}
	phase, ok := map[webrtc.ICECandidateType]string{
		webrtc.ICECandidateTypeHost:  messages.PhaseGatherHost,
		webrtc.ICECandidateTypeSrflx: messages.PhaseGatherSrflx,
		webrtc.ICECandidateTypeRelay: messages.PhaseGatherRelay,
	}[c.Typ]
	if ok {
		g.took[phase] = time.Since(g.began)
	}
	if c.Typ == webrtc.ICECandidateTypeHost {
		if g.hosts--; g.hosts == 0 {
			close(g.allHosts)
		}
	}
	init := c.ToJSON()
	if !g.taken {
		g.held = append(g.held, init)
		return nil
	}
	return []any{&messages.PeerCandidate{Candidate: messages.Candidate{
		Candidate: init.Candidate, SDPMid: init.SDPMid, SDPMLineIndex: init.SDPMLineIndex,
	}}}
}

func (g *gathering) complete() []any {
	select {
	case <-g.done:
		return nil
	default:
	}
	close(g.done)
	var events []any
	if len(g.reflexive.Addresses) > 0 {
		g.took[messages.PhaseGatherSrflx] = g.reflexive.Took
	}
	for _, phase := range []string{messages.PhaseGatherHost, messages.PhaseGatherSrflx, messages.PhaseGatherRelay} {
		if took, ok := g.took[phase]; ok {
			events = append(events, &messages.PeerPhase{Name: phase, Took: took})
		}
	}
	return events
}

// take writes the candidates known by now into the answer.
func (g *gathering) take(answer string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken = true
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return "", fmt.Errorf("parse own answer: %w", err)
	}
	for _, section := range d.MediaDescriptions { // a spare's, as pion writes them
		section.Attributes = slices.DeleteFunc(section.Attributes, func(a sdp.Attribute) bool {
			return a.Key == sdp.AttrKeyCandidate || a.Key == sdp.AttrKeyEndOfCandidates
		})
	}
	for _, c := range g.held {
		section := d.MediaDescriptions[*c.SDPMLineIndex]
		// The ufrag stands in the section already; strict parsers trip over it in a line.
		line, _, _ := strings.Cut(strings.TrimPrefix(c.Candidate, "candidate:"), " ufrag ")
		section.WithValueAttribute(sdp.AttrKeyCandidate, line)
	}
	g.addReflexive(&d)
	select {
	case <-g.done: // RFC 8840 8.2
		if len(g.held) > 0 {
			d.MediaDescriptions[*g.held[0].SDPMLineIndex].WithPropertyAttribute(sdp.AttrKeyEndOfCandidates)
		}
	default:
	}
	text, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("write own answer: %w", err)
	}
	return string(text), nil
}

// addReflexive writes the candidates of the shared sockets as they are seen from outside. pion need not
// know of them: what comes in through one arrives at the host candidate that is its base.
func (g *gathering) addReflexive(d *sdp.SessionDescription) {
	for i, a := range g.reflexive.Addresses {
		if len(g.held) == 0 || a.Local == a.Mapped {
			continue // no host candidate to be the base of, or no NAT
		}
		// RFC 8445 5.1.2.1: type preference 100, each with a local preference of its own, component 1.
		priority := 100<<24 | (65535-i)<<8 | 255
		d.MediaDescriptions[*g.held[0].SDPMLineIndex].WithValueAttribute(sdp.AttrKeyCandidate, fmt.Sprintf(
			"reflexive%d 1 udp %d %s %d typ srflx raddr %s rport %d", i, priority,
			a.Mapped.Addr(), a.Mapped.Port(), a.Local.Addr(), a.Local.Port()))
	}
}
