package rtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
)

const (
	// reportBytesMax is the largest RTCP packet read: one datagram.
	reportBytesMax = 1500

	// reportEvery is how often a viewer hears how RTP time and clock belong together. RFC 3550 6.2
	// recommends 5 s, and allows less with the bandwidth of video (RFC 4585 3.4).
	reportEvery = time.Second
)

// reportDue sends the sender reports of both tracks in one packet when it is time. WriteFrame is what
// calls it, so that a quiet viewer has no timer and reports nothing new.
func (p *Peer) reportDue(now time.Time) {
	fresh := false // a track whose times the viewer cannot place yet
	for i := range p.tracks {
		t := p.tracks[i].Load()
		fresh = fresh || t != nil && !t.told && !t.live.at.IsZero()
	}
	if now.Sub(p.reported) < reportEvery && !fresh {
		return
	}
	var reports []rtcp.Packet
	for i := range p.tracks {
		if report := p.tracks[i].Load().report(now); report != nil {
			reports = append(reports, report)
		}
	}
	if len(reports) > 0 {
		p.reported = now
		_ = p.pc.WriteRTCP(reports) // the next one is a second away
	}
}

// report is the track's sender report (RFC 3550 6.4.1). It is nil before the first frame at the live
// edge: the times of a catch-up are not those of its frames.
func (t *track) report(now time.Time) rtcp.Packet {
	if t == nil || t.live.at.IsZero() {
		return nil
	}
	b := t.bound.Load()
	if b == nil {
		return nil
	}
	t.told = true
	return &rtcp.SenderReport{
		SSRC: b.ssrc, NTPTime: ntpTime(now), RTPTime: t.live.timestamp + uint32(rtpTime(now.Sub(t.live.at), t.clockHz())),
		PacketCount: t.packets, OctetCount: t.octets,
	}
}

// ReadReports pumps the RTCP that the viewer sends about our streams. It answers NACKs; a PLI or FIR
// (RFC 4585 6.3.1, RFC 5104 4.3.1) becomes an event; wishes that nobody has read yet are merged. It
// returns when ctx ends or the peer is closed, and nil when the viewer has ended the connection: Read
// tells why.
func (p *Peer) ReadReports(ctx context.Context) error {
	for _, there := range []chan struct{}{p.connected, p.begun[messages.Video]} {
		select {
		case <-there:
		case <-p.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	sender := p.senders[messages.Video]
	stop := context.AfterFunc(ctx, func() { _ = sender.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err := readReports(sender, p.onReport, p.onFeedback)
	select {
	case <-p.closed:
		return ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read reports: %w", err)
}

// drainAudioReports reads what the viewer reports about the audio until the peer is closed, on the
// goroutine that pion gave to onState. What is about the whole connection may come here.
func (p *Peer) drainAudioReports() {
	if p.drain != nil {
		p.drain()
		return
	}
	select {
	case <-p.begun[messages.Audio]:
		_ = readReports(p.senders[messages.Audio], p.onReport, p.onFeedback)
	case <-p.closed:
	}
}

// onReport may run on two goroutines at once.
func (p *Peer) onReport(packet rtcp.Packet) {
	switch packet := packet.(type) {
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
		if p.wished.CompareAndSwap(false, true) {
			p.post(&messages.PeerKeyFrameWish{})
		}
	case *rtcp.TransportLayerNack:
		if video := p.tracks[messages.Video].Load(); video != nil {
			video.onNack(packet, time.Now())
		}
	}
}

// onFeedback is given transport-wide feedback as it came; it may run on two goroutines at once, too.
func (p *Peer) onFeedback(packet []byte) {
	if said, ok := readFeedback(packet); ok {
		p.out.onFeedback(said, time.Now())
	}
}

// reportReader is a webrtc.RTPSender, or an RTPReceiver.
type reportReader interface {
	Read(b []byte) (int, interceptor.Attributes, error)
}

// readReports calls each for every RTCP packet until the stream ends, but for transport-wide feedback, which
// is given to feedback; nil: nobody asks for it.
func readReports(sender reportReader, each func(rtcp.Packet), feedback func([]byte)) error {
	buf := make([]byte, reportBytesMax)
	for {
		n, _, err := sender.Read(buf)
		if err != nil {
			return err
		}
		for rest := buf[:n]; len(rest) > 0; {
			rest = readReport(rest, each, feedback)
		}
	}
}

// readReport reads the first packet of a compound one and returns the others. What cannot be parsed says
// nothing, nor what stands behind it.
func readReport(compound []byte, each func(rtcp.Packet), feedback func([]byte)) (rest []byte) {
	size := reportSize(compound)
	if size == 0 {
		return nil
	}
	packet := compound[:size]
	if isFeedback(packet) {
		if feedback != nil {
			feedback(packet)
		}
		return compound[size:]
	}
	packets, err := rtcp.Unmarshal(packet)
	if err != nil {
		return nil
	}
	for _, p := range packets {
		each(p)
	}
	return compound[size:]
}

// reportSize is how many bytes the first packet of a compound one has; 0: it is none.
func reportSize(compound []byte) int {
	var header rtcp.Header
	if header.Unmarshal(compound) != nil {
		return 0
	}
	return min(4*(int(header.Length)+1), len(compound)) // RFC 3550 6.4.1: the length in words, less one
}
