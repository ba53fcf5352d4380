package service

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// playerOffer is what a receiving player sends, without the parts that nobody here looks at.
const playerOffer = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-options:trickle\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdabcdabcdabcdabcdabcd\r\n" +
	"a=fingerprint:sha-256 00:11\r\na=mid:0\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\n"

func (r *rig) whep(method, path, body string, header ...string) *http.Response {
	r.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = r.LocalURL + path
	}
	req, err := http.NewRequestWithContext(r.ctx, method, url, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/sdp")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (r *rig) status(resp *http.Response, want int) *http.Response {
	r.Helper()
	if resp.StatusCode != want {
		text, _ := io.ReadAll(resp.Body)
		r.Fatalf("%s %s: %d %s, want %d", resp.Request.Method, resp.Request.URL.Path, resp.StatusCode, text, want)
	}
	return resp
}

func (r *rig) overview() messages.ChannelState {
	r.Helper()
	var o messages.Overview
	if err := json.NewDecoder(r.status(r.whep("GET", "/api/channels", ""), 200).Body).Decode(&o); err != nil || len(o.Channels) != 1 {
		r.Fatal(err, o)
	}
	return o.Channels[0]
}

// answering is a device that answers every offer once.
func (r *rig) answering(master *fakeSocket) (offers chan string) {
	offers = make(chan string, 16)
	answer, _ := signaling.EncodeDescription("answer", "v=0\r\nanswer\r\n")
	go func() {
		for {
			select {
			case text := <-master.out:
				m, err := signaling.DecodeInbound(text)
				if err != nil || m.MessageType != signaling.SDPOffer {
					continue
				}
				_, sdp, _ := signaling.DecodeDescription(m.Payload)
				offers <- sdp
				back, _ := signaling.EncodeOutbound(signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: m.SenderClientID, Payload: answer})
				select {
				case master.in <- back:
				case <-master.closed:
				}
			case <-master.closed:
				return
			}
		}
	}()
	return offers
}

func TestWhepSession(t *testing.T) {
	r := start(t, Config{RelayUDP: "127.0.0.1:0", RelayTCP: "127.0.0.1:0"})
	arn := r.channel("cam")
	offers := r.answering(r.take(arn, "", newFakeSocket(8)))

	options := r.status(r.whep("OPTIONS", "/whep/cam", ""), 204)
	if links := options.Header.Values("Link"); len(links) != 5 || !strings.Contains(links[1], `rel="ice-server"; username="`) {
		t.Errorf("ice servers: %q", links)
	}
	made := r.status(r.whep("POST", "/whep/cam", playerOffer), 201)
	body, _ := io.ReadAll(made.Body)
	location := made.Header.Get("Location")
	if string(body) != "v=0\r\nanswer\r\n" || made.Header.Get("Content-Type") != "application/sdp" || made.Header.Get("ETag") == "" ||
		!strings.HasPrefix(location, "/whep/cam/") || len(made.Header.Values("Link")) != 5 {
		t.Fatalf("answer %q, header %v", body, made.Header)
	}
	if offer := <-offers; strings.Contains(offer, "trickle") || !strings.Contains(offer, "m=video 9 UDP/TLS/RTP/SAVPF 96") {
		t.Errorf("the device got the offer %q", offer)
	}
	if c := r.overview(); !c.Master || c.Viewers != 1 || c.ViewersMax != 10 {
		t.Errorf("overview %+v", c)
	}
	if alive := r.status(r.whep("HEAD", location, ""), 200); alive.Header.Get("ETag") != made.Header.Get("ETag") {
		t.Error("the session's ETag changed")
	}
	r.status(r.whep("PATCH", location, ""), 405)
	r.status(r.whep("DELETE", location, ""), 200)
	if c := r.overview(); c.Viewers != 0 {
		t.Errorf("after DELETE: %+v", c)
	}
	r.status(r.whep("DELETE", location, ""), 404)
	r.status(r.whep("HEAD", location, ""), 404)
}

func TestWhepRefusals(t *testing.T) {
	r := start(t, Config{Limits: Limits{ViewersMax: 1, WhepAnswerMax: 50 * time.Millisecond}})
	arn := r.channel("cam")
	r.status(r.whep("POST", "/whep/nobody", playerOffer), 404)
	if resp := r.status(r.whep("POST", "/whep/cam", playerOffer), 409); resp.Header.Get("Retry-After") == "" {
		t.Error("409 without Retry-After")
	}
	mute := r.take(arn, "", newFakeSocket(8))
	r.status(r.whep("POST", "/whep/cam", playerOffer), 504)
	r.until("the mute session's slot is free", func() bool { return r.overview().Viewers == 0 })
	r.status(r.whep("POST", "/whep/cam", playerOffer, "Content-Type", "text/plain"), 415)
	r.status(r.whep("POST", "/whep/cam", strings.Repeat("x", 70<<10)), 413)
	r.status(r.whep("GET", "/whep/cam", ""), 405)
	for _, bad := range []string{"", "no sdp", "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", strings.Replace(playerOffer, "a=ice-ufrag:abcd\r\n", "", 1)} {
		text, _ := io.ReadAll(r.status(r.whep("POST", "/whep/cam", bad), 400).Body)
		if !strings.HasPrefix(string(text), "the offer cannot be used: ") {
			t.Errorf("%q", text)
		}
	}
	r.take(arn, "only", newFakeSocket(8))
	if resp := r.status(r.whep("POST", "/whep/cam", playerOffer), 503); resp.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if m := r.next(mute); m.MessageType != signaling.SDPOffer || !strings.HasPrefix(m.SenderClientID, "whep-") {
		t.Errorf("the device got %+v", m)
	}
}

func TestWhepUnseenPlayerLosesItsSlot(t *testing.T) {
	r := start(t, Config{Limits: Limits{WhepUnseenMax: 50 * time.Millisecond}})
	r.answering(r.take(r.channel("cam"), "", newFakeSocket(8)))
	r.status(r.whep("POST", "/whep/cam", playerOffer), 201)
	r.until("the slot is free", func() bool { return r.overview().Viewers == 0 })
}

func TestGuards(t *testing.T) {
	r := start(t, Config{WhepToken: "secret", Origins: []string{"https://player.example"}})
	r.channel("cam")
	for _, c := range []struct {
		name, method, path string
		status             int
		header             []string
	}{
		{"public, no token", "GET", r.PublicURL + "/api/channels", 401, nil},
		{"public, wrong token", "GET", r.PublicURL + "/api/channels", 401, []string{"Authorization", "Bearer wrong"}},
		{"public, token", "GET", r.PublicURL + "/api/channels", 200, []string{"Authorization", "Bearer secret"}},
		{"ice servers need the token", "OPTIONS", r.PublicURL + "/whep/cam", 401, nil},
		{"page needs none", "GET", r.PublicURL + "/", 200, nil},
		{"rebound name, public", "GET", r.PublicURL + "/", 403, []string{"Host", "evil.example"}},
		{"rebound name, local", "GET", "/api/channels", 403, []string{"Host", "evil.example"}},
		{"local needs no token", "GET", "/api/channels", 200, nil},
		{"foreign page", "GET", "/api/channels", 403, []string{"Origin", "https://evil.example"}},
		{"null origin", "POST", "/whep/cam", 403, []string{"Origin", "null"}},
		{"own page", "GET", "/api/channels", 200, []string{"Origin", r.LocalURL}},
		{"configured page", "GET", "/api/channels", 200, []string{"Origin", "https://player.example"}},
		{"preflight", "OPTIONS", r.PublicURL + "/whep/cam", 204, []string{"Origin", "https://player.example", "Access-Control-Request-Method", "POST"}},
		{"signed door preflight", "OPTIONS", r.PublicURL + "/describeSignalingChannel", 204, []string{"Origin", "https://any.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := r.whep(c.method, c.path, "", c.header...)
			if resp.StatusCode != c.status {
				t.Fatalf("%d, want %d", resp.StatusCode, c.status)
			}
			allowed := resp.Header.Get("Access-Control-Allow-Origin")
			switch {
			case strings.Contains(c.path, "describe") && (allowed != "*" || resp.Header.Get("Access-Control-Allow-Headers") != "authorization"):
				t.Errorf("signed door: %v", resp.Header)
			case !strings.Contains(c.path, "describe") && allowed == "*":
				t.Error("any origin may use a door that needs no signature")
			}
		})
	}
}
