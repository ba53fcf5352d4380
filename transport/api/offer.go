package api

import (
	"errors"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// Codecs a device of this engine may give or take; a browser offers many more, and its full list
// may not fit a signaling message.
var codecsKept = []string{"h264", "h265", "opus", "pcmu", "pcma"}

// fitOffer makes a player's offer fit for the way to the device: valid, without the trickle option
// (WHEP has no way back for later candidates, kvs-protocol.md 3.6), and, when it is too long for a
// message, without the codecs that no device has.
func fitOffer(text string) (string, error) {
	var offer sdp.SessionDescription
	if err := offer.UnmarshalString(text); err != nil {
		return "", errors.New("it is not valid SDP") // the parser's error quotes the SDP
	}
	if len(offer.MediaDescriptions) == 0 {
		return "", errors.New("it has no media section")
	}
	offer.Attributes = withoutTrickle(offer.Attributes)
	for _, m := range offer.MediaDescriptions {
		m.Attributes = withoutTrickle(m.Attributes)
		for _, need := range []string{"ice-ufrag", "fingerprint"} {
			_, own := m.Attribute(need)
			_, shared := offer.Attribute(need)
			if !own && !shared {
				return "", errors.New("a media section has no a=" + need)
			}
		}
	}
	fitted, err := marshal(&offer)
	if err != nil || fits(fitted) {
		return fitted, err
	}
	for _, m := range offer.MediaDescriptions {
		if kind := m.MediaName.Media; kind == "video" || kind == "audio" {
			keepCodecs(m)
		}
	}
	if fitted, err = marshal(&offer); err == nil && !fits(fitted) {
		err = errors.New("it does not fit a signaling message (10000 characters of base64): offer fewer codecs")
	}
	return fitted, err
}

func marshal(offer *sdp.SessionDescription) (string, error) {
	text, err := offer.Marshal()
	return string(text), err
}

func fits(offer string) bool {
	_, err := signaling.EncodeDescription("offer", offer)
	return err == nil
}

func withoutTrickle(attributes []sdp.Attribute) []sdp.Attribute {
	kept := attributes[:0]
	for _, a := range attributes {
		if a.Key == "ice-options" {
			options := slices.DeleteFunc(strings.Fields(a.Value), func(o string) bool { return o == "trickle" })
			if len(options) == 0 {
				continue
			}
			a.Value = strings.Join(options, " ")
		}
		kept = append(kept, a)
	}
	return kept
}

// keepCodecs drops the payload types of other codecs, with their attributes, and the
// retransmission types that belong to them (RFC 4588 8.6: apt).
func keepCodecs(m *sdp.MediaDescription) {
	kept := map[string]bool{}
	for _, a := range m.Attributes {
		format, rest, _ := strings.Cut(a.Value, " ")
		codec, _, _ := strings.Cut(strings.ToLower(rest), "/")
		if a.Key == "rtpmap" && slices.Contains(codecsKept, codec) {
			kept[format] = true
		}
	}
	if len(kept) == 0 {
		return
	}
	for _, a := range m.Attributes {
		format, rest, _ := strings.Cut(a.Value, " ")
		if apt, ok := strings.CutPrefix(rest, "apt="); ok && a.Key == "fmtp" && kept[apt] {
			kept[format] = true
		}
	}
	m.MediaName.Formats = slices.DeleteFunc(m.MediaName.Formats, func(f string) bool { return !kept[f] })
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		format, _, _ := strings.Cut(a.Value, " ")
		ofFormat := a.Key == "rtpmap" || a.Key == "fmtp" || (a.Key == "rtcp-fb" && format != "*")
		return ofFormat && !kept[format]
	})
}
