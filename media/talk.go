package media

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Talk is what one viewer says at a time, as an Ogg Opus stream (RFC 7845).
type Talk struct {
	writer *oggwriter.Writer
	track  *oggwriter.Track
	bytes  int

	begun    bool
	sequence uint16 // the next one
	due      uint32 // the time of the next one
	toc      byte   // of the last packet
}

const (
	opusClockHz = 48_000
	opusFrame   = opusClockHz / 50
	// talkGapMax bounds the silence that is written for lost packets, or for a sender that rests.
	talkGapMax = 5 * opusClockHz
	// talkLateMax is how far back a sequence number may be to be late; beyond it the sender began anew.
	talkLateMax = 1000
	// TalkBytesMax bounds one talk: an hour of stereo at 140 kbit/s.
	TalkBytesMax = 64 << 20
)

// ErrTalkTooLong says that a talk has reached TalkBytesMax.
var ErrTalkTooLong = errors.New("write talk: it has reached its greatest size")

// newTalk begins a stream; file is the same as out where that can be rewritten at the end.
func newTalk(out io.WriteCloser, file *os.File, clientID string) (*Talk, error) {
	options := []oggwriter.WriterOption{
		oggwriter.WithVendor("heliograph"), oggwriter.WithUserComments(oggwriter.UserComment{Comment: "ARTIST", Value: clientID}),
	}
	if file != nil {
		options = append(options, oggwriter.WithSeekableOutput(file))
	}
	writer, err := oggwriter.NewWriter(out, options...)
	if err != nil {
		return nil, fmt.Errorf("begin talk: %w", errors.Join(err, out.Close()))
	}
	track, err := writer.NewTrack(0)
	if err != nil {
		return nil, fmt.Errorf("begin talk: %w", errors.Join(err, writer.Close()))
	}
	return &Talk{writer: writer, track: track}, nil
}

// Write adds a packet; false: it came too late, or is no Opus, and is left out.
func (t *Talk) Write(s messages.Sound) (bool, error) {
	samples := opusSamples(s.Data)
	if samples == 0 {
		return false, nil
	}
	if behind := t.sequence - s.Sequence; t.begun && behind != 0 && behind < talkLateMax {
		return false, nil
	}
	if t.bytes += len(s.Data); t.bytes > TalkBytesMax {
		return false, ErrTalkTooLong
	}
	if err := t.fill(s.Timestamp); err != nil {
		return false, err
	}
	t.begun, t.sequence, t.due, t.toc = true, s.Sequence+1, s.Timestamp+uint32(samples), s.Data[0]
	return true, t.write(s.Data)
}

// fill writes packets that ask the decoder to conceal a loss, where some are missing (RFC 7845 4.1):
// a frame of no bytes (RFC 6716 3.2.1).
func (t *Talk) fill(until uint32) error {
	if !t.begun {
		return nil
	}
	missing := int32(until - t.due)
	if missing > talkGapMax {
		return nil
	}
	nothing := []byte{t.toc &^ 3}
	for step := int32(opusSamples(nothing)); missing >= step; missing -= step {
		if err := t.write(nothing); err != nil {
			return err
		}
	}
	return nil
}

func (t *Talk) write(opus []byte) error {
	if err := t.track.WriteRTP(&rtp.Packet{Payload: opus}); err != nil {
		return fmt.Errorf("write talk: %w", err)
	}
	return nil
}

// Close ends the stream, and waits for the program that reads it.
func (t *Talk) Close() error {
	if err := t.writer.Close(); err != nil {
		return fmt.Errorf("end talk: %w", err)
	}
	return nil
}

// opusSamples is the duration of an Opus packet in samples of 48 kHz (RFC 6716 3.1); 0: it is none.
func opusSamples(packet []byte) int {
	if len(packet) == 0 {
		return 0
	}
	frames := 1
	switch packet[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0
		}
		frames = int(packet[1] & 63)
	}
	samples := frames * opusFrameSamples(packet[0]>>3)
	if samples > opusPacketSamplesMax {
		return 0
	}
	return samples
}

// opusPacketSamplesMax: a packet holds 120 ms at most (RFC 6716 3.2.5).
const opusPacketSamplesMax = 6 * opusFrame

// opusFrameSamples reads table 2 of RFC 6716 3.1: SILK has frames of 10 to 60 ms, hybrid of 10 and 20,
// CELT of 2.5 to 20.
func opusFrameSamples(config byte) int {
	switch {
	case config < 12:
		return [...]int{opusFrame / 2, opusFrame, 2 * opusFrame, 3 * opusFrame}[config&3]
	case config < 16:
		return opusFrame / 2 << (config & 1)
	}
	return opusFrame / 8 << (config & 3)
}
