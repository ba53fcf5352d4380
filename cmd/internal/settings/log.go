package settings

import (
	"fmt"
	"os"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// silent is a level above every other.
const silent = zapcore.FatalLevel + 1

// levels maps what users write to zap's levels: words, and the numbers of AWS_KVS_LOG_LEVEL
// (1 verbose ... 7 silent).
var levels = map[string]zapcore.Level{
	"debug": zapcore.DebugLevel, "1": zapcore.DebugLevel, "2": zapcore.DebugLevel,
	"info": zapcore.InfoLevel, "3": zapcore.InfoLevel, "": zapcore.InfoLevel,
	"warn": zapcore.WarnLevel, "4": zapcore.WarnLevel,
	"error": zapcore.ErrorLevel, "5": zapcore.ErrorLevel,
	"fatal": zapcore.FatalLevel, "6": zapcore.FatalLevel,
	"silent": silent, "7": silent,
}

// Logger returns a log to standard error. The level is debug, info (also when empty), warn, error or
// silent, or a number as in AWS_KVS_LOG_LEVEL. The format is text, json, or auto (also when empty):
// text on a terminal, JSON elsewhere.
func Logger(level, format string) (*zap.Logger, error) {
	min, err := Level(level)
	if err != nil {
		return nil, err
	}
	return LoggerAt(min, format)
}

// Level reads a level; one that is atomic may be changed later.
func Level(text string) (zap.AtomicLevel, error) {
	level, ok := levels[strings.ToLower(text)]
	if !ok {
		return zap.AtomicLevel{}, fmt.Errorf("unknown log level %q: want debug, info, warn, error, silent, or 1 to 7", text)
	}
	return zap.NewAtomicLevelAt(level), nil
}

// LoggerAt is Logger with a level that may change.
func LoggerAt(min zap.AtomicLevel, format string) (*zap.Logger, error) {
	var encoder zapcore.Encoder
	switch strings.ToLower(format) {
	case "", "auto":
		encoder = jsonEncoder()
		if onTerminal(os.Stderr) {
			encoder = textEncoder(os.Getenv("NO_COLOR") == "")
		}
	case "text":
		encoder = textEncoder(onTerminal(os.Stderr) && os.Getenv("NO_COLOR") == "")
	case "json":
		encoder = jsonEncoder()
	default:
		return nil, fmt.Errorf("unknown log format %q: want auto, text or json", format)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), min)), nil
}

func jsonEncoder() zapcore.Encoder {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey = "time"
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.SecondsDurationEncoder
	return zapcore.NewJSONEncoder(c)
}

func textEncoder(colour bool) zapcore.Encoder {
	c := zap.NewDevelopmentEncoderConfig()
	c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	c.ConsoleSeparator = "  "
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	if colour {
		c.EncodeLevel = zapcore.CapitalColorLevelEncoder
	}
	return zapcore.NewConsoleEncoder(c)
}

// onTerminal tells whether a person reads along.
func onTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
