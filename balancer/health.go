package balancer

import (
	"sync/atomic"
	"time"
)

// Change is a backend's step from one state to another.
type Change struct {
	Time          time.Time
	Pool, Backend string
	From, To      State
	Reason        string    // for people: "3 failed sessions in a row, last: greeting_4xx"
	Until         time.Time // when the new state ends by itself; zero: it does not
}

// health is a backend's state and the evidence for the next one. The two kinds of evidence are kept apart: a relay that
// greets sessions does not make up for its failed checks (under load it would for ever, and one whose check fails on
// purpose, to take it out, would never be out), and one whose checks are good does not make up for sessions that fail.
type health struct {
	state  State
	reason string
	since  time.Time // zero: since the pool was made
	until  time.Time // when the state ends by itself; zero: it does not

	good      int          // good checks in a row, since the last failed session
	badProbes int          // failed checks in a row
	badLive   atomic.Int64 // failed attempts of sessions in a row; added to under the lock, a good greeting clears it without

	ejections   int       // in a row, for the next one's length
	lastEjected time.Time // the end of the last one
}

// Verdict is what an active check says of a backend.
type Verdict uint8

// The verdicts.
const (
	VerdictGood   Verdict = iota // it would take a session
	VerdictFailed                // refused, silent, greeted 5xx, or the like
	VerdictBusy                  // answered 421: alive, but no sessions now (RFC 5321, section 3.8)
)

// Probe takes in the verdict of an active check of a backend, named by its ID; reason says in a few words why it
// was not good. An ID that is not configured is ignored.
func (p *Pool) Probe(now time.Time, id int, v Verdict, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	s := p.slot(id)
	if s == nil {
		p.notify()
		return
	}
	switch v {
	case VerdictGood:
		s.badProbes = 0
		s.good++
		p.fire(now, s, probeGood, cause{s.good, "good check", ""})
	case VerdictBusy:
		s.badProbes, s.good = 0, 0
		p.fire(now, s, probeBusy, cause{1, "check", reasonOr(reason, "421")})
	default:
		s.good = 0
		s.badProbes++
		p.fire(now, s, probeFailed, cause{s.badProbes, "failed check", reasonOr(reason, "no reason given")})
	}
	p.settle(now)
	p.notify()
}

// failedLive takes in a session's failed attempt. In a state other than Up it says nothing new: the attempt began before.
func (p *Pool) failedLive(now time.Time, s *slot, outcome Outcome) {
	if s.state != Up || s.gone {
		return
	}
	s.good = 0 // so that checks come soon, until some were good
	bad := s.badLive.Add(1)
	p.fire(now, s, liveFailed, cause{int(bad), "failed session", outcome.String()})
	p.settle(now)
}

// Doubtful reports whether the state of a backend, named by its ID, may change with the next checks: they should come
// soon. An ID that is not configured is in no doubt.
func (p *Pool) Doubtful(id int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slot(id)
	if s == nil {
		return false
	}
	switch s.state {
	case Up:
		return s.badProbes > 0 || s.badLive.Load() > 0 && s.good < p.rise
	case Busy, Ejected:
		return true
	case Down:
		return s.good > 0
	default:
		return false
	}
}

// Drain gives a backend, named by its ID, no new sessions until Enable. It reports whether there is such a backend.
func (p *Pool) Drain(now time.Time, id int) bool { return p.order(now, id, drain, "drained") }

// Disable does as Drain, by another word: for a backend that is to be out for longer.
func (p *Pool) Disable(now time.Time, id int) bool {
	return p.order(now, id, disable, "disabled")
}

// Enable undoes Drain and Disable. It reports whether there is such a backend.
func (p *Pool) Enable(now time.Time, id int) bool { return p.order(now, id, enable, "enabled") }

func (p *Pool) order(now time.Time, id int, on event, reason string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	s := p.slot(id)
	if s == nil {
		p.notify()
		return false
	}
	p.fire(now, s, on, cause{what: reason})
	p.settle(now)
	p.notify()
	return true
}

func reasonOr(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return reason
}
