package main

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/media"
)

// openSink makes the sink that the user named; nil discards.
func openSink(name string, log *zap.Logger) (media.Sink, error) {
	kind, rest, _ := strings.Cut(name, ":")
	switch {
	case name == "discard":
		return nil, nil
	case kind == "file" && rest != "":
		return media.NewFileSink(rest)
	case kind == "exec" && rest != "":
		return media.NewCommandSink([]string{"/bin/sh", "-c", rest}, log), nil
	}
	return nil, fmt.Errorf("open audio sink %q: not known; use one of discard, file:PATH, exec:COMMAND", name)
}
