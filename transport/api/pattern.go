package api

import (
	"fmt"
	"regexp"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// The published patterns of the members (kvs-protocol.md 1.3).
const (
	channelNameCharsMax = 256
	arnCharsMax         = 1024
	versionCharsMax     = 64
	tokenCharsMax       = 1024
	tagsMax             = 50
	tagKeyCharsMax      = 128
	tagValueCharsMax    = 256
	messageTTLMinS      = 5
	messageTTLMaxS      = 120
	listMax             = 10_000
	listDefault         = 500
)

var (
	channelNamePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)
	arnPattern         = regexp.MustCompile(`^arn:[a-z\d-]+:kinesisvideo:[a-z0-9-]+:[0-9]+:[a-z]+/[a-zA-Z0-9_.-]+/[0-9]+$`)
	versionPattern     = regexp.MustCompile(`^[a-zA-Z0-9]+$`)
	tokenPattern       = regexp.MustCompile(`^[a-zA-Z0-9+/=]*$`)
	tagPattern         = regexp.MustCompile(`^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$`)
)

// invalid is a refusal that names the member, never its value.
func invalid(format string, args ...any) error {
	return &messages.Refused{Type: "InvalidArgumentException", Message: fmt.Sprintf(format, args...)}
}

func checkText(member, value string, charsMax int, pattern *regexp.Regexp) error {
	if value == "" || len(value) > charsMax || !pattern.MatchString(value) {
		return invalid("%s must have 1 to %d characters of %s", member, charsMax, pattern)
	}
	return nil
}

func checkARN(value string) error { return checkText("ChannelARN", value, arnCharsMax, arnPattern) }

func checkName(value string) error {
	return checkText("ChannelName", value, channelNameCharsMax, channelNamePattern)
}

func checkClientID(value string) error {
	if !signaling.ValidClientID(value) {
		return invalid("ClientId must have 1 to 256 characters of [a-zA-Z0-9_.-] and not begin with AWS_")
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
