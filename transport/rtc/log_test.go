package rtc

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestStackLogPassesOnlyTroubleAndOnlyAtDebugLevel(t *testing.T) {
	core, seen := observer.New(zapcore.DebugLevel)
	log := stackLog{zap.New(core)}.NewLogger("ice")
	log.Trace("secret")
	log.Debugf("secret %d", 1)
	log.Infof("secret %d", 2)
	log.Warn("first")
	log.Errorf("second %d", 2)
	entries := seen.All()
	if len(entries) != 2 || entries[0].Message != "first" || entries[1].Message != "second 2" {
		t.Fatalf("logged %v", entries)
	}
	for _, e := range entries {
		if e.Level != zapcore.DebugLevel || e.ContextMap()["pion"] != "ice" {
			t.Fatalf("logged %+v", e)
		}
	}
}
