package main

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"smtplb/balancer"
	"smtplb/internal/config"
	"smtplb/proxy"
)

// newLogger returns a logger that writes every line (the session line is an
// audit trail: no sampling), its level, which may be changed, and a function that
// writes what is still buffered.
func newLogger(cfg config.Log, out io.Writer) (*zap.Logger, zap.AtomicLevel, func()) {
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
	lines := newLogWriter(out)
	least := zap.NewAtomicLevelAt(level(cfg.Level))
	log := zap.New(zapcore.NewCore(encoder, lines, least))
	return log, least, lines.close
}

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

// logSession writes the one line of a session.
func logSession(log *zap.Logger, r *proxy.Record) {
	if entry := log.Check(zapcore.InfoLevel, "session"); entry != nil {
		entry.Write(zap.Inline((*sessionLine)(r)))
	}
}

// sessionLine writes a record's fields straight into the line: as a list of
// zap.Field it would cost a balancer a fiftieth of a short session.
type sessionLine proxy.Record

// MarshalLogObject writes the fields, with the reason where a client was
// refused. Times are milliseconds.
func (r *sessionLine) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("id", r.ID)
	enc.AddString("listener", r.Listener)
	enc.AddString("client", r.Client.String())
	enc.AddString("pool", r.Pool)
	enc.AddString("backend", r.Backend)
	enc.AddInt("tier", r.Tier)
	enc.AddString("site", r.Site)
	enc.AddBool("warm", r.Warm)
	if err := enc.AddArray("attempts", (*attemptList)(r)); err != nil {
		return err
	}
	enc.AddInt("greeting_code", r.GreetingCode)
	enc.AddFloat64("greeting_ms", ms(r.Greeting))
	enc.AddFloat64("setup_ms", ms(r.Setup))
	enc.AddInt64("bytes_up", r.BytesUp)
	enc.AddInt64("bytes_down", r.BytesDown)
	enc.AddFloat64("duration_ms", ms(r.Duration))
	enc.AddString("end", r.End.String())
	if r.Reason != "" {
		enc.AddString("reason", r.Reason)
	}
	return nil
}

type attemptList proxy.Record

// MarshalLogArray writes the relays that were asked, in their order.
func (r *attemptList) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for i := range r.Attempts {
		if err := enc.AppendObject((*attempt)(&r.Attempts[i])); err != nil {
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
	if c.To == balancer.Busy || c.To == balancer.Ejected || c.To == balancer.Down {
		write = log.Warn
	}
	fields := []zap.Field{
		zap.String("pool", c.Pool), zap.String("backend", c.Backend),
		zap.Stringer("from", c.From), zap.Stringer("to", c.To), zap.String("reason", c.Reason),
	}
	if !c.Until.IsZero() {
		fields = append(fields, zap.Duration("for", c.Until.Sub(c.Time)))
	}
	write("backend", fields...)
}

// logTierChange writes that new sessions go to another tier, and why.
func logTierChange(log *zap.Logger, c balancer.TierChange) {
	what, write := "failover", log.Warn
	if c.To < c.From {
		what, write = "failback", log.Info
	}
	write(what, zap.String("pool", c.Pool), zap.Int("from_tier", c.From), zap.Int("to_tier", c.To), zap.String("reason", c.Reason))
}

// fewNetworks are the first of a list, and a word on how many there are more: it
// may have thousands, and a line of the log has limits of its own.
func fewNetworks(all []netip.Prefix) []string {
	const most = 32
	texts := make([]string, 0, most+1)
	for _, p := range all[:min(len(all), most)] {
		texts = append(texts, p.String())
	}
	if len(all) > most {
		texts = append(texts, fmt.Sprintf("and %d more", len(all)-most))
	}
	return texts
}
