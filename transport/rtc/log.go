package rtc

import (
	"fmt"

	"github.com/pion/logging"
	"go.uber.org/zap"
)

// stackLog gives pion's warnings and errors to the log at debug level: what matters to an operator
// reaches him as an event of the peer. Everything below is dropped, because pion formats
// descriptions and credentials into it.
type stackLog struct{ log *zap.Logger }

// NewLogger implements logging.LoggerFactory.
func (s stackLog) NewLogger(scope string) logging.LeveledLogger {
	return scopeLog{s.log.With(zap.String("pion", scope))}
}

type scopeLog struct{ log *zap.Logger }

func (scopeLog) Trace(string)          {}
func (scopeLog) Tracef(string, ...any) {}
func (scopeLog) Debug(string)          {}
func (scopeLog) Debugf(string, ...any) {}
func (scopeLog) Info(string)           {}
func (scopeLog) Infof(string, ...any)  {}

func (s scopeLog) Warn(msg string)  { s.log.Debug(msg) }
func (s scopeLog) Error(msg string) { s.log.Debug(msg) }

func (s scopeLog) Warnf(format string, args ...any)  { s.debugf(format, args) }
func (s scopeLog) Errorf(format string, args ...any) { s.debugf(format, args) }

func (s scopeLog) debugf(format string, args []any) {
	if s.log.Core().Enabled(zap.DebugLevel) {
		s.log.Debug(fmt.Sprintf(format, args...))
	}
}
