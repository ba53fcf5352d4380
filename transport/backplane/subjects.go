// The subjects. Every part of a name is one token, encoded so that any client id fits:
//
//	hg.<channel>.master                                     live messages for the master
//	hg.<channel>.viewer.<client id>                         live messages for a viewer
//	undelivered.<channel>.<to>.<from>.<kind>                an offer or answer that waits: one per subject
//	undelivered.<channel>.<to>.<from>.<kind>.<node>.<slot>  any other message that waits
//	$KV.channels.<name>  $KV.streams.<name>  $KV.presence.<channel>  $KV.nodes.<node>
//
// Owner: nobody, pure functions.

package backplane

import (
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	boxSubjects = "undelivered.>"
	kindOffer   = "SDP_OFFER"
	kindAnswer  = "SDP_ANSWER"
)

// token encodes s as one subject token: letters, digits, "-" and "_" stay, everything else becomes
// "=HH". A dot would be a level of its own in a subject.
func token(s string) string {
	var out strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "=%02X", c)
		}
	}
	if out.Len() == 0 {
		return "="
	}
	return out.String()
}

// untoken is what token encoded.
func untoken(t string) string {
	if t == "=" {
		return ""
	}
	var out strings.Builder
	for i := 0; i < len(t); i++ {
		if b, err := hex.DecodeString(t[min(i+1, len(t)):min(i+3, len(t))]); t[i] == '=' && err == nil && len(b) == 1 {
			out.WriteByte(b[0])
			i += 2
		} else {
			out.WriteByte(t[i])
		}
	}
	return out.String()
}

// party is one token for one end of a conversation; client "" is the master.
func party(client string) string {
	if client == "" {
		return "master"
	}
	return "v-" + token(client)
}

func liveSubject(channel, client string) string {
	if client == "" {
		return "hg." + token(channel) + ".master"
	}
	return "hg." + token(channel) + ".viewer." + token(client)
}

// boxFilter matches all that waits for one recipient.
func boxFilter(channel, to string) string {
	return "undelivered." + token(channel) + "." + party(to) + ".>"
}

func boxSubject(e Envelope) string {
	return "undelivered." + token(e.Channel) + "." + party(e.To) + "." + party(e.From) + "." + token(e.Kind)
}
