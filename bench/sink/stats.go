package sink

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"smtplb/bench/mail"
)

// Stats is what the relays have counted, in the order of the configuration.
type Stats struct {
	Relays []RelayStats `json:"relays"`
}

// RelayStats is what one relay has counted since the start or the last reset.
type RelayStats struct {
	Name        string           `json:"name"`
	Address     netip.AddrPort   `json:"address"`
	Connections int64            `json:"connections"` // accepted
	Sessions    int64            `json:"sessions"`    // of those, greeted in turn with EHLO or HELO
	Messages    int64            `json:"messages"`    // taken: a 250 was decided on
	Bytes       int64            `json:"bytes"`       // of their content
	Foreign     int64            `json:"foreign"`     // of the messages, not from this harness
	Corrupt     int64            `json:"corrupt"`     // of the messages, damaged on the way
	Open        int64            `json:"open"`        // connections now
	Faults      map[string]int64 `json:"faults"`      // injected, by Fault.Kind
	// AcceptErrors counts failed accepts, for want of descriptors as a rule.
	AcceptErrors int64 `json:"accept_errors"`
}

// Relay returns the numbers of one relay, zero ones for an unknown name.
func (s Stats) Relay(name string) RelayStats {
	for _, r := range s.Relays {
		if r.Name == name {
			return r
		}
	}
	return RelayStats{}
}

// Total adds the relays up. It has no name and no address.
func (s Stats) Total() RelayStats {
	total := RelayStats{Faults: make(map[string]int64)}
	for _, r := range s.Relays {
		total.Connections += r.Connections
		total.Sessions += r.Sessions
		total.Messages += r.Messages
		total.Bytes += r.Bytes
		total.Foreign += r.Foreign
		total.Corrupt += r.Corrupt
		total.Open += r.Open
		total.AcceptErrors += r.AcceptErrors
		for kind, n := range r.Faults {
			total.Faults[kind] += n
		}
	}
	return total
}

// counts is what a relay counts. Safe for concurrent use.
type counts struct {
	connections, sessions, messages, bytes, foreign, corrupt, open, acceptErrors atomic.Int64

	mu     sync.Mutex // guards all below
	faults map[string]int64
	runs   map[uint64]int64 // messages, by run
}

// injected counts a fault, or takes one back that could not be sent.
func (c *counts) injected(kind string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.faults == nil {
		c.faults = make(map[string]int64)
	}
	if c.faults[kind] += n; c.faults[kind] <= 0 {
		delete(c.faults, kind)
	}
}

func (c *counts) arrived(a mail.Arrival) {
	c.messages.Add(1)
	c.bytes.Add(a.Size)
	if !a.Known {
		c.foreign.Add(1)
		return
	}
	if a.Corrupt {
		c.corrupt.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs = make(map[uint64]int64)
	}
	c.runs[a.ID.Run]++
}

func (c *counts) ofRun(run uint64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[run]
}

func (c *counts) stats() RelayStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	faults := maps.Clone(c.faults)
	if faults == nil {
		faults = make(map[string]int64)
	}
	return RelayStats{
		Connections: c.connections.Load(), Sessions: c.sessions.Load(), Messages: c.messages.Load(),
		Bytes: c.bytes.Load(), Foreign: c.foreign.Load(), Corrupt: c.corrupt.Load(), Open: c.open.Load(),
		AcceptErrors: c.acceptErrors.Load(), Faults: faults,
	}
}

// reset leaves what is a state and not a count: the open connections, and the
// messages by run.
func (c *counts) reset() {
	for _, n := range []*atomic.Int64{
		&c.connections, &c.sessions, &c.messages, &c.bytes, &c.foreign, &c.corrupt, &c.acceptErrors,
	} {
		n.Store(0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}
