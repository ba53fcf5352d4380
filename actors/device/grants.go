package device

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Grants say which viewers may do what the others may not: for a pattern of client ids (path.Match) a
// list of "bitrate", "exec:NAME" and "exec:*". Client ids are chosen by who connects: a grant is as
// strong as what lets somebody become a viewer of the channel.
type Grants map[string][]string

// The requests that need a grant, as grants name them.
const (
	grantBitrate = "bitrate"
	grantExec    = "exec:"
)

// check refuses patterns and grants that could never be met, because a slip would go unnoticed.
func (g Grants) check(commands map[string][]string) error {
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if args := commands[name]; name == "" || len(args) == 0 || args[0] == "" {
			return fmt.Errorf("data command %q: no program is named", name)
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(g)) {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("data grant %q: %w", pattern, errors.Join(errors.New("no pattern of client ids"), err))
		}
		for _, grant := range g[pattern] {
			name, exec := strings.CutPrefix(grant, grantExec)
			if _, known := commands[name]; exec && (known || name == "*") || grant == grantBitrate {
				continue
			}
			return fmt.Errorf("data grant %q: %q is neither bitrate, exec:* nor exec: with the name of a data command", pattern, grant)
		}
	}
	return nil
}

func (g Grants) allow(clientID, wanted string) bool {
	for pattern, granted := range g {
		if fits, err := path.Match(pattern, clientID); err != nil || !fits {
			continue
		}
		all := strings.HasPrefix(wanted, grantExec) && slices.Contains(granted, grantExec+"*")
		if all || slices.Contains(granted, wanted) {
			return true
		}
	}
	return false
}
