package rtc

import (
	"fmt"
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/sdp/v3"
)

const (
	offerBytesMax    = 64 << 10
	offerSectionsMax = 32
)

// OfferError says why an offer cannot be answered. The reason never quotes the offer.
type OfferError struct{ Reason string }

func (e *OfferError) Error() string { return "offer refused: " + e.Reason }

// CodecError says that a viewer cannot decode the stream, in words for that viewer too.
type CodecError struct{ Codec messages.Codec }

func (e *CodecError) Error() string {
	switch e.Codec {
	case messages.H264:
		return "offer refused: the stream is H264, and the video section has no H264 with packetization-mode=1 (RFC 6184); offer it"
	case messages.H265:
		return "offer refused: the stream is H265, and the video section has no H265 of main profile (RFC 7798); use a viewer that decodes it, or have the camera encode H264"
	}
	return fmt.Sprintf("offer refused: the stream is %s, which no viewer is sent", e.Codec)
}

// offer is what we read from an SDP offer before pion does.
type offer struct {
	sdp     string
	parsed  *sdp.SessionDescription
	trickle bool // a=ice-options:trickle (RFC 8840 4.1.1)
	talks   bool // the viewer may send a track of its own

	credentials string                    // of ICE; others than before mean that it restarts (RFC 8839 4.4.1.1.1)
	receive     map[messages.Track]string // mid of the first section in which the viewer receives the track
	named       []messages.Candidate      // with names for addresses, which were in it
}

// readOffer checks what would otherwise fail late or not at all, with a reason for each.
func readOffer(text string) (offer, error) {
	o := offer{sdp: text, receive: map[messages.Track]string{}}
	if len(text) > offerBytesMax {
		return o, &OfferError{"it is longer than 64 KiB"}
	}
	d := &sdp.SessionDescription{}
	if err := d.UnmarshalString(text); err != nil {
		return o, &OfferError{"it is not SDP (RFC 8866)"} // the parser's error quotes the text
	}
	o.parsed = d
	switch {
	case len(d.MediaDescriptions) == 0:
		return o, &OfferError{"it has no media section"}
	case len(d.MediaDescriptions) > offerSectionsMax:
		return o, &OfferError{"it has more than 32 media sections"}
	}
	o.trickle = trickles(d.Attributes)
	for _, m := range d.MediaDescriptions {
		o.trickle = o.trickle || trickles(m.Attributes)
		if err := o.readSection(m); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *offer) readSection(m *sdp.MediaDescription) error {
	mid, _ := m.Attribute(sdp.AttrKeyMID)
	_, fingerprint := inherited(o.parsed, m, "fingerprint")
	ufrag, hasUfrag := inherited(o.parsed, m, "ice-ufrag")
	password, hasPassword := inherited(o.parsed, m, "ice-pwd")
	setup, _ := inherited(o.parsed, m, sdp.AttrKeyConnectionSetup)
	if _, bundled := m.Attribute("bundle-only"); m.MediaName.Port.Value == 0 && !bundled {
		return nil // rejected by the offerer itself (RFC 3264 6)
	}
	if o.credentials == "" {
		o.credentials = ufrag + ":" + password
	}
	switch {
	case mid == "":
		return &OfferError{"a media section has no a=mid; offer with BUNDLE (RFC 8843)"}
	case !fingerprint:
		return &OfferError{"it has no DTLS fingerprint (RFC 8827 6.5)"}
	case !hasUfrag || !hasPassword:
		return &OfferError{"it has no ICE credentials (RFC 8839 5.4)"}
	case setup == "passive": // RFC 8842 5.2 asks for actpass
		return &OfferError{"it insists on being the DTLS server; offer a=setup:actpass"}
	}
	o.takeNamed(mid, m)
	_, sendOnly := m.Attribute(sdp.AttrKeySendOnly)
	_, inactive := m.Attribute(sdp.AttrKeyInactive)
	_, receiveOnly := m.Attribute(sdp.AttrKeyRecvOnly)
	o.talks = o.talks || !inactive && !receiveOnly && m.MediaName.Media != "application"
	if sendOnly || inactive {
		return nil
	}
	for _, track := range []messages.Track{messages.Video, messages.Audio} {
		if _, have := o.receive[track]; !have && m.MediaName.Media == track.String() {
			o.receive[track] = mid
		}
	}
	return nil
}

// inherited reads an attribute of a section that the session may have in its place (RFC 8839 5.4, RFC
// 8122 5).
func inherited(d *sdp.SessionDescription, m *sdp.MediaDescription, key string) (string, bool) {
	if v, ok := m.Attribute(key); ok {
		return v, true
	}
	return d.Attribute(key)
}

func trickles(attributes []sdp.Attribute) bool {
	for _, a := range attributes {
		if a.Key == "ice-options" {
			for option := range strings.FieldsSeq(a.Value) {
				if option == "trickle" {
					return true
				}
			}
		}
	}
	return false
}
