//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/heliograph-rtc/heliograph/actors/service"
)

// TestJavaScriptSDK: the official JavaScript WebRTC SDK, unmodified, watches over wss:// in Chromium. Its REST
// calls are made here, because in a browser they belong to another SDK (awssdk_test.go holds that one).
func TestJavaScriptSDK(t *testing.T) {
	site := sdkSite(t)
	w := newWorld(t)
	b := sdkBrowser(t, w.Service, site+"/sdk-viewer.html")
	value[bool](t, b, "watch("+sdkConfig(t, w.Service, "VIEWER", "e2e-sdk", "all")+")")
	b.holds(t, playWithin, `sdk.playing`, `sdk`)
	b.holds(t, playWithin, `sdk.received.includes("pong")`, `sdk`)
	b.played(t, w, "await sdk.measure()")
	if faults := value[[]string](t, b, "sdk.faults"); len(faults) > 0 {
		t.Errorf("the SDK's signaling client reported %q", faults)
	}
	shot := b.picture(t)
	keep(t, "sdk.png", shot)
	b.showsPicture(t, shot, "video")
	if v := w.viewer(t); v.ClientID != "e2e-sdk" || v.DataReceived == 0 {
		t.Errorf("the device sees the viewer as %+v", v)
	}
}

// sdkSite serves the pages of testdata with the SDK in its official build.
func sdkSite(t *testing.T) (url string) {
	t.Helper()
	sdk := packageFile(t, "amazon-kinesis-video-streams-webrtc/dist/kvs-webrtc.min.js")
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	mux.HandleFunc("/kvs-webrtc.min.js", func(rw http.ResponseWriter, r *http.Request) { http.ServeFile(rw, r, sdk) })
	mux.HandleFunc("/favicon.ico", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) })
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	return site.URL
}

// sdkBrowser opens a page in a Chromium that trusts the service's key by its fingerprint: no certificate
// is ignored that is not ours.
func sdkBrowser(t *testing.T, s *service.Service, page string) *browser {
	t.Helper()
	b := newBrowser(t, chromedp.Flag("ignore-certificate-errors-spki-list", fingerprint(t, s)))
	b.do(t, chromedp.Navigate(page))
	return b
}

// sdkConfig is what the SDK needs in a role, as JSON: endpoint, credentials, ICE servers. policy is
// the browser's: all, or relay alone.
func sdkConfig(t *testing.T, s *service.Service, role, clientID, policy string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	client := kvs(t, s)
	described, err := client.DescribeChannel(ctx, s.Credentials, channel)
	if err != nil {
		t.Fatalf("describe channel: %v", err)
	}
	endpoints, err := client.Endpoints(ctx, s.Credentials, described.ARN, role, "WSS", "HTTPS")
	if err != nil {
		t.Fatalf("get endpoints: %v", err)
	}
	if !strings.HasPrefix(endpoints["WSS"], "wss://") {
		t.Fatalf("the WSS endpoint is %q", endpoints["WSS"])
	}
	servers, _, err := client.IceServers(ctx, s.Credentials, endpoints["HTTPS"], described.ARN, clientID)
	if err != nil {
		t.Fatalf("get ICE servers: %v", err)
	}
	type iceServer struct {
		URLs       []string `json:"urls"`
		Username   string   `json:"username,omitempty"`
		Credential string   `json:"credential,omitempty"`
	}
	var ice []iceServer
	for _, server := range servers {
		ice = append(ice, iceServer{server.URLs, server.Username, server.Password})
	}
	config, err := json.Marshal(map[string]any{
		"channelARN": described.ARN, "channelEndpoint": endpoints["WSS"], "region": s.Region, "clientId": clientID, "iceServers": ice, "iceTransportPolicy": policy,
		"credentials": map[string]string{"accessKeyId": s.Credentials.AccessKeyID, "secretAccessKey": s.Credentials.SecretAccessKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(config)
}

// fingerprint is the SHA-256 of the public key that the service shows to whoever trusts its CA.
func fingerprint(t *testing.T, s *service.Service) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.PublicURL, "https://"), &tls.Config{RootCAs: s.CA})
	if err != nil {
		t.Fatalf("dial the service with its CA: %v", err)
	}
	defer conn.Close()
	key, err := x509.MarshalPKIXPublicKey(conn.ConnectionState().PeerCertificates[0].PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(key)
	return base64.StdEncoding.EncodeToString(sum[:])
}
