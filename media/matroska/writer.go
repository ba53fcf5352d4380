// Package matroska writes and reads Matroska files (RFC 9559) of H.264 or H.265 and Opus, as a recorder
// needs them: at every moment what is on disk is a file that plays.
//
// Flow of writing: Create writes the header, of a Segment whose size is not known yet; Write collects
// blocks; a cluster goes to disk whole, with its size, in one write at the end of what is complete; Close
// adds cues and fills in size and duration. After a crash Recover cuts what is torn and does what Close
// would have done.
//
// Times are whole milliseconds, as WebM demands and every player expects.
package matroska

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

const (
	// clusterEvery is how much a crash may cost.
	clusterEvery = 500 * time.Millisecond
	// ClusterBytesMax bounds a cluster; it is one block more at most.
	ClusterBytesMax = 4 << 20
	relativeMax     = 30_000 // ms between a cluster and its blocks, which count in 16 bits
	scaleNs         = 1_000_000
	application     = "Heliograph"

	seekHeadBytes = 4 + 1 + 3*seekBytes
	seekBytes     = 3 + 3 + 4 + 3 + 8 // of one Seek, positions in 8 bytes
	durationBytes = 3 + 8
)

// epoch is what DateUTC counts from (RFC 9559 5.1.2.10).
var epoch = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// File is where a recording goes: an *os.File.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// Header is what stands before the clusters.
type Header struct {
	Tracks []Track
	Date   time.Time         // of time zero
	Tags   map[string]string // upper-case names (RFC 9559 5.1.8)
}

// Block is one access unit.
type Block struct {
	Track int
	Time  time.Duration // since the header's Date
	Key   bool
	Data  []byte // as Sample makes it
}

// Writer writes one file. It has one owner.
type Writer struct {
	file   File
	places places

	end      int64 // of what is whole on disk
	duration time.Duration
	cues     []cue

	pending []byte // blocks of the next cluster
	opens   time.Duration
	key     bool // the next cluster begins with a key frame
}

// places are the offsets that are written over when the file is finished.
type places struct{ segment, seekHead, duration, info, tracks, clusters int64 }

type cue struct {
	at       time.Duration
	position int64 // of the cluster
}

// Create begins a file.
func Create(file File, h Header) (*Writer, error) {
	head, places := appendHeader(nil, h)
	w := &Writer{file: file, places: places}
	if _, err := file.WriteAt(head, 0); err != nil {
		return nil, fmt.Errorf("write Matroska header: %w", err)
	}
	w.end = int64(len(head))
	return w, nil
}

// appendHeader writes everything up to the first cluster.
func appendHeader(b []byte, h Header) ([]byte, places) {
	var at places
	b = appendMaster(b, idEBML, func(b []byte) []byte {
		b = appendUint(appendUint(b, idVersion, 1), idReadVersion, 1)
		b = appendUint(appendUint(b, idIDLengthMax, 4), idSizeLengthMax, 8)
		return appendUint(appendUint(appendString(b, idDocType, "matroska"), idDocVersion, 4), idDocReadVersion, 2)
	})
	b = appendID(b, idSegment)
	at.segment = int64(len(b))
	b = appendSizeIn(b, unknown8, 8)
	at.seekHead = int64(len(b))
	b = appendVoid(b, seekHeadBytes)
	at.info = int64(len(b))
	b = appendID(b, idInfo)
	info := appendUint(nil, idTimestampScale, scaleNs)
	info = appendUint8(info, idDateUTC, uint64(h.Date.Sub(epoch)))
	info = appendString(appendString(info, idMuxingApp, application), idWritingApp, application)
	b = append(appendSize(b, len(info)+durationBytes), info...)
	at.duration = int64(len(b))
	b = appendVoid(b, durationBytes)
	at.tracks = int64(len(b))
	b = appendMaster(b, idTracks, func(b []byte) []byte {
		for _, t := range h.Tracks {
			b = t.append(b)
		}
		return b
	})
	if len(h.Tags) > 0 {
		b = appendMaster(b, idTags, func(b []byte) []byte {
			return appendMaster(b, idTag, func(b []byte) []byte { return appendTags(b, h.Tags) })
		})
	}
	at.clusters = int64(len(b))
	return b, at
}

func appendTags(b []byte, tags map[string]string) []byte {
	b = appendElement(b, idTargets, nil)
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		b = appendMaster(b, idSimpleTag, func(b []byte) []byte {
			return appendString(appendString(b, idTagName, name), idTagString, tags[name])
		})
	}
	return b
}

// Write adds a block. The first one of the cluster before may go to disk: an error leaves the file as it
// was, and the same block may be written again.
func (w *Writer) Write(block Block) error {
	at := block.Time.Round(time.Millisecond)
	keyFrame := block.Key && block.Track == VideoNumber
	since := at - w.opens
	if len(w.pending) > 0 && (keyFrame || since >= clusterEvery || since < -relativeMax*time.Millisecond || len(w.pending) >= ClusterBytesMax) {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(w.pending) == 0 {
		w.opens, w.key = at, keyFrame
	}
	w.pending = appendBlock(w.pending, block, at-w.opens)
	w.duration = max(w.duration, at)
	return nil
}

func appendBlock(b []byte, block Block, since time.Duration) []byte {
	relative := uint16(int16(since / time.Millisecond))
	flags := byte(0)
	if block.Key {
		flags = 0x80
	}
	b = appendSize(appendID(b, idSimpleBlock), 4+len(block.Data))
	b = append(b, 0x80|byte(block.Track), byte(relative>>8), byte(relative), flags)
	return append(b, block.Data...)
}

// clusterHeadBytes is what stands before a cluster's blocks.
const clusterHeadBytes = 4 + 4 + timestampBytes

const timestampBytes = 1 + 1 + 8

// appendClusterHead writes the head in a fixed length, so that it can be replaced.
func appendClusterHead(b []byte, at time.Duration, blocks int) []byte {
	b = appendSizeIn(appendID(b, idCluster), uint64(timestampBytes+blocks), 4)
	return appendUint8(b, idTimestamp, uint64(at.Milliseconds()))
}

// Flush puts the pending blocks on disk as a cluster.
func (w *Writer) Flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	b := make([]byte, 0, clusterHeadBytes+len(w.pending))
	b = append(appendClusterHead(b, w.opens, len(w.pending)), w.pending...)
	if _, err := w.file.WriteAt(b, w.end); err != nil {
		return errors.Join(fmt.Errorf("write Matroska cluster: %w", err), w.file.Truncate(w.end))
	}
	if w.key {
		w.cues = append(w.cues, cue{w.opens, w.end})
	}
	w.end += int64(len(b))
	w.pending = w.pending[:0]
	return nil
}

// Drop forgets the pending blocks, which cannot be written.
func (w *Writer) Drop() { w.pending = w.pending[:0] }

// Bytes is the size of what is on disk.
func (w *Writer) Bytes() int64 { return w.end }

// Close finishes the file; it stays open. An error leaves a file that Recover can finish.
func (w *Writer) Close() error {
	if err := w.Flush(); err != nil {
		return err
	}
	return finish(w.file, w.places, w.end, w.duration, w.cues)
}

// finish writes the cues behind the last cluster, and then what points to them: whenever it stops, the
// file is one that plays. The size of the Segment comes last, because it says that all is done.
func finish(file File, at places, end int64, duration time.Duration, cues []cue) error {
	base := at.segment + 8
	seeks := []seek{{idInfo, at.info - base}, {idTracks, at.tracks - base}}
	total := end
	if len(cues) > 0 {
		tail := appendCues(nil, cues, base)
		if _, err := file.WriteAt(tail, end); err != nil {
			return errors.Join(fmt.Errorf("write Matroska cues: %w", err), file.Truncate(end))
		}
		total += int64(len(tail))
		seeks = append(seeks, seek{idCues, end - base})
	}
	for _, patch := range []struct {
		at int64
		b  []byte
	}{
		{at.seekHead, appendSeekHead(nil, seeks)},
		{at.duration, appendDuration(nil, duration)},
		{at.segment, appendSizeIn(nil, uint64(total-base), 8)},
	} {
		if _, err := file.WriteAt(patch.b, patch.at); err != nil {
			return fmt.Errorf("finish Matroska file: %w", err)
		}
	}
	return nil
}

func appendDuration(b []byte, d time.Duration) []byte {
	return appendFloat(b, idDuration, float64(max(d.Milliseconds(), 1)))
}

func appendCues(b []byte, cues []cue, base int64) []byte {
	return appendMaster(b, idCues, func(b []byte) []byte {
		for _, c := range cues {
			b = appendMaster(b, idCuePoint, func(b []byte) []byte {
				b = appendUint(b, idCueTime, uint64(c.at.Milliseconds()))
				return appendMaster(b, idCuePositions, func(b []byte) []byte {
					return appendUint(appendUint(b, idCueTrack, VideoNumber), idCueClusterPosn, uint64(c.position-base))
				})
			})
		}
		return b
	})
}

type seek struct {
	id       uint32
	position int64
}

// appendSeekHead fills exactly the place that was kept for it.
func appendSeekHead(b []byte, seeks []seek) []byte {
	begin := len(b)
	b = appendMaster(b, idSeekHead, func(b []byte) []byte {
		for _, s := range seeks {
			b = appendMaster(b, idSeek, func(b []byte) []byte {
				return appendUint8(appendElement(b, idSeekID, appendID(nil, s.id)), idSeekPosition, uint64(s.position))
			})
		}
		return b
	})
	if left := seekHeadBytes - (len(b) - begin); left > 0 {
		b = appendVoid(b, left)
	}
	return b
}

// Frame gives what stands before and behind the clusters of a finished file, of which only their length is
// known and where those with a key frame are: their offsets count from the first cluster.
func Frame(h Header, lasts time.Duration, clusterBytes int64, keys []Cluster) (head, tail []byte, err error) {
	b, places := appendHeader(nil, h)
	frame := &frame{head: b}
	first := int64(len(b))
	cues := make([]cue, 0, len(keys))
	for _, k := range keys {
		cues = append(cues, cue{k.Time, first + k.Offset})
	}
	err = finish(frame, places, first+clusterBytes, lasts, cues)
	return frame.head, frame.tail, err
}

// frame is a File without its clusters.
type frame struct{ head, tail []byte }

func (f *frame) WriteAt(b []byte, at int64) (int, error) {
	if at+int64(len(b)) <= int64(len(f.head)) {
		return copy(f.head[at:], b), nil
	}
	f.tail = append(f.tail, b...)
	return len(b), nil
}

func (f *frame) Truncate(int64) error { return nil }
