package bench

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/ffmpeg"
	"github.com/heliograph-rtc/heliograph/media"
)

// probedFiles is what ffmpeg and ffprobe find in recordings.
type probedFiles struct {
	all, valid int           // valid: ffmpeg decodes it without a word
	recorded   time.Duration // of picture, in all files
	missing    time.Duration // pictures that are not there between the first and the last of a file
	skew       time.Duration // of sound against picture, at its largest
	said       string        // by ffmpeg, of the first file that is not valid
}

// probeFiles looks at all files of a directory.
func probeFiles(ctx context.Context, dir string) (p probedFiles, err error) {
	sound, err := soundMarks()
	if err != nil {
		return p, err
	}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".mkv" {
			return err
		}
		return p.add(ctx, path, sound)
	})
	return p, err
}

// soundMarks are where in a loop of the sample its packets stand, by their hash; those that are there
// twice are left out.
func soundMarks() (map[string]time.Duration, error) {
	packets, err := media.SampleAudio()
	if err != nil {
		return nil, err
	}
	marks, twice := map[string]time.Duration{}, map[string]bool{}
	for i, packet := range packets {
		name := ffmpeg.Hash(packet)
		if _, there := marks[name]; there {
			twice[name] = true
		}
		marks[name] = time.Duration(i) * opusFrame
	}
	for name := range twice {
		delete(marks, name)
	}
	if len(marks) == 0 {
		return nil, errors.New("all packets of the sample's sound are alike")
	}
	return marks, nil
}

func (p *probedFiles) add(ctx context.Context, path string, sound map[string]time.Duration) error {
	p.all++
	if err := ffmpeg.Decode(ctx, path); err == nil {
		p.valid++
	} else if p.said == "" {
		p.said = err.Error()
	}
	packets, err := ffmpeg.Packets(ctx, path)
	if err == nil {
		p.count(packets, sound)
	}
	return err
}

// count goes through the packets of a file. Picture and sound of the loop begin at one time, the picture with
// a key frame every 2 s of it.
func (p *probedFiles) count(packets []ffmpeg.Packet, sound map[string]time.Duration) {
	const keyEvery, frame = 2 * time.Second, time.Second / 30
	var first, last, key time.Duration
	pictures, keyed := 0, false
	for _, packet := range packets {
		mark, marked := sound[packet.Hash]
		switch {
		case packet.Video:
			if pictures == 0 {
				first = packet.At
			}
			if packet.Key {
				key, keyed = packet.At, true
			}
			pictures, last = pictures+1, max(last, packet.At)
		case marked && keyed: // as far behind a key frame as it is behind one in the loop, but for whole intervals
			skew := (packet.At - key - mark) % keyEvery
			if skew < 0 {
				skew += keyEvery
			}
			p.skew = max(p.skew, min(skew, keyEvery-skew))
		}
	}
	if pictures > 0 {
		p.recorded += last - first + frame
		p.missing += max(0, last-first+frame-time.Duration(pictures)*frame).Round(frame)
	}
}
