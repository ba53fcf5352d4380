package device

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// iceEndpoint answers GetIceServerConfig, or refuses it.
func iceEndpoint(t *testing.T, refuse bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/get-ice-server-config" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if refuse {
			w.Header().Set("x-amzn-ErrorType", "NotAuthorizedException")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"Message":"no"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"IceServerList": []any{map[string]any{
			"Password": "p", "Ttl": 300, "Username": "u",
			"Uris": []string{"turn:127.0.0.1:3478?transport=udp", "turn:127.0.0.1:3478?transport=tcp"},
		}}})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func stageGatherer(t *testing.T) *stage {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	engine, err := rtc.NewEngine(rtc.EngineConfig{ListenUDP: "127.0.0.1:0", IncludeLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	return newStage(t, Config{Region: "us-west-2", ControlPlane: "https://localhost", ClientID: "m"}, "gatherer", func(p *parts) actor.Actor {
		p.engine = engine
		p.aws = aws.NewClient(aws.ClientConfig{Region: "us-west-2", HTTP: &http.Client{Transport: transport}})
		return newGatherer(p)
	}, "viewers", "session")
}

func TestGathererPublishesToViewersAndSession(t *testing.T) {
	s := stageGatherer(t)
	defer s.stop(t)
	s.sys.Tell(pathGatherer, &messages.Credentials{AccessKeyID: "a", SecretAccessKey: "s"})
	ready := &messages.ChannelReady{ChannelARN: "arn", Region: "us-west-2", HTTPSEndpoint: iceEndpoint(t, false)}
	s.sys.Tell(pathGatherer, ready)
	set := told[*messages.IceServers](t, s, "session")
	if told[*messages.IceServers](t, s, "viewers") != set {
		t.Fatal("viewers were told another set")
	}
	if set.Err != nil || len(set.Servers) != 2 || set.Servers[0].URLs[0] != "stun:127.0.0.1:3478" || set.Servers[1].Password != "p" {
		t.Fatalf("got %d servers, error %v", len(set.Servers), set.Err)
	}
	if left := time.Until(set.Expires); left < 4*time.Minute || left > 5*time.Minute {
		t.Fatalf("expires in %v", left)
	}
	s.sys.Tell(pathGatherer, ready) // the session has reconnected
	if told[*messages.IceServers](t, s, "session") != set {
		t.Fatal("a set that is still fresh was fetched again")
	}
}

func TestGathererPublishesAFailureToo(t *testing.T) {
	s := stageGatherer(t)
	defer s.stop(t)
	s.sys.Tell(pathGatherer, &messages.Credentials{AccessKeyID: "a", SecretAccessKey: "s"})
	s.sys.Tell(pathGatherer, &messages.ChannelReady{ChannelARN: "arn", HTTPSEndpoint: iceEndpoint(t, true)})
	if set := told[*messages.IceServers](t, s, "session"); !aws.IsType(set.Err, "NotAuthorizedException") {
		t.Fatalf("session was told %v", set.Err)
	}
}
