package recorder

// Where the clusters of a segment are and what is in them, without their media. A finished segment does not
// change: its index is read once and kept, for a browser asks for a file in many ranges.

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/heliograph-rtc/heliograph/media/matroska"
)

// indexesMax bounds what is kept: some 4 KiB for each segment of 30 s.
const indexesMax = 2048

// Library reads recordings. It may be shared; its zero value is ready.
type Library struct {
	mu    sync.Mutex
	known map[string]*index // of finished segments, by path
}

// index is of one segment, and never changed.
type index struct {
	path     string
	start    time.Time
	bytes    int64 // of the file
	tracks   []matroska.Track
	clusters []clusterIndex
}

type clusterIndex struct {
	matroska.Cluster
	key          bool          // it begins with a key frame
	first, last  time.Duration // of its blocks
	video, audio int           // blocks
	data         int64         // bytes of them
}

// index reads the index of a segment, or has it.
func (l *Library) index(s Segment) (*index, error) {
	l.mu.Lock()
	known := l.known[s.Path]
	l.mu.Unlock()
	if known != nil && known.bytes == s.Bytes {
		return known, nil
	}
	read, finished, err := readIndex(s)
	if err != nil || !finished {
		return read, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = map[string]*index{}
	}
	for path := range l.known {
		if len(l.known) < indexesMax {
			break
		}
		delete(l.known, path) // any: it can be read again
	}
	l.known[s.Path] = read
	return read, nil
}

func readIndex(s Segment) (_ *index, finished bool, err error) {
	file, err := os.Open(s.Path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	rec, err := matroska.Read(file, info.Size())
	if err != nil {
		return nil, false, err
	}
	i := &index{path: s.Path, start: s.Start, bytes: info.Size(), tracks: rec.Tracks}
	for _, c := range rec.Clusters {
		of := clusterIndex{Cluster: c, first: c.Time, last: c.Time}
		err := matroska.ScanCluster(file, c, func(b matroska.Block, bytes int64) {
			switch b.Track {
			case matroska.VideoNumber:
				of.key = of.key || b.Key && of.video+of.audio == 0
				of.video++
			case matroska.AudioNumber:
				of.audio++
			default:
				return
			}
			of.data += bytes
			of.first, of.last = min(of.first, b.Time), max(of.last, b.Time)
		})
		if errors.Is(err, matroska.ErrDamaged) {
			break // bytes that a crash kept from the disk
		}
		if err != nil {
			return nil, false, err
		}
		i.clusters = append(i.clusters, of)
	}
	return i, rec.Finished, nil
}
