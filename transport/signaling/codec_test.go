package signaling

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/heliograph-rtc/heliograph/messages"
)

func TestEncodeOutbound(t *testing.T) {
	got, err := EncodeOutbound(Outbound{Action: SDPAnswer, RecipientClientID: "v", CorrelationID: "c", Payload: "AA=="})
	if want := `{"action":"SDP_ANSWER","messagePayload":"AA==","recipientClientId":"v","correlationId":"c"}`; err != nil || string(got) != want {
		t.Errorf("%s %v", got, err)
	}
	got, err = EncodeOutbound(Outbound{Action: ICECandidate, Payload: "AAAA"})
	if want := `{"action":"ICE_CANDIDATE","messagePayload":"AAAA"}`; err != nil || string(got) != want {
		t.Errorf("%s %v", got, err)
	}
}

// The spellings of kvs-protocol.md 3.4.
func TestDecodeOutboundOfEveryClient(t *testing.T) {
	for name, c := range map[string]struct {
		frame string
		want  Outbound
	}{
		"javascript": {`{"action":"SDP_OFFER","messagePayload":"AAAA","correlationId":"1.a_b-C"}`,
			Outbound{Action: SDPOffer, Payload: "AAAA", CorrelationID: "1.a_b-C"}},
		"c master": {"{\n\t\"action\": \"SDP_ANSWER\",\n\t\"RecipientClientId\": \"v-1\",\n\t\"MessagePayload\": \"AAA=\",\n\t\"CorrelationId\": \"7\"\n}",
			Outbound{Action: SDPAnswer, RecipientClientID: "v-1", Payload: "AAA=", CorrelationID: "7"}},
		"c viewer": {`{"action":"SDP_OFFER","RecipientClientId":"","MessagePayload":"AA==","IceServerList":[{"Password":"p","Ttl":298,"Uris":["turn:a:443"],"Username":"u"}]}`,
			Outbound{Action: SDPOffer, Payload: "AA=="}},
		"null members": {`{"action":"ICE_CANDIDATE","messagePayload":"AA==","recipientClientId":null,"correlationId":null} `,
			Outbound{Action: ICECandidate, Payload: "AA=="}},
		"longest": {`{"action":"SDP_OFFER","messagePayload":"` + strings.Repeat("A", PayloadCharsMax) + `","recipientClientId":"` + strings.Repeat("v", 256) + `"}`,
			Outbound{Action: SDPOffer, Payload: strings.Repeat("A", PayloadCharsMax), RecipientClientID: strings.Repeat("v", 256)}},
	} {
		if got, err := DecodeOutbound([]byte(c.frame)); err != nil || got != c.want {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func TestDecodeOutboundRefuses(t *testing.T) {
	for name, c := range map[string]struct{ frame, correlation, reason string }{
		"nothing":           {``, "", "JSON"},
		"not JSON":          {`{"action":`, "", "JSON"},
		"two values":        {`{"action":"SDP_OFFER","messagePayload":"AAAA"}{}`, "", "JSON"},
		"not an object":     {`[]`, "", "object"},
		"null":              {`null`, "", "object"},
		"not UTF-8":         {"{\"action\":\"\xff\"}", "", "UTF-8"},
		"unknown action":    {`{"action":"GO_AWAY","messagePayload":"AAAA","correlationId":"7"}`, "7", "action"},
		"no payload":        {`{"action":"SDP_OFFER","correlationId":"7"}`, "7", "missing"},
		"payload a number":  {`{"action":"SDP_OFFER","messagePayload":5,"correlationId":"7"}`, "7", "wrong type"},
		"payload no base64": {`{"action":"SDP_OFFER","messagePayload":"a-_=","correlationId":"7"}`, "7", "base64"},
		"payload unpadded":  {`{"action":"SDP_OFFER","messagePayload":"AAA","correlationId":"7"}`, "7", "base64"},
		"line end in it":    {`{"action":"SDP_OFFER","messagePayload":"AAA\n","correlationId":"7"}`, "7", "base64"},
		"payload too long":  {`{"action":"SDP_OFFER","messagePayload":"` + strings.Repeat("A", 10004) + `","correlationId":"7"}`, "7", "10004 characters, 10000"},
		"bad recipient":     {`{"action":"SDP_OFFER","messagePayload":"AAAA","recipientClientId":"a b","correlationId":"7"}`, "7", "recipientClientId"},
		"long recipient":    {`{"action":"SDP_OFFER","messagePayload":"AAAA","recipientClientId":"` + strings.Repeat("a", 257) + `"}`, "", "recipientClientId"},
		"bad correlation":   {`{"action":"SDP_OFFER","messagePayload":"AAAA","correlationId":"<7>"}`, "", "correlationId"},
		"too long":          {`{"action":"SDP_OFFER","messagePayload":"AAAA","x":"` + strings.Repeat("A", MessageBytesMax) + `"}`, "", "bytes"},
	} {
		_, err := DecodeOutbound([]byte(c.frame))
		var e *FormatError
		if !errors.As(err, &e) || e.CorrelationID != c.correlation || !strings.Contains(e.Reason, c.reason) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestEncodeOutboundRefuses(t *testing.T) {
	for _, m := range []Outbound{
		{}, {Action: SDPOffer}, {Action: GoAway, Payload: "AAAA"}, {Action: SDPOffer, Payload: "A"},
		{Action: SDPOffer, Payload: strings.Repeat("A", PayloadCharsMax+4)}, {Action: SDPOffer, Payload: "AAAA", RecipientClientID: "ä"},
		{Action: SDPOffer, Payload: "AAAA", CorrelationID: strings.Repeat("c", 257)},
	} {
		var e *FormatError
		if frame, err := EncodeOutbound(m); !errors.As(err, &e) {
			t.Errorf("%+v: %s %v", m, frame, err)
		}
	}
}

// Order and omissions of kvs-protocol.md 3.5 and 7.4.
func TestEncodeInbound(t *testing.T) {
	for _, c := range []struct {
		m    Inbound
		want string
	}{
		{Inbound{MessageType: SDPOffer, SenderClientID: "v", Payload: "AAAA"}, `{"messagePayload":"AAAA","messageType":"SDP_OFFER","senderClientId":"v"}`},
		{Inbound{MessageType: SDPAnswer, Payload: "AAAA"}, `{"messagePayload":"AAAA","messageType":"SDP_ANSWER"}`},
		{Inbound{MessageType: GoAway}, `{"messageType":"GO_AWAY"}`},
		{Inbound{MessageType: StatusResponse, Status: &Status{CorrelationID: "7", ErrorType: "InvalidArgumentException", StatusCode: "400", Description: "a <b> & c"}},
			`{"messageType":"STATUS_RESPONSE","statusResponse":{"correlationId":"7","errorType":"InvalidArgumentException","statusCode":"400","description":"a <b> & c"}}`},
		{Inbound{MessageType: StatusResponse, Status: &Status{CorrelationID: "7", StatusCode: "400", Failed: true}},
			`{"messageType":"STATUS_RESPONSE","statusResponse":{"correlationId":"7","errorType":"","statusCode":"400","description":"","success":false}}`},
	} {
		got, err := EncodeInbound(c.m)
		if err != nil || string(got) != c.want {
			t.Errorf("%s %v, want %s", got, err, c.want)
		}
		if back, err := DecodeInbound(got); err != nil || !reflect.DeepEqual(back, c.m) {
			t.Errorf("back: %+v %v", back, err)
		}
	}
}

func TestInboundRefuses(t *testing.T) {
	var e *FormatError
	for _, frame := range []string{
		`{}`, `{"messageType":"SDP_OFFER"}`, `{"messageType":"SDP_OFFER","messagePayload":"A"}`, `{"messageType":"STATUS_RESPONSE"}`,
		`{"messageType":"STATUS_RESPONSE","statusResponse":null}`, `{"messageType":"STATUS_RESPONSE","statusResponse":{"statusCode":400}}`,
		`{"messageType":"SDP_OFFER","messagePayload":"AAAA","senderClientId":"a/b"}`, `{"messageType":"SDP_OFFER","messagePayload":"AAAA"} x`, `"SDP_OFFER"`,
	} {
		if m, err := DecodeInbound([]byte(frame)); !errors.As(err, &e) {
			t.Errorf("%s: %+v %v", frame, m, err)
		}
	}
	for _, m := range []Inbound{
		{}, {MessageType: SDPOffer, Payload: strings.Repeat("A", PayloadCharsMax+4)}, {MessageType: StatusResponse},
		{MessageType: StatusResponse, Status: &Status{Description: strings.Repeat("d", 1025)}}, {MessageType: SDPOffer, Payload: "AAAA", SenderClientID: " "},
	} {
		if frame, err := EncodeInbound(m); !errors.As(err, &e) {
			t.Errorf("%+v: %s %v", m, frame, err)
		}
	}
}

func TestDecodeInboundTolerates(t *testing.T) {
	for frame, want := range map[string]Inbound{
		`{"messageType":"GO_AWAY","messagePayload":"","senderClientId":"","statusResponse":null}`:                              {MessageType: GoAway},
		`{"MessageType":"RECONNECT_ICE_SERVER","x":[{}]}`:                                                                      {MessageType: ReconnectICEServer},
		`{"messageType":"SOMETHING_NEW","messagePayload":"AAAA"}`:                                                              {MessageType: "SOMETHING_NEW", Payload: "AAAA"},
		`{"messageType":"STATUS_RESPONSE","statusResponse":{"correlationId":"7","statusCode":"400","success":false}}`:          {MessageType: StatusResponse, Status: &Status{CorrelationID: "7", StatusCode: "400", Failed: true}},
		`{"messageType":"SDP_OFFER","messagePayload":"` + strings.Repeat("A", 18752) + `","senderClientId":"AWS_not_checked"}`: {MessageType: SDPOffer, Payload: strings.Repeat("A", 18752), SenderClientID: "AWS_not_checked"},
	} {
		if got, err := DecodeInbound([]byte(frame)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.80s: %+v %v", frame, got, err)
		}
	}
}

func TestValidClientID(t *testing.T) {
	for id, want := range map[string]bool{
		"viewer-1_a.B": true, strings.Repeat("a", 256): true, "AW": true, "xAWS_": true, "AWS-1": true,
		"": false, strings.Repeat("a", 257): false, "AWS_": false, "aWs_x": false, "a b": false, "a/b": false, "ä": false, "a\n": false,
	} {
		if got := ValidClientID(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}

func TestDescription(t *testing.T) {
	const sdp = "v=0\r\na=x:<\"&\\>\r\n"
	payload, err := EncodeDescription("offer", sdp)
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(payload)
	if want := `{"type":"offer","sdp":"v=0\r\na=x:<\"&\\>\r\n"}`; err != nil || string(text) != want {
		t.Errorf("%s %v", text, err)
	}
	if kind, back, err := DecodeDescription(payload); kind != "offer" || back != sdp || err != nil {
		t.Errorf("%s %q %v", kind, back, err)
	}
	var e *FormatError
	for _, text := range []string{``, `null`, `{}`, `{"type":"offer"}`, `{"type":"rollback","sdp":"v=0"}`, `{"type":"offer","sdp":"v=0"}.`, `{"type":"offer","sdp":1}`, "{\"type\":\"offer\",\"sdp\":\"v=0\r\n\"}"} {
		if kind, _, err := DecodeDescription(base64.StdEncoding.EncodeToString([]byte(text))); !errors.As(err, &e) {
			t.Errorf("%q: %q %v", text, kind, err)
		}
	}
	for _, c := range [][2]string{{"pranswer", "v=0"}, {"offer", ""}, {"answer", "\xff"}, {"offer", strings.Repeat("a", 7500)}} {
		if _, err := EncodeDescription(c[0], c[1]); !errors.As(err, &e) {
			t.Errorf("%.20q: %v", c, err)
		}
	}
	if _, _, err := DecodeDescription("AAA"); !errors.As(err, &e) {
		t.Error(err)
	}
}

func TestCandidate(t *testing.T) {
	mid, index, ufrag := "0", uint16(0), "abcd"
	const line = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
	for want, c := range map[string]messages.Candidate{
		`{"candidate":"` + line + `","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"abcd"}`: {Candidate: line, SDPMid: &mid, SDPMLineIndex: &index, UsernameFragment: &ufrag},
		`{"candidate":"` + line + `","sdpMLineIndex":0}`:                                        {Candidate: line, SDPMLineIndex: &index},
		`{"candidate":""}`: {},
	} {
		payload, err := EncodeCandidate(c)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := base64.StdEncoding.DecodeString(payload); string(text) != want {
			t.Errorf("%s, want %s", text, want)
		}
		if back, err := DecodeCandidate(payload); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%+v %v", back, err)
		}
	}
	var e *FormatError
	for _, text := range []string{`null`, `{}`, `{"candidate":null}`, `{"candidate":"x","sdpMLineIndex":-1}`, `{"candidate":"x","sdpMLineIndex":65536}`, `{"candidate":["x"]}`, `{"candidate":"x"} {}`} {
		if c, err := DecodeCandidate(base64.StdEncoding.EncodeToString([]byte(text))); !errors.As(err, &e) {
			t.Errorf("%s: %+v %v", text, c, err)
		}
	}
}

func FuzzDecodeOutbound(f *testing.F) {
	f.Add([]byte(`{"action":"SDP_OFFER","RecipientClientId":"","MessagePayload":"AA==","correlationId":"7"}`))
	f.Add([]byte(`{"action":"ICE_CANDIDATE","messagePayload":"AAAA","recipientClientId":"v"}`))
	f.Add([]byte(`{"action":5,"correlationId":"7"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := DecodeOutbound(frame)
		var e *FormatError
		if err != nil {
			if !errors.As(err, &e) || m != (Outbound{}) || (e.CorrelationID != "" && !validID(e.CorrelationID)) {
				t.Fatalf("%+v %v", m, err)
			}
			return
		}
		again, err := EncodeOutbound(m)
		if err != nil {
			t.Fatalf("decoded but not encodable: %v", err)
		}
		if back, err := DecodeOutbound(again); err != nil || back != m {
			t.Fatalf("%+v became %+v, %v", m, back, err)
		}
	})
}

func FuzzDecodeInbound(f *testing.F) {
	f.Add([]byte(`{"messagePayload":"AAAA","messageType":"SDP_OFFER","senderClientId":"v"}`))
	f.Add([]byte(`{"messageType":"STATUS_RESPONSE","statusResponse":{"correlationId":"7","errorType":"x","statusCode":"400","description":"d"}}`))
	f.Add([]byte(`{"messageType":"GO_AWAY"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := DecodeInbound(frame)
		if err != nil {
			var e *FormatError
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			return
		}
		if len(m.Payload) > PayloadCharsMax || m.Status != nil && len(m.Status.Description) > DescriptionBytesMax {
			return // may be received, may not be sent
		}
		again, err := EncodeInbound(m)
		if err != nil {
			t.Fatalf("decoded but not encodable: %v", err)
		}
		if back, err := DecodeInbound(again); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v became %+v, %v", m, back, err)
		}
	})
}

func FuzzDecodeDescription(f *testing.F) {
	for _, text := range []string{`{"type":"offer","sdp":"v=0\r\n"}`, `{"SDP":"\ud800","type":"answer"}`, `{"type":"offer"}`} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(text)))
	}
	f.Fuzz(func(t *testing.T, payload string) {
		kind, sdp, err := DecodeDescription(payload)
		var e *FormatError
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			return
		}
		again, err := EncodeDescription(kind, sdp)
		if errors.As(err, &e) && strings.Contains(e.Reason, "characters") {
			return // longer than what may be sent
		}
		if err != nil {
			t.Fatal(err)
		}
		if k, s, err := DecodeDescription(again); err != nil || k != kind || s != sdp {
			t.Fatalf("%q %q became %q %q, %v", kind, sdp, k, s, err)
		}
	})
}

func FuzzDecodeCandidate(f *testing.F) {
	for _, text := range []string{`{"candidate":"candidate:1 1 udp 1 192.0.2.1 1 typ host","sdpMid":"0","sdpMLineIndex":0}`, `{"candidate":"","usernameFragment":null}`, `null`} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(text)))
	}
	f.Fuzz(func(t *testing.T, payload string) {
		c, err := DecodeCandidate(payload)
		var e *FormatError
		if err != nil {
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			return
		}
		again, err := EncodeCandidate(c)
		if errors.As(err, &e) && strings.Contains(e.Reason, "characters") {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeCandidate(again); err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%+v became %+v, %v", c, back, err)
		}
	})
}
