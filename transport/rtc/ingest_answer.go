package rtc

import (
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/sdp/v3"
)

// AnswerError says why a storage session cannot use an answer. The reason never quotes the answer.
type AnswerError struct{ Reason string }

func (e *AnswerError) Error() string { return "answer refused: " + e.Reason }

// storageCodec is what a storage session takes of each track (kvs-protocol.md 4.4).
var storageCodec = map[messages.Track]string{messages.Video: "H264", messages.Audio: "opus"}

// checkAnswer holds an answer against the rules of a storage session: the master sends both tracks,
// a viewer receives both and sends no video. listens: it takes sound.
func checkAnswer(text string, viewer bool) (listens bool, err error) {
	if len(text) > offerBytesMax {
		return false, &AnswerError{"it is longer than 64 KiB"}
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return false, &AnswerError{"it is not SDP (RFC 8866)"} // the parser's error quotes the text
	}
	for _, track := range []messages.Track{messages.Video, messages.Audio} {
		if listens, err = checkAnswered(&d, track, viewer); err != nil {
			return false, err
		}
	}
	return listens, nil // of sound, the last one
}

func checkAnswered(d *sdp.SessionDescription, track messages.Track, viewer bool) (receives bool, err error) {
	codec := storageCodec[track]
	for _, m := range d.MediaDescriptions {
		if m.MediaName.Media != track.String() || m.MediaName.Port.Value == 0 { // rejected (RFC 3264 6)
			continue
		}
		sends, receives := directions(m)
		switch {
		case !hasCodec(m, codec):
			return false, &AnswerError{"its " + track.String() + " section does not take " + codec}
		case !viewer && !sends:
			return false, &AnswerError{"it does not send " + track.String()}
		case viewer && !receives:
			return false, &AnswerError{"it does not receive " + track.String()}
		case viewer && sends && track == messages.Video:
			return false, &AnswerError{"a viewer may not send video"}
		}
		return receives, nil
	}
	return false, &AnswerError{"it takes no " + track.String() + ": a storage session needs H.264 and Opus"}
}

// directions reads a section's (RFC 8866 6.7); the default is both.
func directions(m *sdp.MediaDescription) (sends, receives bool) {
	has := func(key string) bool {
		_, ok := m.Attribute(key)
		return ok
	}
	none := has(sdp.AttrKeyInactive)
	return !none && !has(sdp.AttrKeyRecvOnly), !none && !has(sdp.AttrKeySendOnly)
}

// hasCodec looks for a codec among the formats that the section lists; an a=rtpmap of another format
// counts for nothing.
func hasCodec(m *sdp.MediaDescription, codec string) bool {
	for _, a := range m.Attributes {
		if a.Key != "rtpmap" {
			continue
		}
		format, mapping, _ := strings.Cut(a.Value, " ")
		name, _, _ := strings.Cut(mapping, "/")
		if !strings.EqualFold(name, codec) {
			continue
		}
		for _, listed := range m.MediaName.Formats {
			if listed == format {
				return true
			}
		}
	}
	return false
}
