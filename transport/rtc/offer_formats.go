package rtc

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// trimmed is the offer without the formats that we would not answer with: VP8, AV1, redundancy, H.264 in
// other profiles than the best. A browser offers some forty, and pion reads all attributes of a section anew
// for each of its formats, twice: that was two thirds of what an answer takes. A section that has none of
// ours stays as it is.
func (o *offer) trimmed() string {
	less := *o.parsed
	less.MediaDescriptions = nil
	for _, m := range o.parsed.MediaDescriptions {
		less.MediaDescriptions = append(less.MediaDescriptions, trimSection(m))
	}
	if slices.Equal(less.MediaDescriptions, o.parsed.MediaDescriptions) && len(o.named) == 0 {
		return o.sdp
	}
	text, err := less.Marshal()
	if err != nil {
		return o.sdp
	}
	return string(text)
}

func trimSection(m *sdp.MediaDescription) *sdp.MediaDescription {
	ours := ourFormats(m)
	if len(ours) == 0 || len(ours) == len(m.MediaName.Formats) {
		return m
	}
	less := *m
	less.MediaName.Formats = ours
	less.Attributes = slices.DeleteFunc(slices.Clone(m.Attributes), func(a sdp.Attribute) bool {
		payloadType, ok := formatOf(a)
		return ok && payloadType != "*" && !slices.Contains(ours, payloadType) // RFC 4585 4.2: * is all of them
	})
	return &less
}

// formatOf is the payload type that an attribute describes (RFC 8866 6.6, 6.15; RFC 4585 4.2).
func formatOf(a sdp.Attribute) (payloadType string, ok bool) {
	switch a.Key {
	case "rtpmap", "fmtp", "rtcp-fb":
		payloadType, _, _ = strings.Cut(a.Value, " ")
		return payloadType, true
	}
	return "", false
}

// ourFormats are the payload types of a section that an answer may have, in the offer's order: of each codec
// that we send the one that chooseCodec prefers, and its retransmission.
func ourFormats(m *sdp.MediaDescription) []string {
	offered := offeredFormats(m)
	keep := map[string]bool{}
	for codec := range mimeTypes {
		format, ok := chooseCodec(codec, offered)
		if !ok {
			continue
		}
		keep[strconv.Itoa(int(format.PayloadType))] = true
		if rtx, ok := rtxOf(format, offered); ok {
			keep[strconv.Itoa(int(rtx.PayloadType))] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(m.MediaName.Formats), func(payloadType string) bool { return !keep[payloadType] })
}

func offeredFormats(m *sdp.MediaDescription) (formats []webrtc.RTPCodecParameters) {
	names, parameters := map[string]string{"0": "PCMU", "8": "PCMA"}, map[string]string{} // RFC 3551 6: these need no rtpmap
	for _, a := range m.Attributes {
		payloadType, value, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap":
			names[payloadType], _, _ = strings.Cut(value, "/")
		case "fmtp":
			parameters[payloadType] = value
		}
	}
	for _, payloadType := range m.MediaName.Formats {
		if n, err := strconv.ParseUint(payloadType, 10, 7); err == nil {
			formats = append(formats, webrtc.RTPCodecParameters{PayloadType: webrtc.PayloadType(n), RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: m.MediaName.Media + "/" + names[payloadType], SDPFmtpLine: parameters[payloadType],
			}})
		}
	}
	return formats
}
