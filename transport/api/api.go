// Package api holds the service's doors: what comes in over HTTP and WebSocket is verified,
// checked against the published patterns and put to a Backend; the answer goes out in AWS's form.
//
// The flow of a request: listener (listen.go) -> route (below) -> signed doors: signature
// (rest.go), pattern, Backend, one write (control.go); websocket: presigned query,
// admission, 101, socket to its connection (connect.go, socket.go); page and WHEP: Host, origin,
// token (guard.go), then whep.go, overview.go and recordings.go. The devices' door stands apart: certificate,
// role alias, credentials (iot.go, things.go).
//
// The doors hold no state of the service and start no goroutine; one http.Server per listener
// owns its requests.
package api

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// Backend is what the doors ask. Every call heeds its context; a request that the service turns
// down fails with *messages.Refused.
type Backend interface {
	CreateChannel(ctx context.Context, m *messages.CreateChannel) (*messages.ChannelInfo, error)
	DescribeChannel(ctx context.Context, m *messages.DescribeChannel) (*messages.ChannelInfo, error)
	ListChannels(ctx context.Context, m *messages.ListChannels) (*messages.ChannelPage, error)
	UpdateChannel(ctx context.Context, m *messages.UpdateChannel) error
	DeleteChannel(ctx context.Context, m *messages.DeleteChannel) error
	// Endpoint says whether a channel's endpoints may be given out.
	Endpoint(ctx context.Context, m *messages.EndpointWanted) error
	resources
	TurnServers(ctx context.Context, m *messages.TurnWanted) (*messages.TurnServers, error)
	// AlexaOffer returns when the master has answered or the offer has expired.
	AlexaOffer(ctx context.Context, m *messages.AlexaOfferWanted) (*messages.AlexaAnswered, error)
	// JoinStorage returns when an offer is on its way to the caller's websocket.
	JoinStorage(ctx context.Context, m *messages.JoinStorageWanted) error
	Overview(ctx context.Context) (*messages.Overview, error)
	recordings

	// Connect takes a place on a channel. The caller must Take or Abandon the seat.
	Connect(ctx context.Context, m *messages.ConnectWanted) (Seat, error)

	// Play opens a WHEP session and returns when the device has answered.
	Play(ctx context.Context, m *messages.WhepWanted) (*messages.WhepAnswered, error)
	// Touch says that a session is still watched. An unknown session is a ResourceNotFoundException.
	Touch(ctx context.Context, session string) error
	// End closes a session.
	End(ctx context.Context, session string) error
}

// resources are the questions of resources.go and streams.go.
type resources interface {
	ChangeTags(ctx context.Context, m *messages.ChangeTags) error
	Tags(ctx context.Context, m *messages.TagsWanted) (*messages.Tags, error)
	Storage(ctx context.Context, m *messages.StorageWanted) (*messages.Storage, error)
	ChangeStorage(ctx context.Context, m *messages.ChangeStorage) error
	Mapping(ctx context.Context, m *messages.MappingWanted) (*messages.Mapping, error)
	ARN(ctx context.Context, kind, name string) (string, error) // of "channel" or "stream"; of a name without one, what its policy is asked by
	CreateStream(ctx context.Context, m *messages.CreateStream) (*messages.StreamInfo, error)
	DescribeStream(ctx context.Context, m *messages.DescribeStream) (*messages.StreamInfo, error)
	ListStreams(ctx context.Context, m *messages.ListStreams) (*messages.StreamPage, error)
	UpdateStream(ctx context.Context, m *messages.UpdateStream) error
	DeleteStream(ctx context.Context, m *messages.DeleteStream) error
}

// Seat is a place on a channel that waits for its socket.
type Seat interface {
	Take(s messages.Socket) error // the connection owns the socket from here; an error: it is gone
	Abandon()                     // the handshake failed
}

// The doors' own refusals of a WHEP session, besides AWS's exceptions.
const (
	RefusedOffline  = "MasterOffline"  // no device is connected to the channel
	RefusedNoAnswer = "MasterNoAnswer" // the device did not answer in time
	RefusedStored   = "MediaStored"    // media storage is enabled: no viewer talks to the device
)

// Config says how the doors answer.
type Config struct {
	Backend   Backend
	Verifier  *aws.Verifier
	Page      http.Handler      // the viewer page; nil: none
	PageHosts []string          // host names that page and WHEP answer to; addresses always pass (guard.go)
	Origins   []string          // further origins that may use WHEP, as "https://host:port"
	WhepToken string            // bearer token that WHEP, overview and recordings demand on the public door
	Names     Names             // AWS's host names, in place of PublicURL; zero: none
	PublicURL string            // host[:port] to name in endpoints; empty: the Host of each request
	Refused   func(name string) // counts refusals by exception; nil: not counted
	Now       func() time.Time  // nil: time.Now
	Disturb   Disturb           // what a test makes go wrong; nil: nothing
	Log       *zap.Logger       // nil: none
}

const (
	backendWait      = 15 * time.Second // longer than a WHEP session waits for its answer
	requestBytesMax  = 64 << 10
	pathControlWSS   = "/"
	pathWhep         = "/whep/"
	pathOverview     = "/api/channels"
	contentTypeSDP   = "application/sdp"
	contentTypeJSON  = "application/json"
	operationUnknown = "UnknownOperationException"
)

type doors struct {
	Config
	downloads chan struct{} // a place for each that is under way
}

func open(c Config) *doors {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Refused == nil {
		c.Refused = func(string) {}
	}
	if c.Disturb == nil {
		c.Disturb = func(*aws.Key, func() Attempt) error { return nil }
	}
	if c.Page == nil {
		c.Page = http.NotFoundHandler()
	}
	return &doors{Config: c, downloads: make(chan struct{}, downloadsMax)}
}

// Public returns the handler of the public listener: every door.
func Public(c Config) http.Handler {
	d := open(c)
	mux := http.NewServeMux()
	for path, op := range d.operations() {
		mux.Handle(path, anyOrigin(op))
	}
	guarded := func(h http.Handler) http.Handler { return d.ownHost(d.exactOrigin(h)) }
	mux.Handle(pathWhep, guarded(d.token(http.HandlerFunc(d.whep))))
	mux.Handle(pathOverview, guarded(d.token(http.HandlerFunc(d.overview))))
	for _, path := range []string{pathRecordings, pathRecordings + "/"} {
		mux.Handle(path, guarded(d.token(http.HandlerFunc(d.recorded))))
	}
	page := guarded(d.Page)
	mux.HandleFunc(pathControlWSS, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/" && upgradeWanted(r):
			d.connect(w, r)
		case r.Method == http.MethodPost:
			d.refuse(w, &messages.Refused{Type: operationUnknown, Message: "The service does not know the operation " + r.URL.Path})
		default:
			page.ServeHTTP(w, r)
		}
	})
	return mux
}

// Local returns the routes for the loopback listener: page, WHEP, overview and recordings. The listener
// checks the Host header itself.
func Local(c Config) map[string]http.Handler {
	d := open(c)
	return map[string]http.Handler{
		"/":          d.exactOrigin(d.Page),
		pathWhep:     d.exactOrigin(http.HandlerFunc(d.whep)),
		pathOverview: d.exactOrigin(http.HandlerFunc(d.overview)),

		pathRecordings:       d.exactOrigin(http.HandlerFunc(d.recorded)),
		pathRecordings + "/": d.exactOrigin(http.HandlerFunc(d.recorded)),
	}
}
