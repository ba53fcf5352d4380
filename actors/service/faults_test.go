package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// startFaulty is a service that takes faults.
func startFaulty(t *testing.T, cfg Config) (*rig, api.FaultClient) {
	t.Helper()
	cfg.Faults = filepath.Join(t.TempDir(), "faults.sock")
	return start(t, cfg), api.FaultClient(cfg.Faults)
}

func (r *rig) fault(c api.FaultClient, f messages.Fault) messages.Fault {
	r.Helper()
	set, err := c.Set(r.ctx, f)
	if err != nil {
		r.Fatal(err)
	}
	return set
}

func (r *rig) clear(c api.FaultClient) []messages.Fault {
	r.Helper()
	ended, err := c.Clear(r.ctx, 0)
	if err != nil {
		r.Fatal(err)
	}
	return ended
}

// serves fails unless a message of the client reaches the master, and nothing else has come before.
func (r *rig) serves(client, master *signaling.Client, id, text string) {
	r.Helper()
	r.send(client, signaling.Outbound{Action: signaling.ICECandidate, Payload: payload(text)})
	r.expect(master, signaling.Inbound{MessageType: signaling.ICECandidate, SenderClientID: id, Payload: payload(text)})
}

// cutOff fails unless the socket ends, with a close frame of that code, or without one for 0.
func (r *rig) cutOff(c *signaling.Client, code int) {
	r.Helper()
	_, err := c.Read(r.ctx)
	closed, ok := errors.AsType[*signaling.CloseError](err)
	if err == nil || ok != (code != 0) || ok && int(closed.Code) != code {
		r.Fatalf("read: %v, want the end with code %d", err, code)
	}
}

func TestGoAwayFault(t *testing.T) {
	r, faults := startFaulty(t, Config{Limits: Limits{GoAwayGrace: 300 * time.Millisecond}})
	arn := r.channel("cam")
	master, alice, bob := r.connect(arn, ""), r.connect(arn, "alice"), r.connect(arn, "bob")
	began := time.Now()
	r.fault(faults, messages.Fault{Kind: messages.FaultGoAway, Channel: "cam", ClientID: "alice"})
	r.expect(alice, signaling.Inbound{MessageType: signaling.GoAway})
	r.serves(alice, master, "alice", "in the grace")
	r.cutOff(alice, closeGoingAway)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("closed after %v, before the grace was over", took)
	}
	r.serves(bob, master, "bob", "untouched")
	r.fault(faults, messages.Fault{Kind: messages.FaultGoAway, Master: true})
	r.expect(master, signaling.Inbound{MessageType: signaling.GoAway})
	r.cutOff(master, closeGoingAway)
	r.serves(bob, r.connect(arn, ""), "bob", "to the next master")
}

func TestReconnectIceFault(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	cam, dog := r.channel("cam"), r.channel("dog")
	master, alice, other := r.connect(cam, ""), r.connect(cam, "alice"), r.connect(dog, "")
	r.fault(faults, messages.Fault{Kind: messages.FaultReconnectICE, Channel: "cam"})
	for _, c := range []*signaling.Client{master, alice} {
		r.expect(c, signaling.Inbound{MessageType: signaling.ReconnectICEServer})
	}
	r.serves(alice, master, "alice", "the socket stays")
	r.serves(r.connect(dog, "v"), other, "v", "another channel")
	if n := r.counter("kvs_service_faults_total"); n != 2 {
		t.Errorf("%v faults counted, want 2", n)
	}
}

func TestCutFault(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	arn := r.channel("cam")
	master, alice := r.connect(arn, ""), r.connect(arn, "alice")
	r.fault(faults, messages.Fault{Kind: messages.FaultCut, Channel: "cam", ClientID: "alice"})
	r.cutOff(alice, 0)
	r.serves(r.connect(arn, "alice"), master, "alice", "a cut without duration is over")
	r.fault(faults, messages.Fault{Kind: messages.FaultCut, ForS: 60})
	r.cutOff(master, 0)
	r.cutOff(r.connect(arn, ""), 0) // it stands
	if ended := r.clear(faults); len(ended) != 1 || ended[0].Struck < 2 || ended[0].LeftS <= 0 {
		t.Errorf("cleared %+v", ended)
	}
	master = r.connect(arn, "")
	r.serves(r.connect(arn, "bob"), master, "bob", "after clear")
}

func TestRefuseConnectFault(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	arn := r.channel("cam")
	r.fault(faults, messages.Fault{Kind: messages.FaultRefuse, Channel: "cam", ClientID: "alice"})
	r.fault(faults, messages.Fault{Kind: messages.FaultRefuse, Channel: "cam", Master: true, Status: 403})
	for id, want := range map[string]string{"alice": "ServiceUnavailableException", "": "AccessDeniedException"} {
		if _, err := r.dial(arn, id); !refusedAs(err, want) {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
	bob := r.connect(arn, "bob")
	r.clear(faults)
	master := r.connect(arn, "")
	r.serves(bob, master, "bob", "let in")
	r.serves(r.connect(arn, "alice"), master, "alice", "after clear")
}

func TestErrorAndThrottleFaults(t *testing.T) {
	r, faults := startFaulty(t, Config{RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	cam, dog := r.channel("cam"), r.channel("dog")
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: r.http})
	ice := func(arn, id string) error {
		_, _, err := client.IceServers(r.ctx, r.Credentials, r.PublicURL, arn, id)
		return err
	}
	r.fault(faults, messages.Fault{Kind: messages.FaultError, Channel: "cam", Only: []string{"DescribeSignalingChannel"}, Status: 500})
	byName := r.post("/describeSignalingChannel", `{"ChannelName":"cam"}`, r.Credentials, time.Now())
	if kind := byName.Header.Get("x-amzn-ErrorType"); byName.StatusCode != 500 || kind != "InternalFailure" {
		t.Errorf("by name: %d %s", byName.StatusCode, kind)
	}
	if err := r.describe(cam); !refusedAs(err, "InternalFailure") {
		t.Errorf("by ARN: %v", err)
	}
	if err := errors.Join(r.describe(dog), ice(cam, "v")); err != nil {
		t.Errorf("another channel, another operation: %v", err)
	}
	r.clear(faults)
	throttled := r.fault(faults, messages.Fault{Kind: messages.FaultThrottle, Channel: "cam", ClientID: "v"})
	if err := ice(cam, "v"); !aws.IsType(err, "ClientLimitExceededException") {
		t.Errorf("throttled: %v", err)
	}
	if err := errors.Join(ice(cam, "w"), r.describe(cam)); err != nil {
		t.Errorf("another client, and who does not tell: %v", err)
	}
	if _, err := faults.Clear(r.ctx, throttled.ID); err != nil {
		t.Error(err)
	}
	if err := ice(cam, "v"); err != nil {
		t.Errorf("after clear: %v", err)
	}
	r.connect(cam, "v") // a handshake is no REST request
}

func TestExpireTokensFault(t *testing.T) {
	r, faults := startFaulty(t, Config{Dir: t.TempDir()})
	arn := r.channel("cam")
	session := func() messages.Credentials {
		c, err := r.door.keys.assume(DefaultRoleAlias, "cam", true, r.door.now())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	describe := func(c messages.Credentials) string {
		return r.post("/describeSignalingChannel", `{"ChannelARN":"`+arn+`"}`, c, time.Now()).Header.Get("x-amzn-ErrorType")
	}
	old := session()
	if got := describe(old); got != "" {
		t.Fatalf("before: %s", got)
	}
	r.fault(faults, messages.Fault{Kind: messages.FaultExpire})
	if got := describe(old); got != "ExpiredTokenException" {
		t.Errorf("a session from before: %q", got)
	}
	lasting := r.Credentials
	r.Credentials = old
	if _, err := r.dial(arn, ""); !refusedAs(err, "ExpiredTokenException") {
		t.Errorf("its handshake: %v", err)
	}
	r.Credentials = session()
	r.connect(arn, "")
	if got := describe(r.Credentials) + describe(lasting); got != "" {
		t.Errorf("a new session, and a key that lasts: %q", got)
	}
	r.clear(faults)
	if got := describe(old); got != "" {
		t.Errorf("after clear: %s", got)
	}
}

// allocate asks the relay as a client of a channel does.
func (r *rig) allocate(arn, id string) error {
	r.Helper()
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: r.http})
	servers, _, err := client.IceServers(r.ctx, r.Credentials, r.PublicURL, arn, id)
	if err != nil {
		r.Fatal(err)
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close()
	at := strings.TrimSuffix(strings.TrimPrefix(servers[0].URLs[0], "turn:"), "?transport=udp")
	c, err := turn.NewClient(&turn.ClientConfig{TURNServerAddr: at, Conn: conn, Username: servers[0].Username, Password: servers[0].Password})
	if err != nil {
		r.Fatal(err)
	}
	defer c.Close()
	if err := c.Listen(); err != nil {
		r.Fatal(err)
	}
	relayed, err := c.Allocate()
	if err == nil {
		_ = relayed.Close()
	}
	return err
}

func TestRefuseTurnFault(t *testing.T) {
	r, faults := startFaulty(t, Config{RelayUDP: "127.0.0.1:0", RelayTCP: "127.0.0.1:0"})
	cam, dog := r.channel("cam"), r.channel("dog")
	r.fault(faults, messages.Fault{Kind: messages.FaultRefuseTurn, Channel: "cam", ClientID: "v"})
	if err := r.allocate(cam, "v"); err == nil || !strings.Contains(err.Error(), "486") {
		t.Errorf("allocation of v: %v, want error 486", err)
	}
	if err := errors.Join(r.allocate(cam, "w"), r.allocate(dog, "v")); err != nil {
		t.Errorf("another client, another channel: %v", err)
	}
	r.clear(faults)
	if err := r.allocate(cam, "v"); err != nil {
		t.Errorf("after clear: %v", err)
	}
}

// The C SDK corrects its clock by the Date of an answer that says "Signature expired" or "Signature
// not yet current" (kvs-protocol.md 1.1, 1.5).
func TestClockFault(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	for by, words := range map[time.Duration]string{time.Hour: "Signature expired", -time.Hour: "Signature not yet current"} {
		r.fault(faults, messages.Fault{Kind: messages.FaultClock, ByS: by.Seconds()})
		resp := r.post("/listSignalingChannels", "{}", r.Credentials, time.Now())
		if text := r.body(resp); resp.StatusCode != 403 || !strings.Contains(text, words) {
			t.Errorf("clock off by %v: %d %s", by, resp.StatusCode, text)
		}
		date, err := time.Parse(time.RFC1123, resp.Header.Get("Date"))
		if err != nil || (time.Until(date)-by).Abs() > time.Minute {
			t.Errorf("clock off by %v: Date %v, %v", by, date, err)
		}
		if resp = r.post("/listSignalingChannels", "{}", r.Credentials, date); resp.StatusCode != 200 {
			t.Errorf("signed with the corrected clock: %d", resp.StatusCode)
		}
	}
	r.clear(faults)
	if resp := r.post("/listSignalingChannels", "{}", r.Credentials, time.Now()); resp.StatusCode != 200 {
		t.Errorf("after clear: %d", resp.StatusCode)
	}
}

func TestDropFault(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	arn := r.channel("cam")
	master, alice, bob := r.connect(arn, ""), r.connect(arn, "alice"), r.connect(arn, "bob")
	answer := func(id, text string) {
		r.send(master, signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: id, Payload: payload(text)})
	}
	r.fault(faults, messages.Fault{Kind: messages.FaultDrop, Channel: "cam", ClientID: "alice", Only: []string{signaling.SDPAnswer}})
	answer("alice", "lost")
	answer("bob", "first")
	r.expect(bob, signaling.Inbound{MessageType: signaling.SDPAnswer, Payload: payload("first")})
	r.serves(alice, master, "alice", "another kind")
	r.clear(faults)
	answer("alice", "second")
	r.expect(alice, signaling.Inbound{MessageType: signaling.SDPAnswer, Payload: payload("second")})
}

func TestDelayFault(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	arn := r.channel("cam")
	master, alice, bob := r.connect(arn, ""), r.connect(arn, "alice"), r.connect(arn, "bob")
	r.fault(faults, messages.Fault{Kind: messages.FaultDelay, Channel: "cam", ClientID: "alice", ByS: 0.3})
	began := time.Now()
	for i := range 5 {
		r.send(alice, signaling.Outbound{Action: signaling.ICECandidate, Payload: payload(fmt.Sprint(i))})
	}
	r.serves(bob, master, "bob", "at once")
	for i := range 5 {
		r.expect(master, signaling.Inbound{MessageType: signaling.ICECandidate, SenderClientID: "alice", Payload: payload(fmt.Sprint(i))})
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("late by %v only", took)
	}
}

func TestDelayIsBounded(t *testing.T) {
	r, faults := startFaulty(t, Config{Limits: Limits{Unlimited: true}})
	f := r.take(r.channel("cam"), "v", newFakeSocket(8))
	r.fault(faults, messages.Fault{Kind: messages.FaultDelay, ByS: 600})
	for range heldMax + 3 {
		r.post1(f, `{"action":"ICE_CANDIDATE","messagePayload":"QQ=="}`)
	}
	r.post1(f, ``) // a read behind them: all were taken
	if n := r.counter("kvs_service_limited_total"); n != 3 {
		t.Errorf("%v messages lost, want 3", n)
	}
}

// pattern tells which of two viewers' candidates get through. They send at the same time.
func pattern(t *testing.T, seed uint64) (got map[string]string, used uint64) {
	r, faults := startFaulty(t, Config{Limits: Limits{Unlimited: true}})
	arn := r.channel("cam")
	master := r.take(arn, "", newFakeSocket(outgoingMax))
	used = r.fault(faults, messages.Fault{Kind: messages.FaultDrop, Probability: 0.5, Seed: seed, Only: []string{signaling.ICECandidate}}).Seed
	const each = 30
	sent := make(chan struct{})
	for _, id := range []string{"alice", "bob"} {
		f := r.take(arn, id, newFakeSocket(8))
		go func() {
			for i := range each {
				f.in <- fmt.Appendf(nil, `{"action":"ICE_CANDIDATE","messagePayload":%q}`, payload(fmt.Sprint(i)))
			}
			f.in <- []byte(`{"action":"SDP_OFFER","messagePayload":"QQ=="}`) // not dropped: the last
			sent <- struct{}{}
		}()
	}
	<-sent
	<-sent
	got = map[string]string{}
	for ends := 0; ends < 2; {
		if m := r.next(master); m.MessageType == signaling.SDPOffer {
			ends++
		} else {
			got[m.SenderClientID] += m.Payload + " "
		}
	}
	return got, used
}

func TestProbabilityRepeatsWithItsSeed(t *testing.T) {
	first, _ := pattern(t, 7)
	again, _ := pattern(t, 7)
	other, chosen := pattern(t, 0)
	for id := range first {
		if n := strings.Count(first[id], " "); n < 5 || n > 25 {
			t.Errorf("%d of 30 got through", n)
		}
		if first[id] != again[id] {
			t.Errorf("%s: a run with the same seed differs", id)
		}
		if first[id] == other[id] {
			t.Errorf("%s: a run with another seed (%d) does not differ", id, chosen)
		}
	}
	if first["alice"] == first["bob"] || chosen == 0 {
		t.Error("two clients share their lots, or no seed was chosen")
	}
}

func TestFaultEndsByItself(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	arn := r.channel("cam")
	r.fault(faults, messages.Fault{Kind: messages.FaultThrottle, ForS: 0.2})
	if err := r.describe(arn); !refusedAs(err, "ClientLimitExceededException") {
		t.Errorf("while it stands: %v", err)
	}
	r.until("the fault is over", func() bool {
		all, err := faults.List(r.ctx)
		return err == nil && len(all) == 0
	})
	if err := r.describe(arn); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestImpossibleFaults(t *testing.T) {
	r, faults := startFaulty(t, Config{})
	for _, c := range []struct {
		fault messages.Fault
		says  string
	}{
		{messages.Fault{Kind: "earthquake"}, `"earthquake"`},
		{messages.Fault{Kind: messages.FaultCut, Probability: 2}, "between 0 and 1"},
		{messages.Fault{Kind: messages.FaultCut, ForS: -1}, "days"},
		{messages.Fault{Kind: messages.FaultCut, ClientID: "v"}, "name the channel"},
		{messages.Fault{Kind: messages.FaultCut, Channel: "a b"}, "by its name"},
		{messages.Fault{Kind: messages.FaultCut, Only: []string{"SDP_OFFER"}}, "leave only out"},
		{messages.Fault{Kind: messages.FaultClock, ByS: 1, Channel: "cam"}, "one for all"},
		{messages.Fault{Kind: messages.FaultClock}, "needs by"},
		{messages.Fault{Kind: messages.FaultDelay, ByS: 601}, "600 s"},
		{messages.Fault{Kind: messages.FaultDrop, Only: []string{"GetIceServerConfig"}}, "nothing to do"},
		{messages.Fault{Kind: messages.FaultThrottle, Only: []string{"GetIceServerConfg"}}, "nothing to do"},
		{messages.Fault{Kind: messages.FaultThrottle, Only: []string{"ConnectAsViewer"}}, "nothing to do"},
		{messages.Fault{Kind: messages.FaultThrottle, Status: 500}, "no status"},
		{messages.Fault{Kind: messages.FaultError, Status: 200}, "400 to 599"},
		{messages.Fault{Kind: messages.FaultError, Master: true}, "no master"},
		{messages.Fault{Kind: messages.FaultError, Type: "<b>"}, "letters"},
	} {
		if _, err := faults.Set(r.ctx, c.fault); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want it to say %q", c.fault, err, c.says)
		}
	}
	if _, err := faults.Clear(r.ctx, 1); err == nil {
		t.Error("a fault that does not stand was cleared")
	}
	for range standingMax {
		r.fault(faults, messages.Fault{Kind: messages.FaultThrottle})
	}
	if _, err := faults.Set(r.ctx, messages.Fault{Kind: messages.FaultThrottle}); err == nil || !strings.Contains(err.Error(), "clear some") {
		t.Errorf("one fault too many: %v", err)
	}
}

func TestFaultSocket(t *testing.T) {
	dir := t.TempDir()
	names := func() (list []string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	r := start(t, Config{Dir: dir})
	if slices.ContainsFunc(names(), func(n string) bool { return strings.Contains(n, "fault") }) {
		t.Errorf("a service that was not asked for faults: %v", names())
	}
	stop(t, r.Service)

	before := names()
	path := filepath.Join(dir, "faults.sock")
	if stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
		t.Fatal(err)
	} else {
		stale.SetUnlinkOnClose(false)
		_ = stale.Close() // as a killed service leaves it
	}
	again := start(t, Config{Dir: dir, Faults: path})
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v %v, want a socket of mode 0600", info.Mode(), err)
	}
	if _, err := Start(t.Context(), Config{Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off, Faults: path}); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server: %v", err)
	}
	if _, err := api.FaultClient(path).List(t.Context()); err != nil {
		t.Errorf("the first server after that: %v", err)
	}
	stop(t, again.Service)
	if after := names(); !slices.Equal(after, before) {
		t.Errorf("left behind: %v, had %v", after, before)
	}
	if _, err := Start(t.Context(), Config{Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off, Faults: filepath.Join(dir, keysFile)}); err == nil || !strings.Contains(err.Error(), "another kind") {
		t.Errorf("a file in the way: %v", err)
	}
}
