package balancer

import (
	"fmt"
	"sync/atomic"
	"time"
)

// State is whether a backend may be given sessions.
type State uint8

// The states of a backend.
const (
	Up State = iota
	Down
)

// String returns "up" or "down".
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

// Change is a backend's step from one state to another.
type Change struct {
	Time          time.Time
	Pool, Backend string
	From, To      State
	Reason        string // for people: "3 failures in a row, last: live greeting_4xx"
}

// health is the evidence about one backend. While it is up, badProbes counts the failed probes since the last good one
// and badLive the failed attempts of sessions since the last good probe or good greeting; while it is down, good counts
// the good probes since the last bad one. What does not apply is 0.
//
// A relay that greets sessions does not make up for its failed probes: under load it would for ever, and a relay whose
// probe fails on purpose, to take it out, would never be out.
type health struct {
	state     State
	good      int
	badProbes int
	badLive   atomic.Int64 // added to under the lock; a good greeting clears it without
	reason    string
	since     time.Time // zero: since the pool was made
}

// bad is the run of failures that counts against a backend.
func (h *health) bad() int { return h.badProbes + int(h.badLive.Load()) }

// forgive starts the run anew.
func (h *health) forgive() {
	h.badProbes = 0
	h.badLive.Store(0)
}

// Verdict is what an active check says of a backend.
type Verdict uint8

// The verdicts.
const (
	VerdictGood   Verdict = iota // it would take a session
	VerdictFailed                // refused, silent, greeted 5xx, or the like
	VerdictBusy                  // greeted 421: alive, but no sessions now (RFC 5321, section 3.8)
)

// Probe takes in the verdict of an active check of a backend, named by its index; reason says in a few words why it
// was not good. An index that does not exist is ignored.
func (p *Pool) Probe(now time.Time, index int, v Verdict, reason string) {
	ok := v == VerdictGood
	if index < 0 || index >= len(p.slots) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := &p.slots[index]; ok {
		p.passedProbe(now, s)
	} else {
		p.failedProbe(now, s, reason)
	}
	p.notify()
}

func (p *Pool) passedProbe(now time.Time, s *slot) {
	s.forgive()
	if s.state == Up {
		return
	}
	s.good++
	if s.good >= p.rise {
		p.turn(now, s, Up, inARow(s.good, "good probe"))
	}
}

func (p *Pool) failedProbe(now time.Time, s *slot, reason string) {
	s.good = 0
	if s.state == Down {
		return
	}
	s.badProbes++
	if s.bad() >= p.fall {
		if reason == "" {
			reason = "failed"
		}
		p.turn(now, s, Down, inARow(s.bad(), "failure")+", last: probe "+reason)
	}
}

// failedLive takes in a session's failed attempt. While down it says nothing new: the attempt began before.
func (p *Pool) failedLive(now time.Time, s *slot, outcome Outcome) {
	if s.state == Down {
		return
	}
	s.badLive.Add(1)
	// For the last one that is up the count only goes on: a failed probe can confirm it, or the next failure once another
	// is up again.
	last := p.usable == 1
	if s.bad() >= p.fall && !last {
		p.turn(now, s, Down, inARow(s.bad(), "failure")+", last: live "+outcome.String())
	}
}

// turn puts a backend into another state. One that comes up is owed nothing for the time it was down.
func (p *Pool) turn(now time.Time, s *slot, to State, reason string) {
	s.delist()
	if p.onChange != nil {
		p.changes = append(p.changes, Change{
			Time: now, Pool: p.name, Backend: s.id.name, From: s.state, To: to, Reason: reason,
		})
	}
	if s.usable() {
		p.usable--
	}
	s.state, s.reason, s.since = to, reason, now
	s.good = 0
	s.forgive()
	if s.usable() {
		p.usable++
	}
	if to == Up {
		s.pass = max(s.pass, s.tier.vtime)
	}
	s.enlist()
}

// notify tells onChange what has changed. It is called with the lock held, and lets it go while it tells. Whoever comes
// while another goroutine is telling leaves its changes to that one: so they are told one at a time and in order, and
// onChange may itself call the pool.
func (p *Pool) notify() {
	if len(p.changes) == 0 || p.notifying {
		return
	}
	p.notifying = true
	defer func() { p.notifying = false }()
	for len(p.changes) > 0 {
		changes := p.changes
		p.changes = nil
		p.tell(changes)
	}
}

// tell calls onChange with the lock let go, and takes it again even if onChange panics.
func (p *Pool) tell(changes []Change) {
	p.mu.Unlock()
	defer p.mu.Lock()
	for _, c := range changes {
		p.onChange(c)
	}
}

func inARow(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss in a row", n, what)
}
