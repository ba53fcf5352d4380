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
	"github.com/pion/webrtc/v4"
)

// reportBytesMax is the largest RTCP packet read: one datagram.
const reportBytesMax = 1500

// ReadReports pumps the RTCP that the viewer sends about our streams, which is what answers its
// NACKs. A PLI or FIR (RFC 4585 6.3.1, RFC 5104 4.3.1) becomes an event; wishes that nobody has
// read yet are merged. It returns when ctx ends or the peer is closed, and nil when the viewer has
// ended the connection: Read tells why.
func (p *Peer) ReadReports(ctx context.Context) error {
	select {
	case <-p.connected:
	case <-p.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	sender := p.senders[messages.Video]
	if sender == nil {
		select {
		case <-p.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = sender.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err := readReports(sender, func(packet rtcp.Packet) {
		switch packet.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			if p.wished.CompareAndSwap(false, true) {
				p.post(&messages.PeerKeyFrameWish{})
			}
		}
	})
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
// goroutine that pion gave to onState: the interceptors see only what is read.
func (p *Peer) drainAudioReports() {
	if sender := p.senders[messages.Audio]; sender != nil {
		_ = readReports(sender, func(rtcp.Packet) {})
	}
}

// readReports calls each for every RTCP packet until the sender's stream ends.
func readReports(sender *webrtc.RTPSender, each func(rtcp.Packet)) error {
	buf := make([]byte, reportBytesMax)
	for {
		n, attributes, err := sender.Read(buf)
		if err != nil {
			return err
		}
		if attributes == nil {
			attributes = interceptor.Attributes{}
		}
		packets, err := attributes.GetRTCPPackets(buf[:n])
		if err != nil {
			continue // a packet that cannot be parsed says nothing
		}
		for _, packet := range packets {
			each(packet)
		}
	}
}
