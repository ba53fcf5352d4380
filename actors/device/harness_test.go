package device

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// probe stands in for an actor and shows what it was told.
type probe struct{ inbox chan any }

func (p *probe) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started, *actor.Stopping, *actor.Stopped:
	case *leave:
		ctx.Stop(ctx.Self())
	case *say:
		ctx.Request(msg.to, msg.what)
	default:
		p.inbox <- ctx.Message()
	}
}

// leave makes a probe stop; another one takes its place.
type leave struct{}

// say makes a probe send a message in its own name.
type say struct {
	to   *actor.PID
	what any
}

// stage runs one actor of the device under its name, among probes in the place of the others.
type stage struct {
	sys    *actors.System
	inbox  map[string]chan any
	common *parts
}

// newStage starts the actor name, made by make, and a probe for each of the others.
func newStage(t *testing.T, cfg Config, name string, make func(*parts) actor.Actor, probes ...string) *stage {
	t.Helper()
	log := zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	s := &stage{sys: actors.NewSystem("device", log), inbox: map[string]chan any{}}
	if cfg.jitter == nil {
		cfg.jitter = func(time.Duration) time.Duration { return 0 }
	}
	if cfg.WatchAddresses == nil { // a socket that never tells anything would stop virtual time
		cfg.WatchAddresses = func(ctx context.Context, _ func([]netip.Addr) error) error { <-ctx.Done(); return ctx.Err() }
	}
	s.common = &parts{cfg: cfg, sys: s.sys, aws: aws.NewClient(aws.ClientConfig{Region: "us-west-2"})}
	s.common.metrics = newMetrics(s.sys, nil)
	specs := []actors.Spec{}
	for _, other := range probes {
		inbox := s.open(other)
		specs = append(specs, actors.Spec{Name: other, Lanes: actors.Lanes{Control: 256}, New: func() actor.Actor { return &probe{inbox} }})
	}
	specs = append(specs, actors.Spec{Name: name, Lanes: actors.Lanes{Control: 256}, New: func() actor.Actor { return make(s.common) }})
	keeper := actors.NewKeeper(s.sys, specs...)
	root := actor.ReceiveFunc(func(ctx actor.Context) {
		if _, asked := ctx.Message().(*areAllHere); asked {
			ctx.Respond(ctx.Message())
		}
		keeper.Receive(ctx)
	})
	if err := s.sys.Start(actors.Spec{Name: "device", Lanes: actors.Lanes{Control: 64}, New: func() actor.Actor { return root }}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := s.sys.Ask(ctx, "device", &areAllHere{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// areAllHere is answered once the root has spawned everybody.
type areAllHere struct{}

func (s *stage) open(name string) chan any {
	s.inbox[name] = make(chan any, 256)
	return s.inbox[name]
}

func (s *stage) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.sys.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// told waits for the next message of type T at a probe; others before it are passed over.
func told[T any](t *testing.T, s *stage, name string) T {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case msg := <-s.inbox[name]:
			if m, ok := msg.(T); ok {
				return m
			}
		case <-timeout:
			var none T
			t.Fatalf("%s was not told a %T", name, none)
			return none
		}
	}
}
