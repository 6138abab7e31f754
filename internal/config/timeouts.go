package config

import (
	"fmt"
	"time"
)

// Timeouts bound each step of a session.
type Timeouts struct {
	// Connect bounds one connection attempt, at most SessionSetup. Default 5s.
	Connect time.Duration `koanf:"connect"`

	// Greeting bounds the wait for one relay's whole greeting, at most
	// SessionSetup. Default 15s.
	Greeting time.Duration `koanf:"greeting"`

	// Hedge is when a second relay is asked while the first is still silent:
	// auto (three times what its greetings usually take, at least 1s), off, or a
	// time below Greeting. Default auto.
	Hedge Hedge `koanf:"hedge"`

	// SessionSetup bounds all attempts of one session together: the client waits 5
	// minutes for its greeting (RFC 5321, 4.5.3.2.1). When it is over the client
	// reads 421 4.3.2. Default 60s.
	SessionSetup time.Duration `koanf:"session_setup"`

	// Idle is how long an established session may be silent, 11m to 24h: less
	// would cut a client that waits for the reply to its message, which it may do
	// for 10 minutes (RFC 5321, 4.5.3.2.6). A client is never cut while it waits.
	// Default 15m.
	Idle time.Duration `koanf:"idle"`

	// Drain is how long sessions may go on once we are told to stop, 0s to 24h;
	// 0s is not at all. At its end those go on that wait for a reply. Default 15m.
	Drain time.Duration `koanf:"drain"`
}

// Hedge is when a second relay is asked for its greeting. The zero value is
// never.
type Hedge struct {
	// Auto leaves the time to what the relays usually take.
	Auto bool

	// After is the time, where Auto is false; 0 is never.
	After time.Duration
}

// String gives the value as it stands in the file.
func (h Hedge) String() string {
	switch {
	case h.Auto:
		return "auto"
	case h.After == 0:
		return "off"
	}
	return short(h.After)
}

func (r *report) checkTimeouts(t *Timeouts, at string) {
	r.lasting(at+".connect", t.Connect, time.Millisecond, 5*time.Minute)
	r.lasting(at+".greeting", t.Greeting, time.Millisecond, 5*time.Minute)
	if t.SessionSetup > 5*time.Minute {
		r.fail(at+".session_setup", "must be 1ms to 5m: the client waits 5 minutes for its greeting (RFC 5321, 4.5.3.2.1)")
	}
	r.lasting(at+".session_setup", t.SessionSetup, time.Millisecond, 5*time.Minute)
	r.atMost(at+".connect", t.Connect, at+".session_setup", t.SessionSetup)
	r.atMost(at+".greeting", t.Greeting, at+".session_setup", t.SessionSetup)

	switch {
	case t.Hedge.Auto || r.failed(at+".greeting"):
	case t.Hedge.After < 0:
		r.fail(at+".hedge", "must be auto, off, or a time above 0s")
	case t.Hedge.After >= t.Greeting:
		r.fail(at+".hedge", fmt.Sprintf("must be auto, off, or below greeting (%s): the wait is over by then", short(t.Greeting)))
	}

	// The client may wait 10 minutes for the answer to its final dot; cut
	// before that, it sends a message again that the relay has taken.
	if t.Idle < minIdle {
		r.fail(at+".idle", "must be at least 11m: the client waits 10 minutes after the final dot "+
			"(RFC 5321, 4.5.3.2.6), a cut then means duplicates")
	}
	r.lasting(at+".idle", t.Idle, minIdle, 24*time.Hour)
	r.lasting(at+".drain", t.Drain, 0, 24*time.Hour)
}
