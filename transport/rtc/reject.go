package rtc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// Reject answers an offer with every section rejected (RFC 8829 5.3.1: port 0), so that the viewer
// learns at once that it will not be served, instead of waiting. The reason, one line, is the session's
// information (RFC 8866 5.4). It takes no peer and no socket.
func (e *Engine) Reject(text, reason string) (string, error) {
	offer, err := readOffer(text)
	if err != nil {
		return "", err
	}
	fingerprints, err := e.certificate.GetFingerprints()
	if err != nil || len(fingerprints) == 0 {
		return "", fmt.Errorf("reject offer: read own fingerprint: %w", err)
	}
	answer := sdp.SessionDescription{
		Origin:           sdp.Origin{Username: "-", SessionID: rand.Uint64() >> 1, SessionVersion: 1, NetworkType: "IN", AddressType: "IP4", UnicastAddress: "127.0.0.1"},
		SessionName:      "-",
		TimeDescriptions: []sdp.TimeDescription{{}},
	}
	if reason != "" {
		information := sdp.Information(reason)
		answer.SessionInformation = &information
	}
	// pion refuses an answer without these, for all that nothing will use them.
	answer.WithValueAttribute("ice-ufrag", "rejected").WithValueAttribute("ice-pwd", "rejectedrejectedrejected").
		WithFingerprint(fingerprints[0].Algorithm, fingerprints[0].Value).WithValueAttribute(sdp.AttrKeyConnectionSetup, "passive")
	for _, offered := range offer.parsed.MediaDescriptions {
		section := &sdp.MediaDescription{MediaName: offered.MediaName, ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"},
		}}
		section.MediaName.Port = sdp.RangedPort{}
		for _, a := range offered.Attributes { // nor a format without its mapping
			if format, _, _ := strings.Cut(a.Value, " "); a.Key == "rtpmap" && slices.Contains(offered.MediaName.Formats, format) {
				section.Attributes = append(section.Attributes, a)
			}
		}
		if mid, ok := offered.Attribute(sdp.AttrKeyMID); ok {
			section.WithValueAttribute(sdp.AttrKeyMID, mid)
		}
		answer.WithMedia(section.WithPropertyAttribute(sdp.AttrKeyInactive))
	}
	rejection, err := answer.Marshal()
	if err != nil {
		return "", fmt.Errorf("reject offer: %w", err)
	}
	return string(rejection), nil
}
