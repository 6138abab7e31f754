package main

import (
	"io"
	"math"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"smtplb/balancer"
	"smtplb/internal/config"
	"smtplb/proxy"
)

// newLogger returns a logger that writes every line (the session line is an
// audit trail: no sampling) and a function that writes what is still buffered.
// Lines are written within logDelay, so that no event loop makes a system call
// for each session.
func newLogger(cfg config.Log, out io.Writer) (*zap.Logger, func()) {
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey = "time"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if cfg.Format == config.LogConsole {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	buffer := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(out), FlushInterval: logDelay}
	log := zap.New(zapcore.NewCore(encoder, buffer, level(cfg.Level)))
	return log, func() { _ = buffer.Stop() }
}

const logDelay = 100 * time.Millisecond

func level(l config.LogLevel) zapcore.Level {
	switch l {
	case config.LogDebug:
		return zapcore.DebugLevel
	case config.LogWarn:
		return zapcore.WarnLevel
	case config.LogError:
		return zapcore.ErrorLevel
	default:
		return zapcore.InfoLevel
	}
}

// logSession writes the one line of a session, with the reason where it was
// refused. Times are milliseconds.
func logSession(log *zap.Logger, r *proxy.Record) {
	entry := log.Check(zapcore.InfoLevel, "session")
	if entry == nil {
		return
	}
	fields := [...]zap.Field{
		zap.String("id", r.ID), zap.String("listener", r.Listener), zap.Stringer("client", r.Client),
		zap.String("pool", r.Pool), zap.String("backend", r.Backend), zap.Int("tier", r.Tier),
		zap.String("site", r.Site), zap.Bool("warm", false),
		zap.Array("attempts", attempts(r.Attempts)),
		zap.Int("greeting_code", r.GreetingCode), zap.Float64("greeting_ms", ms(r.Greeting)),
		zap.Float64("setup_ms", ms(r.Setup)),
		zap.Int64("bytes_up", r.BytesUp), zap.Int64("bytes_down", r.BytesDown),
		zap.Float64("duration_ms", ms(r.Duration)), zap.Stringer("end", r.End),
		zap.Skip(),
	}
	if r.Reason != "" {
		fields[len(fields)-1] = zap.String("reason", r.Reason)
	}
	entry.Write(fields[:]...)
}

type attempts []proxy.Attempt

// MarshalLogArray writes the relays that were asked, in their order.
func (a attempts) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for i := range a {
		if err := enc.AppendObject((*attempt)(&a[i])); err != nil {
			return err
		}
	}
	return nil
}

type attempt proxy.Attempt

// MarshalLogObject writes one attempt; reply only where a greeting was refused.
func (a *attempt) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("backend", a.Backend)
	enc.AddString("outcome", a.Outcome.String())
	enc.AddFloat64("ms", ms(a.Took))
	if a.Reply != "" {
		enc.AddString("reply", a.Reply)
	}
	return nil
}

// ms is d in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }

// logChange writes that a relay changed state, and why.
func logChange(log *zap.Logger, c balancer.Change) {
	write := log.Info
	if c.To != balancer.Up {
		write = log.Warn
	}
	write("backend", zap.String("pool", c.Pool), zap.String("backend", c.Backend),
		zap.Stringer("from", c.From), zap.Stringer("to", c.To), zap.String("reason", c.Reason))
}
