package recorder

// A span of a recording as one file. Its layout is computed from the segments' indexes; its bytes are made
// when they are read, a cluster at a time: whatever its length, a span needs no more memory than that.
//
// Flow: Open picks the clusters, from the key frame at or before the beginning to the one at the end; the
// container (below) tells how long each part is; Read makes the part that is asked for.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sort"
	"time"

	"github.com/heliograph-rtc/heliograph/media/fmp4"
	"github.com/heliograph-rtc/heliograph/media/matroska"
)

// Containers of a span.
const (
	Matroska = "mkv"
	MP4      = "mp4" // fragmented
)

// SpanMax bounds a span, and with it the index that is held while it is read.
const SpanMax = 6 * time.Hour

// clockSlack is how far a segment may begin before the end of the one before it: sound and picture do not end
// together. What lies further was recorded before the clock was set back, and ends where the next begins.
const clockSlack = time.Second

var (
	// ErrNothing says that nothing is recorded in a span.
	ErrNothing = errors.New("nothing is recorded in this span")
	// ErrTooLong says that a span is longer than SpanMax.
	ErrTooLong = errors.New("the span is too long")
	// ErrCodecChanges says that no one file holds the span.
	ErrCodecChanges = errors.New("the video codec changes within this span")
)

// Span is a span of a recording as a file: an io.ReadSeeker. It has one owner, who closes it.
type Span struct {
	Start, End time.Time // of what is in it: Start is the file's time zero
	MediaType  string
	Tag        string // differs whenever the bytes do

	container  container
	head, tail []byte
	pieces     []piece
	tailAt     int64

	at     int64  // of the next byte that is read
	part   []byte // what was made last
	partAt int64
	file   *os.File
}

// piece are clusters of one segment that follow on one another.
type piece struct {
	*index
	clusters []clusterIndex
	at       int64         // in the file
	shift    time.Duration // from the segment's time to the file's
	number   int           // of the first cluster
}

// container is the format of the file.
type container interface {
	// frame is what stands before and behind the clusters.
	frame(s *Span, tracks []matroska.Track) (head, tail []byte, err error)
	bytes(c clusterIndex) int64
	// convert may use b, the cluster as it is recorded, for its result.
	convert(b []byte, c clusterIndex, shift time.Duration, number int) ([]byte, error)
}

// Open opens what is recorded between two times in the folder of a recording; zero is no bound.
func (l *Library) Open(dir string, from, to time.Time, format string) (*Span, error) {
	segments, err := List(dir, from, to)
	if err != nil {
		return nil, err
	}
	s := &Span{container: containers[format]}
	if s.container == nil {
		return nil, fmt.Errorf("open span: no container is called %q", format)
	}
	if len(segments) > 0 && spanEnd(segments, to).Sub(later(segments[0].Start, from)) > SpanMax {
		return nil, ErrTooLong
	}
	for n, segment := range segments {
		i, err := l.index(segment)
		if err != nil {
			return nil, fmt.Errorf("open span: %w", err)
		}
		ends := to
		if n+1 < len(segments) && segments[n+1].Start.Before(segment.End.Add(-clockSlack)) {
			ends = segments[n+1].Start
		}
		if clusters := i.between(from, ends); len(clusters) > 0 {
			if len(s.pieces) > 0 && s.pieces[0].tracks[0].Codec != i.tracks[0].Codec {
				return nil, fmt.Errorf("%w, at %s", ErrCodecChanges, segment.Start.UTC().Format(time.RFC3339Nano))
			}
			s.pieces = append(s.pieces, piece{index: i, clusters: clusters})
		}
	}
	if len(s.pieces) == 0 {
		return nil, ErrNothing
	}
	return s, s.lay()
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func spanEnd(segments []Segment, to time.Time) time.Time {
	end := segments[len(segments)-1].End
	if !to.IsZero() && to.Before(end) {
		return to
	}
	return end
}

// between are the clusters from the key frame at or before from to the last that opens before to.
func (i *index) between(from, to time.Time) []clusterIndex {
	first, end := 0, len(i.clusters)
	for n, c := range i.clusters {
		opens := i.start.Add(c.Time)
		if c.key && !from.IsZero() && !opens.After(from) {
			first = n
		}
		if !to.IsZero() && !opens.Before(to) {
			end = n
			break
		}
	}
	if first >= end || len(i.tracks) == 0 {
		return nil
	}
	return i.clusters[first:end]
}

// lay computes the layout.
func (s *Span) lay() (err error) {
	first := s.pieces[0]
	s.Start = first.start.Add(first.clusters[0].first)
	tag := sha256.New()
	var at int64
	number := 1
	for n := range s.pieces {
		p := &s.pieces[n]
		p.at, p.number = at, number
		p.shift = p.start.Sub(s.Start).Round(time.Millisecond)
		number += len(p.clusters)
		p.tag(tag)
		for _, c := range p.clusters {
			at += s.container.bytes(c)
			s.End = later(s.End, p.start.Add(c.last))
		}
	}
	s.tailAt = at
	if s.head, s.tail, err = s.container.frame(s, first.tracks); err != nil {
		return fmt.Errorf("open span: %w", err)
	}
	for n := range s.pieces {
		s.pieces[n].at += int64(len(s.head))
	}
	s.tailAt += int64(len(s.head))
	s.MediaType = mediaTypes(s.container, first.tracks)
	fmt.Fprint(tag, s.MediaType)
	s.Tag = hex.EncodeToString(tag.Sum(nil)[:12])
	return nil
}

func (p *piece) tag(h hash.Hash) {
	end := p.clusters[len(p.clusters)-1]
	fmt.Fprintln(h, p.start.UnixNano(), p.clusters[0].Offset, end.Offset+end.Bytes)
}

// eachKey yields what begins with a key frame: where its cluster is behind the head, and when.
func (s *Span) eachKey(each func(at int64, when time.Duration)) {
	var at int64
	for _, p := range s.pieces {
		for _, c := range p.clusters {
			if c.key {
				each(at, c.Time+p.shift)
			}
			at += s.container.bytes(c)
		}
	}
}

// Bytes is the length of the file.
func (s *Span) Bytes() int64 { return s.tailAt + int64(len(s.tail)) }

// Seek is io.Seeker's.
func (s *Span) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.Bytes()
	}
	if offset < 0 {
		return 0, errors.New("seek in span: before its beginning")
	}
	s.at = offset
	return offset, nil
}

// Read is io.Reader's. An error other than io.EOF says that a segment is gone, or damaged.
func (s *Span) Read(b []byte) (int, error) {
	if s.at >= s.Bytes() {
		return 0, io.EOF
	}
	if s.at < s.partAt || s.at >= s.partAt+int64(len(s.part)) {
		if err := s.make(); err != nil {
			return 0, fmt.Errorf("read span: %w", err)
		}
	}
	n := copy(b, s.part[s.at-s.partAt:])
	s.at += int64(n)
	return n, nil
}

// make makes the part that holds the next byte.
func (s *Span) make() error {
	switch {
	case s.at < int64(len(s.head)):
		s.part, s.partAt = s.head, 0
		return nil
	case s.at >= s.tailAt:
		s.part, s.partAt = s.tail, s.tailAt
		return nil
	}
	n := sort.Search(len(s.pieces), func(n int) bool { return s.pieces[n].at > s.at }) - 1
	p := s.pieces[n]
	at := p.at
	for k, c := range p.clusters {
		bytes := s.container.bytes(c)
		if s.at >= at+bytes {
			at += bytes
			continue
		}
		b, err := s.cluster(p.path, c)
		if err != nil {
			return err
		}
		if b, err = s.container.convert(b, c, p.shift, p.number+k); err != nil {
			return err
		}
		if int64(len(b)) != bytes {
			return fmt.Errorf("a cluster is %d bytes long and not %d: %w", len(b), bytes, matroska.ErrDamaged)
		}
		s.part, s.partAt = b, at
		return nil
	}
	return io.ErrUnexpectedEOF
}

// cluster reads a cluster as it is recorded. The file stays open for the next one.
func (s *Span) cluster(path string, c clusterIndex) ([]byte, error) {
	if s.file == nil || s.file.Name() != path {
		if err := s.Close(); err != nil {
			return nil, err
		}
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		s.file = file
	}
	b := make([]byte, c.Bytes)
	_, err := s.file.ReadAt(b, c.Offset)
	return b, err
}

// Close closes what is open; a span may be read on all the same.
func (s *Span) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// The containers.

var containers = map[string]container{Matroska: mkv{}, MP4: mp4{}}

func mediaTypes(c container, tracks []matroska.Track) string {
	if _, is := c.(mp4); is {
		return fmp4.MediaType(tracks)
	}
	return "video/matroska" // RFC 9559 27.3
}

// mkv keeps clusters as they are, but for their time.
type mkv struct{}

func (mkv) frame(s *Span, tracks []matroska.Track) (head, tail []byte, err error) {
	var keys []matroska.Cluster
	s.eachKey(func(at int64, when time.Duration) { keys = append(keys, matroska.Cluster{Offset: at, Time: when}) })
	return matroska.Frame(matroska.Header{Tracks: tracks, Date: s.Start}, s.End.Sub(s.Start), s.tailAt, keys)
}

func (mkv) bytes(c clusterIndex) int64 { return c.Bytes }

func (mkv) convert(b []byte, c clusterIndex, shift time.Duration, _ int) ([]byte, error) {
	return b, matroska.Retime(b, c.Time+shift)
}

// mp4 makes a fragment of each cluster.
type mp4 struct{}

func (mp4) frame(s *Span, tracks []matroska.Track) (head, tail []byte, err error) {
	var refs []fmp4.Reference
	var last time.Duration
	var lastAt int64
	end := func(at int64, when time.Duration) {
		if n := len(refs); n > 0 {
			refs[n-1] = fmp4.Reference{Bytes: at - lastAt, Lasts: when - last}
		}
		last, lastAt = when, at
	}
	s.eachKey(func(at int64, when time.Duration) {
		end(at, when)
		refs = append(refs, fmp4.Reference{})
	})
	end(s.tailAt, s.End.Sub(s.Start))
	head, err = fmp4.Init(tracks, s.Start, s.End.Sub(s.Start), refs)
	return head, nil, err
}

func (mp4) bytes(c clusterIndex) int64 { return fmp4.FragmentBytes(c.video, c.audio, c.data) }

func (mp4) convert(b []byte, c clusterIndex, shift time.Duration, number int) ([]byte, error) {
	blocks := make([]matroska.Block, 0, c.video+c.audio)
	err := matroska.ParseCluster(b, func(k matroska.Block) error {
		k.Time += shift
		blocks = append(blocks, k)
		return nil
	})
	return fmp4.Append(make([]byte, 0, mp4{}.bytes(c)), uint32(number), blocks), err
}
