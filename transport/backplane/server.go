// The embedded NATS server: one process, no listener, reached through an in-process pipe.
// Flow: startEmbedded locks the folder, reads the manifest, starts JetStream on the folder; stop
// shuts down and unlocks. Owner: Backplane.

package backplane

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

const (
	serverReadyWait     = 20 * time.Second
	memoryStoreBytesMax = 512 << 20
	fileStoreBytesMax   = 4 << 30
)

type embedded struct {
	server   *server.Server
	manifest *manifest // nil when the store is memory only
	lock     io.Closer
	scratch  string // folder to remove at the end, when memory only
}

func startEmbedded(dir, node string, log *zap.Logger) (e *embedded, err error) {
	e = &embedded{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stop())
		}
	}()
	if dir == "" {
		// JetStream wants a folder for its own files even when every stream lives in memory.
		if e.scratch, err = os.MkdirTemp("", "heliograph-backplane-"); err != nil {
			return e, fmt.Errorf("make scratch folder: %w", err)
		}
		return e, e.start(e.scratch, node, log)
	}
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return e, fmt.Errorf("make store folder: %w", err)
	}
	if err = os.Chmod(dir, 0o700); err != nil {
		return e, fmt.Errorf("protect store folder: %w", err)
	}
	if e.lock, err = lockFolder(filepath.Join(dir, "lock")); err != nil {
		return e, fmt.Errorf("lock store folder %s: another process uses it: %w", dir, err)
	}
	if e.manifest, err = loadManifest(dir); err != nil {
		return e, err
	}
	if err = prepareFolder(dir); err != nil {
		return e, fmt.Errorf("prepare store folder: %w", err)
	}
	return e, e.start(dir, node, log)
}

const (
	jetstreamFolder = "jetstream"
	asideFolder     = "jetstream.before" // the store as the last start found it, until it is checked
	indexFiles      = "$G/streams/*/msgs/index.db"
)

// prepareFolder makes a damaged store safe to open. JetStream cuts a block off at the first record
// that is damaged, so a copy is set aside first: what can be rescued by hand must not be lost by
// starting. And with its index JetStream trusts the blocks unread; measured (2.15.2): one flipped bit
// in a sequence number then makes it allocate without bound. Without the index it reads every record
// and its checksum, as after a crash.
func prepareFolder(dir string) error {
	store, aside := filepath.Join(dir, jetstreamFolder), filepath.Join(dir, asideFolder)
	if _, err := os.Stat(store); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(aside); errors.Is(err, os.ErrNotExist) {
		copying := aside + ".copying"
		if err := errors.Join(os.RemoveAll(copying), os.CopyFS(copying, os.DirFS(store)), os.Rename(copying, aside)); err != nil {
			return err
		}
	}
	indexes, err := filepath.Glob(filepath.Join(store, indexFiles))
	if err != nil {
		return err
	}
	for _, index := range indexes {
		if err := os.Remove(index); err != nil {
			return err
		}
	}
	return nil
}

func (e *embedded) start(dir, node string, log *zap.Logger) error {
	options := &server.Options{
		ServerName: node, DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, DisableJetStreamBanner: true,
		JetStreamMaxMemory: memoryStoreBytesMax, JetStreamMaxStore: fileStoreBytesMax,
		// A channel that was acknowledged must survive a power cut. Only channels are files, and they
		// change seldom: the cost is one fsync per change.
		SyncAlways: true,
	}
	srv, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("make NATS server: %w", err)
	}
	e.server = srv
	adapter := &serverLog{log: log.Named("nats")}
	srv.SetLoggerV2(adapter, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(serverReadyWait) || !srv.JetStreamEnabled() {
		return e.startFailure(dir, adapter)
	}
	return nil
}

// startFailure tells damage from other trouble: a store that was there before and cannot be opened
// is damaged.
func (e *embedded) startFailure(dir string, log *serverLog) error {
	cause := "JetStream did not start"
	if last := log.last.Load(); last != nil {
		cause = *last
	}
	if e.manifest != nil && !e.manifest.fresh {
		return damage(dir, "NATS cannot read the store: "+cause)
	}
	return fmt.Errorf("start NATS server: %s", cause)
}

func (e *embedded) stop() error {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	var err error
	if e.scratch != "" {
		err = os.RemoveAll(e.scratch)
	}
	if e.lock != nil {
		err = errors.Join(err, e.lock.Close())
		e.lock = nil
	}
	return err
}

// serverLog passes errors of the server on, its warnings as information: after a crash it warns of
// every file that it reads afresh. Its notices are start-up noise.
type serverLog struct {
	log  *zap.Logger
	last atomic.Pointer[string] // last error, for startFailure
}

func (*serverLog) Noticef(string, ...any) {}
func (*serverLog) Debugf(string, ...any)  {}
func (*serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, args ...any) { l.log.Info(fmt.Sprintf(format, args...)) }

func (l *serverLog) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.last.Store(&text)
	l.log.Error(text)
}

// Fatalf must not end the process: Open reports the failure.
func (l *serverLog) Fatalf(format string, args ...any) { l.Errorf(format, args...) }
