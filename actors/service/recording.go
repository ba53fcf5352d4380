package service

// What a storage session takes in is recorded (kvs-protocol.md 4). In order:
//
//	tap    sees each packet as it passes, and puts it into a bounded queue; a full one drops it, counted
//	run    the edge: packets become access units (transport/rtc), those become segments (media/recorder)
//	stop   the session is over: what is queued is written, the segment finished
//
// Nobody waits for the disk but the edge.

import (
	"fmt"
	"path"
	"path/filepath"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/media/recorder"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

const (
	recordingsDir  = "recordings"
	recordingQueue = 8192 // packets: some 10 s of a 4 Mbit/s stream with sound

	recordAgainAfter = 5 * time.Second // a recorder that failed
)

// recordingDir is where the recording of a stream is. A stream that is made anew under an old name has
// another: its ARN ends in the time at which it was made.
func recordingDir(data, streamARN string) string {
	return filepath.Join(data, recordingsDir, path.Base(path.Dir(streamARN))+"-"+path.Base(streamARN))
}

// tap is who sees what the session takes in: the recorder, where service and stream keep anything.
func (i *ingest) tap() rtc.Tap {
	var also rtc.Tap
	if i.cfg.IngestTap != nil {
		also = i.cfg.IngestTap(i.channel.Name)
	}
	if i.cfg.Dir == "" || i.keeps == 0 {
		return also
	}
	r := newRecording(i.world, i.stream, i.keeps)
	i.recording = r
	i.record()
	if also == nil {
		return r.tap
	}
	return func(track messages.Track, p *rtp.Packet, captured time.Time) {
		also(track, p, captured)
		r.tap(track, p, captured)
	}
}

func (i *ingest) record() { i.recorder = i.edges.Open("record", i.recording.run) }

// onRecorderEnded comes when a recording cannot go on. It begins anew after a rest.
func (i *ingest) onRecorderEnded(err error) {
	i.sys.Log().Warn("recording failed, will try again", zap.String("channel", i.channel.Name), zap.Error(err))
	i.metrics.recording.failures.Inc()
	i.edges.After(recordAgainAfter, &recordDue{})
}

// recording is that of one storage session. The tap's callers share the queue with the edge.
type recording struct {
	cfg     recorder.Config
	log     *zap.Logger
	metrics *recordingMetrics
	packets chan recordedPacket
}

type recordedPacket struct {
	track    messages.Track
	packet   *rtp.Packet
	captured time.Time
	came     time.Time
}

func newRecording(w *world, streamARN string, retentionHours int) *recording {
	log := w.sys.Log().With(zap.String("stream", streamARN))
	return &recording{
		cfg: recorder.Config{
			Dir: recordingDir(w.cfg.Dir, streamARN), Retention: time.Duration(retentionHours) * time.Hour,
			Segment: w.cfg.Segment, Log: log,
		},
		log: log, metrics: w.metrics.recording, packets: make(chan recordedPacket, recordingQueue),
	}
}

// tap is an rtc.Tap.
func (r *recording) tap(track messages.Track, p *rtp.Packet, captured time.Time) {
	select {
	case r.packets <- recordedPacket{track, p.Clone(), captured, time.Now()}:
	default:
		r.metrics.overflow.Inc()
	}
}

// run records until the edge's context ends, and finishes then.
func (r *recording) run(e *actors.Edge) error {
	rec, err := recorder.Open(r.cfg)
	if err != nil {
		return err
	}
	var failed error
	assembler := rtc.NewAssembler(messages.H264, func(unit *messages.AccessUnit, gap bool) {
		if failed == nil {
			failed = rec.Write(unit, gap)
		}
	})
	tick := time.NewTicker(ingestEvery)
	defer tick.Stop()
	var told recorder.Stats
	for failed == nil {
		select {
		case p := <-r.packets:
			assembler.Push(p.track, p.packet, p.captured, p.came)
		case <-tick.C:
			told = r.metrics.add(told, rec.Stats())
		case <-e.Context().Done():
			for len(r.packets) > 0 {
				p := <-r.packets
				assembler.Push(p.track, p.packet, p.captured, p.came)
			}
			assembler.Flush()
			err := rec.Close()
			r.metrics.add(told, rec.Stats())
			return err
		}
	}
	r.metrics.add(told, rec.Stats())
	_ = rec.Close()
	return fmt.Errorf("record: %w", failed)
}
