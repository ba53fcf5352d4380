package rtc

import (
	"fmt"
	"path"
	"strings"
)

// InterfaceFilter says on which network interfaces sockets are opened, and so which addresses viewers
// are offered: patterns of names (path.Match), those after a ! excluded. Excluded is what any of those
// fits; with a pattern to include, everything else is, too. None: all interfaces.
type InterfaceFilter []string

// Check refuses patterns that are none.
func (f InterfaceFilter) Check() error {
	for _, pattern := range f {
		name := strings.TrimPrefix(pattern, "!")
		if _, err := path.Match(name, ""); err != nil || name == "" {
			return fmt.Errorf("interface %q: use names and patterns such as eth0, wlan* and !docker*", pattern)
		}
	}
	return nil
}

// takes tells whether the interface of that name is used.
func (f InterfaceFilter) takes(name string) bool {
	included, choosy := false, false
	for _, pattern := range f {
		pattern, excludes := strings.CutPrefix(pattern, "!")
		fits, err := path.Match(pattern, name)
		switch fits = fits && err == nil; {
		case excludes && fits:
			return false
		case !excludes:
			included, choosy = included || fits, true
		}
	}
	return included || !choosy
}

// UseInterfaces changes the filter for the viewers that come from now on: sockets that others use stay
// open for as long as the machine has their addresses.
func (e *Engine) UseInterfaces(f InterfaceFilter) error {
	if err := f.Check(); err != nil {
		return err
	}
	e.sockets.mu.Lock()
	e.sockets.filter, e.sockets.other = f, true
	e.sockets.mu.Unlock()
	return nil
}
