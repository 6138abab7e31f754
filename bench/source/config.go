package source

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"time"

	"smtplb/bench/mail"
	"smtplb/bench/result"
)

// The defaults of a Config.
const (
	DefaultTimeout        = time.Minute
	DefaultConnectTimeout = 10 * time.Second
	DefaultRetryPause     = time.Second
	DefaultBackoff        = 100 * time.Millisecond
	DefaultMaxOpen        = 10_000
	DefaultFrom           = "source@smtpbench.invalid"
	DefaultTo             = "sink@smtpbench.invalid"
)

// Config is what to send, where to, how fast and until when. Exactly one of
// Concurrency and Rate is set; everything else has a default. It is not changed
// by being run.
type Config struct {
	// Targets are host:port or host, for port 25; sessions go to them in turn. A
	// name is looked up once, and the first address is used, IPv4 before IPv6.
	Targets []string

	Concurrency int     // closed model: so many clients
	Rate        float64 // open model: sessions a second
	Poisson     bool    // open model: random gaps, of the same mean; else even ones
	// MaxOpen bounds the sessions that are open at once in the open model, for
	// want of descriptors or memory: what is due beyond is dropped, and counted.
	// 0: DefaultMaxOpen.
	MaxOpen int

	MessagesPerSession int        // 0: 1
	Size               Sizes      // zero: 4 KB
	Recipients         Recipients // zero: one
	Pipelining         bool       // send commands together where that is offered (RFC 2920)
	BDAT               bool       // instead of DATA where that is offered (RFC 3030)
	STARTTLS           bool       // where that is offered; certificates are not verified (RFC 7435)
	HELO               string     // "": the machine's name
	From, To           string     // envelope addresses; further recipients get a number before the @

	// The run ends with whichever comes first; 0: no limit. Sessions that are
	// open at the end of Duration finish their message, and QUIT.
	Duration           time.Duration
	Messages, Sessions int64

	Retry      int           // how often a message is tried, until it is accepted; 0: once
	RetryPause time.Duration // before another try; 0: DefaultRetryPause
	// Backoff is how long a client of the closed model pauses after a session that
	// got no greeting; it doubles up to ten times that. 0: DefaultBackoff.
	Backoff time.Duration

	Timeout        time.Duration // for each reply; 0: DefaultTimeout
	ConnectTimeout time.Duration // 0: DefaultConnectTimeout

	Local []netip.Addr // addresses to connect from, in turn; none: the kernel's choice
	Seed  uint64       // of sizes, recipients and Poisson gaps

	Run    uint64       // in the identity of the messages
	Ledger *mail.Ledger // told of each message; may be nil

	// OnSecond is called with each second of the run, from one goroutine. The run
	// waits for it.
	OnSecond func(result.Second)
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	fill(&c.MaxOpen, DefaultMaxOpen)
	fill(&c.MessagesPerSession, 1)
	fill(&c.Retry, 1)
	fill(&c.RetryPause, DefaultRetryPause)
	fill(&c.Backoff, DefaultBackoff)
	fill(&c.Timeout, DefaultTimeout)
	fill(&c.ConnectTimeout, DefaultConnectTimeout)
	fill(&c.From, DefaultFrom)
	fill(&c.To, DefaultTo)
	if c.HELO == "" {
		c.HELO = "localhost"
		if name, err := os.Hostname(); err == nil && bare(name) {
			c.HELO = name
		}
	}
	return c
}

// fill sets what is the zero value.
func fill[T comparable](value *T, def T) {
	var zero T
	if *value == zero {
		*value = def
	}
}

// open tells the model.
func (c *Config) open() bool { return c.Rate > 0 }

// Check returns everything that is wrong with the configuration, joined, or nil.
// It looks nothing up.
func (c *Config) Check() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(c.Targets) == 0 {
		wrong("no target: name at least one, as host:port")
	}
	for _, name := range c.Targets {
		if _, _, err := splitTarget(name); err != nil {
			problems = append(problems, err)
		}
	}
	if (c.Concurrency != 0) == (c.Rate != 0) {
		wrong("concurrency %d and rate %g: exactly one of them must be set", c.Concurrency, c.Rate)
	}
	if math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0) || c.Rate > 1e6 {
		wrong("rate %g: want at most 1000000 sessions a second", c.Rate)
	}
	for _, n := range []struct {
		name  string
		value float64
	}{
		{"concurrency", float64(c.Concurrency)}, {"rate", c.Rate}, {"max-open", float64(c.MaxOpen)},
		{"messages-per-session", float64(c.MessagesPerSession)}, {"messages", float64(c.Messages)},
		{"sessions", float64(c.Sessions)}, {"tries of a message", float64(c.Retry)}, {"duration", c.Duration.Seconds()},
		{"retry pause", c.RetryPause.Seconds()}, {"backoff", c.Backoff.Seconds()},
		{"timeout", c.Timeout.Seconds()}, {"connect timeout", c.ConnectTimeout.Seconds()},
	} {
		if n.value < 0 {
			wrong("%s %g: must not be negative", n.name, n.value)
		}
	}
	for _, n := range []struct{ name, value string }{{"sender", c.From}, {"recipient", c.To}} {
		if n.value != "" && (!bare(n.value) || strings.Count(n.value, "@") != 1) {
			wrong("%s %q: want an address such as anna@example.com", n.name, n.value)
		}
	}
	if c.HELO != "" && !bare(c.HELO) {
		wrong("helo name %q: want a host name without spaces", c.HELO)
	}
	return errors.Join(problems...)
}

// bare reports whether text can stand in a command as it is.
func bare(text string) bool {
	return text != "" && len(text) <= 255 && !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '<' || r == '>'
	})
}
