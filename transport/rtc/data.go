package rtc

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	dataMessageBytesMax = 64 << 10 // of a larger message of the viewer only the event is left
	dataChannelsMax     = 16       // per viewer; further ones are closed
	dataBufferedMax     = 1 << 20  // bytes that wait to be sent on a channel
)

// PeerReceived counts what the viewer sent.
type PeerReceived struct {
	AudioPackets  uint64 // RTP packets of its microphone
	DataMessages  uint64 // data-channel messages
	DataOversized uint64 // those larger than 64 KiB, whose events are empty
}

type receivedCounters struct{ audioPackets, dataMessages, dataOversized atomic.Uint64 }

// Received returns the counters as they are now.
func (p *Peer) Received() PeerReceived {
	return PeerReceived{
		AudioPackets:  p.received.audioPackets.Load(),
		DataMessages:  p.received.dataMessages.Load(),
		DataOversized: p.received.dataOversized.Load(),
	}
}

// onTrack counts the packets of a track that the viewer sends, on the goroutine that pion gives it.
// Where its sound is wanted, each becomes an event.
func (p *Peer) onTrack(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	if !p.enter() {
		return
	}
	defer p.callbacks.Done()
	buf := make([]byte, reportBytesMax)
	for {
		n, _, err := remote.Read(buf)
		if err != nil {
			return
		}
		if remote.Kind() != webrtc.RTPCodecTypeAudio {
			continue
		}
		p.received.audioPackets.Add(1)
		if p.sound && strings.EqualFold(remote.Codec().MimeType, webrtc.MimeTypeOpus) { // which is asked for first
			p.onSound(buf[:n])
		}
	}
}

// onSound makes an event of one packet; those without a payload are a browser's probes.
func (p *Peer) onSound(packet []byte) {
	var r rtp.Packet
	if r.Unmarshal(packet) != nil || len(r.Payload) == 0 {
		return
	}
	p.post(&messages.PeerSound{Sound: messages.Sound{Sequence: r.SequenceNumber, Timestamp: r.Timestamp, Data: bytes.Clone(r.Payload)}})
}

// onDataChannel takes a channel that the viewer opens. Of channels with one label the newest is
// answered on.
func (p *Peer) onDataChannel(d *webrtc.DataChannel) {
	label := d.Label()
	p.mu.Lock()
	take := p.dataChannels && p.channelsOpen < dataChannelsMax
	if take {
		p.channelsOpen++
		p.channels[label] = d
	}
	p.mu.Unlock()
	if !take {
		d.OnOpen(func() { _ = d.Close() })
		return
	}
	d.OnMessage(func(m webrtc.DataChannelMessage) { p.onData(label, m) })
	d.OnClose(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.channelsOpen--
		if p.channels[label] == d {
			delete(p.channels, label)
		}
	})
}

func (p *Peer) onData(label string, m webrtc.DataChannelMessage) {
	p.received.dataMessages.Add(1)
	event := &messages.PeerData{Channel: label, Text: m.IsString, Data: m.Data}
	if len(m.Data) > dataMessageBytesMax {
		p.received.dataOversized.Add(1)
		event.Data, event.Oversized = nil, true
	}
	p.post(event)
}

// HasRoom tells whether so many bytes may wait on the viewer's channel with that label.
func (p *Peer) HasRoom(channel string, size int) bool {
	d := p.dataChannel(channel)
	return d != nil && roomFor(d, size)
}

// dataChannel is the newest with that label; nil when there is none.
func (p *Peer) dataChannel(label string) *webrtc.DataChannel {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.channels[label]
}

func roomFor(d *webrtc.DataChannel, size int) bool {
	return d.BufferedAmount()+uint64(size) <= dataBufferedMax
}

// SendData sends a message on the viewer's channel with that label. A viewer that does not read
// gives an error once 1 MiB waits for it; the message is dropped.
func (p *Peer) SendData(channel string, text bool, data []byte) error {
	d := p.dataChannel(channel)
	switch {
	case d == nil:
		return fmt.Errorf("send data: the viewer has no open channel %q", channel)
	case !roomFor(d, len(data)):
		return fmt.Errorf("send data: the viewer does not read channel %q", channel)
	}
	send := d.Send
	if text {
		send = func(b []byte) error { return d.SendText(string(b)) }
	}
	if err := send(data); err != nil {
		return fmt.Errorf("send data: %w", err)
	}
	return nil
}
