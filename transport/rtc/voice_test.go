package rtc

import (
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// listener is a master of which the test reads what it is sent.
func listener(t *testing.T) *Participant {
	t.Helper()
	voice, err := webrtc.NewTrackLocalStaticRTP(opusTrack, "audio", "viewers")
	must(t, err)
	s := &Participant{voice: voice}
	s.listens.Store(true)
	return s
}

// One viewer talks at a time, until it has been silent for a while; to the master it is one stream, with
// the time of the silence in it. A master that joins anew goes on with it.
func TestOneVoiceAtATime(t *testing.T) {
	f, err := NewFeed(nil)
	must(t, err)
	at := time.Now()
	alice, bob := &Participant{viewer: true}, &Participant{viewer: true}
	say := func(who *Participant, sequence uint16, timestamp uint32) *rtp.Packet {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: timestamp, CSRC: []uint32{7}}, Payload: []byte{0xf8}}
		f.speak(who, p, at)
		return p
	}
	say(alice, 8, 100)
	if got := f.Voices(); got != (VoiceCount{Unheard: 1}) {
		t.Fatalf("without a master: %+v", got)
	}
	master := listener(t)
	f.From(master)
	first := say(alice, 9, 1060)
	say(bob, 500, 7)
	second := say(alice, 10, 2020)
	if got := f.Voices(); got != (VoiceCount{Passed: 2, Busy: 1, Unheard: 1}) {
		t.Fatalf("two at once: %+v", got)
	}
	if second.SequenceNumber-first.SequenceNumber != 1 || second.Timestamp-first.Timestamp != 960 || second.CSRC != nil {
		t.Errorf("%+v behind %+v", second.Header, first.Header)
	}
	at = at.Add(voiceSilence - time.Millisecond)
	say(bob, 501, 967)
	at = at.Add(time.Millisecond)
	third := say(bob, 502, 1927)
	if third.SequenceNumber-second.SequenceNumber != 1 || third.Timestamp-second.Timestamp != 2*audioClockHz {
		t.Errorf("the next speaker begins at %+v behind %+v", third.Header, second.Header)
	}
	say(alice, 11, 2980)
	f.From(listener(t))
	if fourth := say(bob, 503, 2887); fourth.SequenceNumber-third.SequenceNumber != 1 || fourth.Timestamp-third.Timestamp != 960 {
		t.Errorf("to the next master: %+v behind %+v", fourth.Header, third.Header)
	}
	master.listens.Store(false)
	f.From(master)
	say(bob, 504, 3847)
	if got := f.Voices(); got != (VoiceCount{Passed: 4, Busy: 3, Unheard: 2}) {
		t.Errorf("in the end: %+v", got)
	}
	for n := range uint16(2 * voicePacketsPerS) {
		say(bob, 505+n, 3847)
	}
	if got := f.Voices(); got.Rate == 0 || got.Passed+got.Unheard+got.Busy+got.Rate != 9+2*voicePacketsPerS {
		t.Errorf("after a flood: %+v", got)
	}
	if got := f.Counts()[messages.Audio].Packets; got != 0 {
		t.Errorf("%d packets went to the viewers", got)
	}
}
