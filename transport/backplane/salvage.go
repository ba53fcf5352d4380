// Salvage: what the bytes of a damaged store still hold. JetStream's framing need not be whole for
// it: every value was sealed with a checksum over its key and itself (store.go), so bytes that match
// are what was written, wherever they stand.
//
// Flow: readBlocks gets the files, traces finds what was written to which key in order of the log,
// and judge weighs that against the manifest.
//
// Owner: Repair; pure functions but for readBlocks.

package backplane

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const salvageBytesMax = 1 << 20 // of one value; NATS takes no larger message

var (
	sealPattern = regexp.MustCompile(`[0-9a-f]{64}\n\{`)
	// A message in a block: subject, four bytes of length, headers. Measured (JetStream 2.15.2).
	headPattern = regexp.MustCompile(`(?s)\$KV\.(channel|stream)s\.([a-zA-Z0-9=_-]+).{4}NATS/1\.0\r\n(.{0,400}?\r\n)\r\n`)
)

// trace is one thing that the log says of a key: a value, or without one that it was written (a value
// that is whole follows) or removed.
type trace struct {
	at      int
	key     string // with its kind's mark
	value   []byte
	removed bool
}

// readBlocks reads every file below folders that exist, in order of the log.
func readBlocks(folders ...string) (blocks [][]byte, err error) {
	for _, folder := range folders {
		var paths []string
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		slices.SortFunc(paths, func(a, b string) int { // 2.blk precedes 10.blk
			return cmp.Or(strings.Compare(filepath.Dir(a), filepath.Dir(b)), len(a)-len(b), strings.Compare(a, b))
		})
		for _, path := range paths {
			block, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			blocks = append(blocks, block)
		}
	}
	return blocks, nil
}

// traces finds all that a block says, in its order.
func traces(block []byte, kinds []shelfKind) (all []trace) {
	for _, found := range headPattern.FindAllSubmatchIndex(block, -1) {
		part := func(i int) string { return string(block[found[2*i]:found[2*i+1]]) }
		for _, kind := range kinds {
			if kind.name == part(1) {
				all = append(all, trace{at: found[0], key: kind.mark + part(2), removed: strings.Contains(part(3), operationHeader+":")})
			}
		}
	}
	for _, found := range sealPattern.FindAllIndex(block, -1) {
		if key, value, ok := sealedAt(block[found[0]:], kinds); ok {
			all = append(all, trace{at: found[0], key: key, value: value})
		}
	}
	slices.SortFunc(all, func(a, b trace) int { return cmp.Compare(a.at, b.at) })
	return all
}

// sealedAt reads the sealed value at the beginning of text. The value says where it ends and, by its
// name, which key it was sealed with.
func sealedAt(text []byte, kinds []shelfKind) (key string, value []byte, ok bool) {
	rest := text[sumHexBytes+1:]
	if json.NewDecoder(bytes.NewReader(rest[:min(len(rest), salvageBytesMax)])).Decode((*json.RawMessage)(&value)) != nil {
		return "", nil, false
	}
	var named struct{ Name string }
	if json.Unmarshal(value, &named) != nil {
		return "", nil, false
	}
	for _, kind := range kinds {
		key := kind.mark + token(named.Name)
		if checksum(key, value) == string(text[:sumHexBytes]) {
			return key, value, true
		}
	}
	return "", nil, false
}

// remains is what traces amount to.
type remains struct {
	last  map[string][]byte // the last whole value of each key that was not removed after it
	newer map[string]bool   // a later value was written, and is not whole
	ever  map[string][]byte // every whole value, by its checksum
}

func gather(blocks [][]byte, kinds []shelfKind) remains {
	r := remains{map[string][]byte{}, map[string]bool{}, map[string][]byte{}}
	for _, block := range blocks {
		for _, t := range traces(block, kinds) {
			switch {
			case t.value != nil:
				r.last[t.key], r.newer[t.key] = t.value, false
				r.ever[checksum(t.key, t.value)] = t.value
			case t.removed:
				delete(r.last, t.key)
				delete(r.newer, t.key)
			default:
				r.newer[t.key] = true
			}
		}
	}
	return r
}

// State is what became of a resource.
type State string

// The states, as people read them.
const (
	Intact  State = "intact"
	Earlier State = "an earlier state of it"
	Unknown State = "not in the manifest, perhaps deleted before"
	Lost    State = "lost"
)

// verdict is the state of one key, and the value to go on with unless it is lost.
type verdict struct {
	state State
	value []byte
}

// judge weighs what was found against the manifest. everywhere holds every value in the folder: one
// that the manifest asks for is right wherever it lies. Without a manifest (nil) the log alone tells.
func judge(m *manifest, log, everywhere remains) map[string]verdict {
	all := map[string]verdict{}
	for key, value := range log.last {
		switch {
		case m != nil:
			all[key] = verdict{Unknown, value}
		case log.newer[key]:
			all[key] = verdict{Earlier, value}
		default:
			all[key] = verdict{Intact, value}
		}
	}
	if m == nil {
		for key, newer := range log.newer {
			if newer && log.last[key] == nil {
				all[key] = verdict{state: Lost}
			}
		}
		return all
	}
	for key, accepted := range m.keys {
		if all[key] = judgeKnown(accepted, log.last[key], everywhere); all[key].state == "" {
			delete(all, key)
		}
	}
	return all
}

// judgeKnown looks for the value that the manifest accepts, the newer one first. The zero verdict: the
// key may be absent, and is.
func judgeKnown(accepted []string, last []byte, everywhere remains) verdict {
	for _, sum := range slices.Backward(accepted) {
		if value := everywhere.ever[sum]; value != nil {
			return verdict{Intact, value}
		}
	}
	switch {
	case slices.Contains(accepted, absentSum):
		return verdict{}
	case last != nil:
		return verdict{Earlier, last}
	}
	return verdict{state: Lost}
}

// sortedKeys are the keys in the order in which people read them.
func sortedKeys(all map[string]verdict) []string { return slices.Sorted(maps.Keys(all)) }
