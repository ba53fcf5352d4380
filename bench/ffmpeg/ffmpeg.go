// Package ffmpeg has the programs ffmpeg and ffprobe judge what was recorded.
package ffmpeg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Decode decodes a file and keeps nothing. Whatever ffmpeg has to say of it is an error.
func Decode(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-").CombinedOutput()
	if err == nil && len(out) == 0 {
		return nil
	}
	return fmt.Errorf("ffmpeg on %s: %v %.200s", filepath.Base(path), err, out)
}

// Packet is one of a file's.
type Packet struct {
	Video bool // else sound
	Key   bool
	At    time.Duration
	Hash  string // as Hash makes it of the packet's bytes
}

// Hash marks the bytes of a packet.
func Hash(packet []byte) string {
	sum := sha256.Sum256(packet)
	return hex.EncodeToString(sum[:])
}

// Packets are those that ffprobe finds in a file, in its order.
func Packets(ctx context.Context, path string) ([]Packet, error) {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_packets", "-show_data_hash", "sha256",
		"-show_entries", "packet=codec_type,pts_time,flags,data_hash", "-of", "json", path).Output()
	var packets []Packet
	if err == nil {
		packets, err = parsePackets(out)
	}
	if err != nil {
		return nil, fmt.Errorf("ffprobe on %s: %w", filepath.Base(path), err)
	}
	return packets, nil
}

// parsePackets reads what ffprobe says.
func parsePackets(out []byte) ([]Packet, error) {
	var found struct {
		Packets []struct {
			Kind  string `json:"codec_type"`
			PTS   string `json:"pts_time"`
			Flags string `json:"flags"`
			Hash  string `json:"data_hash"`
		}
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, err
	}
	packets := make([]Packet, len(found.Packets))
	for i, p := range found.Packets {
		seconds, err := strconv.ParseFloat(p.PTS, 64)
		if err != nil {
			return nil, fmt.Errorf("packet %d has no time: %w", i, err)
		}
		packets[i] = Packet{
			Video: p.Kind == "video", Key: strings.HasPrefix(p.Flags, "K"), At: time.Duration(seconds * float64(time.Second)),
			Hash: strings.ToLower(strings.TrimPrefix(p.Hash, "SHA256:")),
		}
	}
	return packets, nil
}
