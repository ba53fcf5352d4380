package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

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

// soundMarks are where in a loop of the sample its packets stand, by what ffprobe calls their hash; those
// that are there twice are left out.
func soundMarks() (map[string]time.Duration, error) {
	packets, err := media.SampleAudio()
	if err != nil {
		return nil, err
	}
	marks, twice := map[string]time.Duration{}, map[string]bool{}
	for i, packet := range packets {
		name := hashName(packet)
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

// probedPacket is a packet as ffprobe tells it.
type probedPacket struct {
	Kind  string `json:"codec_type"`
	PTS   string `json:"pts_time"`
	Flags string `json:"flags"`
	Hash  string `json:"data_hash"`
}

func (p *probedFiles) add(ctx context.Context, path string, sound map[string]time.Duration) error {
	p.all++
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-").CombinedOutput()
	switch {
	case err == nil && len(out) == 0:
		p.valid++
	case p.said == "":
		p.said = fmt.Sprintf("%s: %v %.200s", filepath.Base(path), err, out)
	}
	out, err = exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_packets", "-show_data_hash", "md5", "-of", "json", path).Output()
	var found struct{ Packets []probedPacket }
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		return fmt.Errorf("ffprobe %s: %w", filepath.Base(path), err)
	}
	return p.count(found.Packets, sound)
}

// count goes through the packets of a file. Picture and sound of the loop begin at one time, the picture with
// a key frame every 2 s of it.
func (p *probedFiles) count(packets []probedPacket, sound map[string]time.Duration) error {
	const keyEvery, frame = 2 * time.Second, time.Second / 30
	var first, last, key time.Duration
	pictures, keyed := 0, false
	for _, packet := range packets {
		seconds, err := strconv.ParseFloat(packet.PTS, 64)
		if err != nil {
			return fmt.Errorf("ffprobe: a packet without a time: %w", err)
		}
		at := time.Duration(seconds * float64(time.Second))
		mark, marked := sound[packet.Hash]
		switch {
		case packet.Kind == "video":
			if pictures == 0 {
				first = at
			}
			if packet.Flags != "" && packet.Flags[0] == 'K' {
				key, keyed = at, true
			}
			pictures, last = pictures+1, max(last, at)
		case marked && keyed: // as far behind a key frame as it is behind one in the loop, but for whole intervals
			skew := (at - key - mark) % keyEvery
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
	return nil
}
