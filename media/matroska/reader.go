package matroska

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// What a reader takes: everything beyond is damage.
const (
	headerBytesMax  = 1 << 20
	clusterReadMax  = ClusterBytesMax + 16<<20
	clustersMax     = 1 << 20
	headerReadBytes = 4 << 10
)

// Cluster is a cluster that is whole on disk.
type Cluster struct {
	Offset int64 // of its head
	Bytes  int64
	Time   time.Duration
}

// Recording is what a file holds.
type Recording struct {
	Header
	Finished bool // by Close or Recover
	Duration time.Duration
	Clusters []Cluster
	End      int64 // of the last whole cluster

	places places
}

// ErrDamaged is in every error about what a file holds.
var ErrDamaged = errors.New("this is no whole Matroska file of ours")

// ReadHeader reads everything up to the first cluster.
func ReadHeader(r io.ReaderAt, size int64) (*Recording, error) {
	b := make([]byte, min(size, headerReadBytes))
	for {
		if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
			return nil, fmt.Errorf("read Matroska header: %w", err)
		}
		rec, err := parseHeader(b, int64(len(b)) == size)
		if !errors.Is(err, errCut) {
			if err != nil {
				return nil, fmt.Errorf("read Matroska header: %w (%w)", err, ErrDamaged)
			}
			return rec, nil
		}
		if int64(len(b)) >= min(size, headerBytesMax) {
			return nil, fmt.Errorf("read Matroska header: %w (%w)", err, ErrDamaged)
		}
		b = make([]byte, min(size, headerBytesMax, 4*int64(len(b))))
	}
}

// parseHeader gives errCut when b must be longer, which it cannot be when all of the file is there: then
// what is cut short behind the tracks is torn, and the header ends before it.
func parseHeader(b []byte, all bool) (*Recording, error) {
	rec := &Recording{}
	id, size, n, err := readHead(b)
	switch {
	case err != nil:
		return nil, err
	case id != idEBML || size < 0:
		return nil, errors.New("it does not begin with an EBML header")
	case size > int64(len(b)-n):
		return nil, errCut
	}
	at := n + int(size)
	id, size, n, err = readHead(b[at:])
	switch {
	case err != nil:
		return nil, err
	case id != idSegment:
		return nil, errors.New("it holds no Segment")
	}
	at += n
	if n == headBytesMax { // its size has 8 bytes; in fewer a finished file's has no room
		rec.places.segment = int64(at) - 8
	}
	rec.Finished = size != unknownSize
	for {
		id, size, n, err := readHead(b[at:])
		torn := errors.Is(err, errCut) || err == nil && size > int64(len(b)-at-n)
		switch {
		case id == idCluster || id == idCues || torn && all && rec.Tracks != nil:
			if rec.Tracks == nil {
				return nil, errors.New("it holds no tracks")
			}
			rec.places.clusters, rec.End = int64(at), int64(at)
			return rec, nil
		case torn:
			return nil, errCut
		case err != nil:
			return nil, err
		case size < 0:
			return nil, errVint
		}
		payload := b[at+n : at+n+int(size)]
		if err := rec.take(id, payload, int64(at), int64(at+n)); err != nil {
			return nil, err
		}
		at += n + int(size)
	}
}

// take reads a child of the Segment that stands before the clusters.
func (rec *Recording) take(id uint32, b []byte, at, begin int64) error {
	var err error
	switch id {
	case idVoid, idSeekHead:
		if rec.places.seekHead == 0 {
			rec.places.seekHead = at
		}
	case idInfo:
		rec.places.info = at
		err = rec.readInfo(b, begin)
	case idTracks:
		rec.places.tracks = at
		rec.Tracks = []Track{}
		err = eachElement(b, func(id uint32, p []byte) error {
			t, err := readTrack(p)
			if id == idTrackEntry && err == nil {
				rec.Tracks = append(rec.Tracks, t)
			}
			return err
		})
	case idTags:
		rec.Tags = map[string]string{}
		err = eachElement(b, func(id uint32, p []byte) error { return eachElement(p, rec.readTag) })
	}
	if errors.Is(err, errCut) {
		err = errors.New("an element is longer than the one around it")
	}
	return err
}

func (rec *Recording) readInfo(b []byte, begin int64) error {
	at := begin
	return eachElement(b, func(id uint32, p []byte) error {
		head := int64(len(appendSize(appendID(nil, id), len(p))))
		switch id {
		case idDateUTC:
			rec.Date = epoch.Add(time.Duration(readUint(p)))
		case idDuration:
			if ms := readFloat(p); ms > 0 && ms < math.MaxInt64/float64(time.Millisecond)/2 {
				rec.Duration = time.Duration(ms) * time.Millisecond
			}
			rec.places.duration = at
		case idVoid:
			rec.places.duration = at
		}
		at += head + int64(len(p))
		return nil
	})
}

func (rec *Recording) readTag(id uint32, b []byte) error {
	if id != idSimpleTag {
		return nil
	}
	var name, value string
	err := eachElement(b, func(id uint32, p []byte) error {
		switch id {
		case idTagName:
			name = string(p)
		case idTagString:
			value = string(p)
		}
		return nil
	})
	rec.Tags[name] = value
	return err
}

// Read reads the header and finds the clusters. What follows the last whole one is left out: it is the
// cues, or torn.
func Read(r io.ReaderAt, size int64) (*Recording, error) {
	rec, err := ReadHeader(r, size)
	if err != nil {
		return nil, err
	}
	head := make([]byte, headBytesMax+timestampBytes)
	for at := rec.places.clusters; at < size && len(rec.Clusters) < clustersMax; {
		n, err := r.ReadAt(head, at)
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read Matroska cluster: %w", err)
		}
		id, length, skip, err := readHead(head[:n])
		total := int64(skip) + length
		if err != nil || id != idCluster || length < timestampBytes || length > clusterReadMax || total > size-at || n < skip+timestampBytes {
			break
		}
		var opens time.Duration
		if id, _, n, err := readHead(head[skip:]); err == nil && id == idTimestamp {
			opens = time.Duration(readUint(head[skip+n:skip+timestampBytes])&math.MaxInt32) * time.Millisecond
		}
		rec.Clusters = append(rec.Clusters, Cluster{Offset: at, Bytes: total, Time: opens})
		at += total
		rec.End = at
	}
	return rec, nil
}

// ParseCluster calls each for every block of a cluster, given whole. Data is part of b.
func ParseCluster(b []byte, each func(Block) error) error {
	id, size, n, err := readHead(b)
	if err != nil || id != idCluster || size != int64(len(b)-n) {
		return fmt.Errorf("read Matroska cluster: %w", ErrDamaged)
	}
	var opens time.Duration
	err = eachElement(b[n:], func(id uint32, p []byte) error {
		switch id {
		case idTimestamp:
			opens = time.Duration(readUint(p)&math.MaxInt32) * time.Millisecond
		case idSimpleBlock:
			block, err := readBlock(p, opens)
			if err != nil {
				return err
			}
			block.Data = p[blockHeadBytes:]
			return each(block)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read Matroska cluster: %w", err)
	}
	return nil
}

// ReadCluster reads a cluster and parses it.
func ReadCluster(r io.ReaderAt, c Cluster, each func(Block) error) error {
	if c.Bytes < 0 || c.Bytes > clusterReadMax+headBytesMax {
		return fmt.Errorf("read Matroska cluster: %w", ErrDamaged)
	}
	b := make([]byte, c.Bytes)
	if _, err := r.ReadAt(b, c.Offset); err != nil {
		return fmt.Errorf("read Matroska cluster: %w", err)
	}
	return ParseCluster(b, each)
}

// blockHeadBytes are before a block's data: track, time, flags.
const blockHeadBytes = 4

// readBlock reads the head of a block in the cluster that opens then.
func readBlock(p []byte, opens time.Duration) (Block, error) {
	if len(p) < blockHeadBytes || p[0]&0x80 == 0 || p[3]&0x06 != 0 { // tracks beyond 127 and lacing are not ours
		return Block{}, ErrDamaged
	}
	relative := int16(uint16(p[1])<<8 | uint16(p[2]))
	return Block{Track: int(p[0] & 0x7f), Time: opens + time.Duration(relative)*time.Millisecond, Key: p[3]&0x80 != 0}, nil
}

// ScanCluster calls each for every block of a cluster with the length of its data, which it does not read.
func ScanCluster(r io.ReaderAt, c Cluster, each func(b Block, bytes int64)) error {
	head := make([]byte, headBytesMax+blockHeadBytes)
	end := c.Offset + c.Bytes
	for at := c.Offset + clusterHeadBytes; at < end; {
		n, err := r.ReadAt(head[:min(int64(len(head)), end-at)], at)
		if err != nil && err != io.EOF {
			return fmt.Errorf("scan Matroska cluster: %w", err)
		}
		id, size, skip, err := readHead(head[:n])
		if err != nil || size < 0 || size > end-at-int64(skip) {
			return fmt.Errorf("scan Matroska cluster: %w", ErrDamaged)
		}
		if id == idSimpleBlock {
			b, err := readBlock(head[skip:n], c.Time)
			if err != nil {
				return fmt.Errorf("scan Matroska cluster: %w", err)
			}
			each(b, size-blockHeadBytes)
		}
		at += int64(skip) + size
	}
	return nil
}

// Retime moves a cluster, given whole and as Writer writes it, to another time.
func Retime(cluster []byte, to time.Duration) error {
	if len(cluster) < clusterHeadBytes || cluster[clusterHeadBytes-timestampBytes] != idTimestamp || to < 0 {
		return fmt.Errorf("move Matroska cluster: %w", ErrDamaged)
	}
	binary.BigEndian.PutUint64(cluster[clusterHeadBytes-8:], uint64(to.Milliseconds()))
	return nil
}

// Recover finishes a file that a crash has left: what is torn at its end is cut, cues, duration and size
// are written. It returns what the file holds now. A file that was finished is left alone.
func Recover(file interface {
	File
	io.ReaderAt
}, size int64) (*Recording, error) {
	rec, err := Read(file, size)
	if err != nil || rec.Finished {
		return rec, err
	}
	if rec.places.segment == 0 || rec.places.seekHead == 0 || rec.places.duration == 0 {
		return nil, fmt.Errorf("recover Matroska file: %w", ErrDamaged)
	}
	var cues []cue
	for i, c := range rec.Clusters {
		first, key := true, false
		err := ReadCluster(file, c, func(b Block) error {
			key = key || first && b.Key && b.Track == VideoNumber
			first = false
			rec.Duration = max(rec.Duration, b.Time)
			return nil
		})
		if err != nil { // bytes that never reached the disk: what follows them is worth nothing
			rec.Clusters, rec.End = rec.Clusters[:i], c.Offset
			break
		}
		if key {
			cues = append(cues, cue{c.Time, c.Offset})
		}
	}
	if err := file.Truncate(rec.End); err != nil {
		return nil, fmt.Errorf("recover Matroska file: %w", err)
	}
	if err := finish(file, rec.places, rec.End, rec.Duration, cues); err != nil {
		return nil, err
	}
	rec.Finished = true
	return rec, nil
}
