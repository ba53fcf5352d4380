package service

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// twoNodes starts two nodes of one service.
func twoNodes(t *testing.T, limits Limits) (here, there *rig) {
	t.Helper()
	cluster, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	cluster.Start()
	t.Cleanup(func() { cluster.Shutdown(); cluster.WaitForShutdown() })
	if !cluster.ReadyForConnections(testWait) {
		t.Fatal("NATS is not ready")
	}
	cfg := Config{NATS: cluster.ClientURL(), Limits: limits}
	return start(t, cfg), start(t, cfg)
}

// A session stays on the node where it began; who joins at another is offered from there.
func TestStorageAcrossNodes(t *testing.T) {
	here, there := twoNodes(t, Limits{})
	arn := here.storing("cam")
	here.master(arn)
	viewer := there.party(arn, "alice")
	viewer.open()
	there.joined(arn, "alice")
	viewer.answers(viewer.offered())
	viewer.packet()
	if here.actors("ingest") != 1 || there.actors("ingest") != 0 {
		t.Errorf("%d sessions here, %d there", here.actors("ingest"), there.actors("ingest"))
	}
}

// The bound on viewers is one for all nodes, and each tells it; so is a viewer's place in it.
func TestStorageViewersAreBoundedAcrossNodes(t *testing.T) {
	here, there := twoNodes(t, Limits{RequestRates: 100})
	arn := here.storing("cam")
	here.connect(arn, "")
	for _, id := range []string{"alice", "dave"} {
		here.connect(arn, id)
	}
	for _, id := range []string{"bob", "carol", "erin"} {
		there.connect(arn, id)
	}
	here.joined(arn, "")
	here.joined(arn, "alice")
	there.joined(arn, "bob")
	there.joined(arn, "carol")
	full := func(r *rig, id string) {
		t.Helper()
		status, kind, text := r.join("joinStorageSessionAsViewer", map[string]string{"channelArn": arn, "clientId": id})
		if status != 400 || kind != "ClientLimitExceededException" || text == "" {
			t.Errorf("%s: %d %s %s", id, status, kind, text)
		}
	}
	full(there, "erin")
	full(here, "dave")
	there.joined(arn, "bob") // has a place
	if here.actors("ingest") != 1 || there.actors("ingest") != 0 {
		t.Errorf("%d sessions here, %d there", here.actors("ingest"), there.actors("ingest"))
	}
}

// Who joins elsewhere while the session ends has one at its own node, or is in the one that goes on; nobody is
// told of a session that is gone.
func TestStorageJoinElsewhereWhileItEnds(t *testing.T) {
	here, there := twoNodes(t, Limits{RequestRates: 100})
	arn := here.storing("cam")
	master, _ := here.master(arn)
	viewer := there.party(arn, "alice")
	viewer.open()
	_ = master.pc.Close()
	there.joined(arn, "alice")
	viewer.answers(viewer.offered())
}
