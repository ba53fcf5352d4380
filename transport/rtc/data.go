package rtc

import (
	"fmt"
	"sync/atomic"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/webrtc/v4"
)

const (
	dataMessageBytesMax = 64 << 10 // larger messages of the viewer are dropped
	dataChannelsMax     = 16       // per viewer; further ones are closed
	dataBufferedMax     = 1 << 20  // bytes that wait to be sent on a channel
)

// PeerReceived counts what the viewer sent.
type PeerReceived struct {
	AudioPackets  uint64 // RTP packets of its microphone
	DataMessages  uint64 // data-channel messages that became events
	DataOversized uint64 // messages dropped because they were larger than 64 KiB
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
func (p *Peer) onTrack(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	if !p.enter() {
		return
	}
	defer p.callbacks.Done()
	buf := make([]byte, reportBytesMax)
	for {
		if _, _, err := remote.Read(buf); err != nil {
			return
		}
		if remote.Kind() == webrtc.RTPCodecTypeAudio {
			p.received.audioPackets.Add(1)
		}
	}
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
	if len(m.Data) > dataMessageBytesMax {
		p.received.dataOversized.Add(1)
		return
	}
	p.received.dataMessages.Add(1)
	p.post(&messages.PeerData{Channel: label, Text: m.IsString, Data: m.Data})
}

// SendData sends a message on the viewer's channel with that label. A viewer that does not read
// gives an error once 1 MiB waits for it; the message is dropped.
func (p *Peer) SendData(channel string, text bool, data []byte) error {
	p.mu.Lock()
	d := p.channels[channel]
	p.mu.Unlock()
	switch {
	case d == nil:
		return fmt.Errorf("send data: the viewer has no open channel %q", channel)
	case d.BufferedAmount()+uint64(len(data)) > dataBufferedMax:
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
