package backplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 10 * time.Second

func openTest(t *testing.T, cfg Config) *Backplane {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// cluster starts one NATS server with a listener: what an external cluster is to a Backplane.
func cluster(t *testing.T) (url string) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("server is not ready")
	}
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	return srv.ClientURL()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// mailbox collects what an attachment delivers.
type mailbox struct {
	mu  sync.Mutex
	got []Envelope
}

func (m *mailbox) deliver(e Envelope) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, e)
}

func (m *mailbox) all() []Envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Envelope(nil), m.got...)
}

func (m *mailbox) evictions() (n int) {
	for _, e := range m.all() {
		if e.Kind == Evicted {
			n++
		}
	}
	return n
}

func (m *mailbox) texts() (texts []string) {
	for _, e := range m.all() {
		if e.Kind != Evicted {
			texts = append(texts, string(e.Data))
		}
	}
	return texts
}

func masterSeat(channel, connection string) Seat {
	return Seat{Channel: channel, Role: RoleMaster, Connection: connection}
}

func viewerSeat(channel, client, connection string) Seat {
	return Seat{Channel: channel, Role: RoleViewer, ClientID: client, Connection: connection}
}

// sit joins and attaches.
func sit(t *testing.T, b *Backplane, seat Seat) (*mailbox, func()) {
	t.Helper()
	if err := b.Join(t.Context(), seat, 10); err != nil {
		t.Fatal(err)
	}
	box := &mailbox{}
	detach, err := b.Attach(t.Context(), seat, box.deliver)
	if err != nil {
		t.Fatal(err)
	}
	return box, detach
}

func testChannel(name string) Channel {
	return Channel{Type: "SINGLE_MASTER", MessageTTL: time.Minute, Resource: Resource{
		Name: name, ARN: "arn:aws:kinesisvideo:us-west-2:123456789012:channel/" + name + "/1577439476380",
		Status: "ACTIVE", Created: time.UnixMilli(1577439476380).UTC(), Tags: map[string]string{"site": "roof"},
	}}
}

func TestChannelsLiveThroughARestart(t *testing.T) {
	dir := t.TempDir()
	first := openTest(t, Config{Dir: dir})
	var made []Channel
	for _, name := range []string{"zoo", "a.b", "a-b", "A_b.."} {
		c, err := first.CreateChannel(t.Context(), testChannel(name), 1000)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, c)
	}
	if _, err := first.CreateChannel(t.Context(), testChannel("a.b"), 1000); !errors.Is(err, ErrExists) {
		t.Fatalf("second create: %v", err)
	}
	if err := first.DeleteChannel(t.Context(), "a-b", made[0].Version); !errors.Is(err, ErrVersion) {
		t.Fatalf("delete with a wrong version: %v", err)
	}
	if err := first.DeleteChannel(t.Context(), "a-b", made[2].Version); err != nil {
		t.Fatal(err)
	}
	if err := first.DeleteChannel(t.Context(), "a-b", ""); !errors.Is(err, ErrNotFound) {
		t.Fatalf("second delete: %v", err)
	}
	again, err := first.CreateChannel(t.Context(), testChannel("a-b"), 1000)
	if err != nil || again.Version == made[2].Version {
		t.Fatalf("create again: version %q, before %q, %v", again.Version, made[2].Version, err)
	}
	if err := first.DeleteChannel(t.Context(), "zoo", ""); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := openTest(t, Config{Dir: dir})
	list, err := second.Channels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Channel{made[3], again, made[1]}
	if len(list) != len(want) {
		t.Fatalf("channels after the restart: %+v", list)
	}
	for i := range want {
		if fmt.Sprint(list[i]) != fmt.Sprint(want[i]) {
			t.Errorf("channel %d:\n got %+v\nwant %+v", i, list[i], want[i])
		}
	}
	if c, err := second.Channel(t.Context(), "a.b"); err != nil || c.Tags["site"] != "roof" {
		t.Fatalf("channel a.b: %+v, %v", c, err)
	}
	if _, err := second.Channel(t.Context(), "zoo"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("deleted channel: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("store folder: %v, %v", info.Mode(), err)
	}
}

func TestStoreFolderIsLocked(t *testing.T) {
	dir := t.TempDir()
	openTest(t, Config{Dir: dir})
	if _, err := Open(t.Context(), Config{Dir: dir}); err == nil {
		t.Fatal("a second backplane opened the same folder")
	}
}

func TestDeletedChannelLetsGoOfEverybody(t *testing.T) {
	b := openTest(t, Config{})
	c, err := b.CreateChannel(t.Context(), testChannel("cam"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	master, detach := sit(t, b, masterSeat(c.ID, "m1"))
	defer detach()
	viewer, detachViewer := sit(t, b, viewerSeat(c.ID, "v.1", "c1"))
	defer detachViewer()
	if err := b.Send(Envelope{Channel: c.ID, To: "absent", Kind: kindAnswer, Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer is stored", func() bool { return b.Stats().Stored == 1 })
	if err := b.DeleteChannel(t.Context(), "cam", c.Version); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are evicted", func() bool { return master.evictions() == 1 && viewer.evictions() == 1 })
	if seats, err := b.Seats(t.Context(), c.ID); err != nil || len(seats) != 0 {
		t.Fatalf("seats: %v, %v", seats, err)
	}
	if err := b.Join(t.Context(), masterSeat(c.ID, "m2"), 10); !errors.Is(err, ErrNotFound) {
		t.Fatalf("join a deleted channel: %v", err)
	}
	info, err := b.boxes.stream.Info(t.Context())
	if err != nil || info.State.Msgs != 0 {
		t.Fatalf("undelivered messages left: %+v, %v", info, err)
	}
}

func TestTwoNodesAgreeOnOneMaster(t *testing.T) {
	url := cluster(t)
	nodes := []*Backplane{openTest(t, Config{URL: url, Node: "a"}), openTest(t, Config{URL: url, Node: "b"})}
	const masters = 20
	boxes := make([]*mailbox, masters)
	var wg sync.WaitGroup
	for i := range masters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			boxes[i] = &mailbox{}
			seat := masterSeat("ch", fmt.Sprint("conn-", i))
			if err := nodes[i%2].Join(t.Context(), seat, 10); err != nil {
				t.Error(err)
				return
			}
			if _, err := nodes[i%2].Attach(t.Context(), seat, boxes[i].deliver); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	eventually(t, "all but one are evicted", func() bool {
		evicted := 0
		for _, box := range boxes {
			evicted += box.evictions()
		}
		return evicted == masters-1
	})
	seats, err := nodes[0].Seats(t.Context(), "ch")
	if err != nil || len(seats) != 1 {
		t.Fatalf("seats: %v, %v", seats, err)
	}
	for i, box := range boxes {
		holder := seats[0].Connection == fmt.Sprint("conn-", i)
		if n := box.evictions(); holder && n != 0 || !holder && n != 1 {
			t.Errorf("connection %d, holder %t: %d evictions", i, holder, n)
		}
	}
	if err := nodes[0].Send(Envelope{Channel: "ch", From: "v", Kind: kindOffer, Data: []byte("offer")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the offer arrives", func() bool {
		return slices.ContainsFunc(boxes, func(m *mailbox) bool { return len(m.texts()) == 1 })
	})
	for i, box := range boxes {
		if n := len(box.texts()); n > 0 && seats[0].Connection != fmt.Sprint("conn-", i) {
			t.Errorf("evicted connection %d got %d messages", i, n)
		}
	}
}

// An eviction that was overtaken must not hit the connection that joined after it.
func TestLateEvictionMissesTheNewerConnection(t *testing.T) {
	b := openTest(t, Config{})
	if err := b.Join(t.Context(), masterSeat("ch", "older"), 10); err != nil {
		t.Fatal(err)
	}
	newer, _ := sit(t, b, masterSeat("ch", "newer"))
	b.mu.Lock()
	older, own := b.joined["older"], b.joined["newer"]
	b.mu.Unlock()
	b.evict(masterSeat("ch", "older"), older)
	b.evict(masterSeat("ch", "newer"), own)
	send(t, b, kindOffer, "after", 0)
	eventually(t, "the offer arrives", func() bool { return len(newer.texts()) == 1 })
	if newer.evictions() != 0 {
		t.Fatal("evicted by an older connection")
	}
	b.evict(masterSeat("ch", "newest"), own+1)
	eventually(t, "a newer connection evicts", func() bool { return newer.evictions() == 1 })
}

func TestViewersAreBoundedAcrossNodes(t *testing.T) {
	url := cluster(t)
	nodes := []*Backplane{openTest(t, Config{URL: url}), openTest(t, Config{URL: url})}
	const viewers, most = 40, 10
	results := make(chan error, viewers)
	for i := range viewers {
		go func() {
			id := fmt.Sprint("viewer-", i)
			results <- nodes[i%2].Join(t.Context(), viewerSeat("ch", id, id), most)
		}()
	}
	joined := 0
	for range viewers {
		switch err := <-results; {
		case err == nil:
			joined++
		case !errors.Is(err, ErrFull):
			t.Error(err)
		}
	}
	seats, err := nodes[1].Seats(t.Context(), "ch")
	if err != nil || joined != most || len(seats) != most {
		t.Fatalf("%d joined, %d seats, want %d: %v", joined, len(seats), most, err)
	}
	// The same client comes back in place of itself, another one only when a seat is free.
	back := seats[3]
	back.Connection = "back"
	if err := nodes[0].Join(t.Context(), back, most); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].Leave(t.Context(), seats[3]); err != nil { // the replaced one: no effect
		t.Fatal(err)
	}
	if err := nodes[0].Join(t.Context(), viewerSeat("ch", "late", "late"), most); !errors.Is(err, ErrFull) {
		t.Fatalf("join a full channel: %v", err)
	}
	if err := nodes[1].Leave(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].Join(t.Context(), viewerSeat("ch", "late", "late"), most); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].Join(t.Context(), masterSeat("ch", "m"), most); err != nil {
		t.Fatalf("the master is not counted among the viewers: %v", err)
	}
}

// die makes a node silent without a farewell, as a crash does.
func die(b *Backplane) {
	b.lease.mu.Lock()
	b.lease.ended = true
	b.lease.timer.Stop()
	b.lease.mu.Unlock()
	b.nc.Close()
}

func TestSeatsOfADeadNodeAreFree(t *testing.T) {
	url := cluster(t)
	alive := openTest(t, Config{URL: url, Lease: time.Second})
	dead := openTest(t, Config{URL: url, Lease: time.Second})
	for i := range 3 {
		id := fmt.Sprint("v", i)
		if err := dead.Join(t.Context(), viewerSeat("ch", id, id), 3); err != nil {
			t.Fatal(err)
		}
	}
	newcomer := viewerSeat("ch", "new", "new")
	if err := alive.Join(t.Context(), newcomer, 3); !errors.Is(err, ErrFull) {
		t.Fatalf("before the crash: %v", err)
	}
	die(dead)
	eventually(t, "the newcomer gets a seat", func() bool { return alive.Join(context.Background(), newcomer, 3) == nil })
	if seats, err := alive.Seats(t.Context(), "ch"); err != nil || len(seats) != 1 || seats[0].Node != alive.Node() {
		t.Fatalf("seats: %+v, %v", seats, err)
	}
}

func TestNodeWithALapsedLeaseGivesWay(t *testing.T) {
	url := cluster(t)
	lapsed, other := openTest(t, Config{URL: url, Lease: time.Second}), openTest(t, Config{URL: url})
	kept, _ := sit(t, lapsed, viewerSeat("one", "v", "kept"))
	lost, _ := sit(t, lapsed, masterSeat("two", "lost"))
	lapsed.lease.mu.Lock() // no renewal, as in a long pause of the process
	eventually(t, "the lease expires", func() bool {
		seats, err := other.Seats(context.Background(), "two")
		return err == nil && len(seats) == 0
	})
	if _, err := other.changePresence(t.Context(), "two", func(r *record, live []Seat) error {
		r.Seats = live // somebody else's join cleared the seat away; its eviction message is not sent here
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	lapsed.lease.mu.Unlock()
	eventually(t, "the connection without a seat is evicted", func() bool { return lost.evictions() == 1 })
	eventually(t, "the other seat counts again", func() bool {
		seats, err := other.Seats(context.Background(), "one")
		return err == nil && len(seats) == 1
	})
	if kept.evictions() != 0 || lapsed.Stats().LeasesLost == 0 {
		t.Fatalf("evictions of the kept seat %d, leases lost %d", kept.evictions(), lapsed.Stats().LeasesLost)
	}
}
