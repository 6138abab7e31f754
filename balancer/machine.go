package balancer

import (
	"fmt"
	"strings"
	"time"
)

// State is whether a backend may be given sessions, and why not.
type State uint8

// The states of a backend. Only in Up it is given new sessions; those that run on it go on in every state.
const (
	Up       State = iota // takes sessions
	Busy                  // a check was greeted with 421: alive, but no new sessions for a moment
	Draining              // taken out by a person; it is still checked
	Ejected               // sessions failed on it one after the other: left alone for a time
	Down                  // checks failed
	Disabled              // taken out by a person, for longer; otherwise as Draining
)

// String returns the state's word, such as "ejected"; "unknown" for a value that is none of the constants.
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Busy:
		return "busy"
	case Draining:
		return "draining"
	case Ejected:
		return "ejected"
	case Down:
		return "down"
	case Disabled:
		return "disabled"
	}
	return "unknown"
}

// event is what may move a backend from one state to another.
type event uint8

const (
	probeGood event = iota
	probeFailed
	probeBusy
	liveFailed
	timeUp
	lastLeft
	drain
	disable
	enable
)

// String is the event in words, for the table in the docs.
func (e event) String() string {
	switch e {
	case probeGood:
		return "a check is good"
	case probeFailed:
		return "a check fails"
	case probeBusy:
		return "a check is answered with 421"
	case liveFailed:
		return "a session's attempt fails"
	case timeUp:
		return "its time is over"
	case lastLeft:
		return "no other backend of the pool is up"
	case drain:
		return "a person drains it"
	case disable:
		return "a person disables it"
	case enable:
		return "a person enables it"
	}
	return "unknown"
}

// rule is one line of the state machine: event on takes a backend from one of the states from to the state to, if the
// condition holds.
type rule struct {
	from  []State
	on    event
	to    State
	when  func(*Pool, *slot) bool // nil: always
	words string                  // when, for people; "" if nil
}

// rules is the state machine, the whole of it. The first rule that fits is the one that is followed; where none does, the
// state stays. The evidence that the conditions look at is counted before they are asked.
func rules() []rule {
	fallen := func(p *Pool, s *slot) bool { return s.badProbes >= p.fall }
	failed := func(_ *Pool, s *slot) bool { return s.badProbes > 0 }
	risen := func(p *Pool, s *slot) bool { return s.good >= p.rise }
	failing := func(p *Pool, s *slot) bool { return s.badLive.Load() >= p.failures && p.othersUp(s) }
	return []rule{
		{[]State{Up, Busy, Ejected}, probeFailed, Down, fallen, "`probe.fall` in a row"},
		{[]State{Up}, probeBusy, Busy, (*Pool).othersUp, "another backend of the pool is up"},
		{[]State{Busy}, probeBusy, Busy, nil, ""},
		{[]State{Busy}, probeGood, Up, nil, ""},
		{[]State{Up}, liveFailed, Ejected, failing, "`passive.failures` in a row, and another backend of the pool is up"},
		{[]State{Ejected}, timeUp, Down, failed, "the last check failed"},
		{[]State{Busy, Ejected}, timeUp, Up, nil, ""},
		{[]State{Busy, Ejected}, lastLeft, Up, nil, ""},
		{[]State{Down}, probeGood, Up, risen, "`probe.rise` in a row"},
		{[]State{Up, Busy, Ejected, Down, Disabled}, drain, Draining, nil, ""},
		{[]State{Up, Busy, Ejected, Down, Draining}, disable, Disabled, nil, ""},
		{[]State{Draining, Disabled}, enable, Down, fallen, "the last `probe.fall` checks failed"},
		{[]State{Draining, Disabled}, enable, Up, nil, ""},
	}
}

// busyTime is how long one 421 keeps a backend from new sessions, unless a check is greeted well before. Checks come
// faster than that; it is for a pool that is checked seldom.
const busyTime = 15 * time.Second

// cause is why a state changes, as people read it; it is put into words only where one does.
type cause struct {
	times int    // 0: the words say it all
	what  string // "failed check"
	last  string // the last one: "greeting_4xx"
}

func (c cause) String() string {
	text := c.what
	switch {
	case c.times == 1:
		text = "1 " + c.what
	case c.times > 1:
		text = fmt.Sprintf("%d %ss in a row", c.times, c.what)
	}
	if c.last != "" {
		text += ", last: " + c.last
	}
	return text
}

// fire tells a backend's machine of an event.
func (p *Pool) fire(now time.Time, s *slot, on event, why cause) {
	for i := range p.rules {
		r := &p.rules[i]
		if r.on == on && r.starts(s.state) && (r.when == nil || r.when(p, s)) {
			p.turn(now, s, r.to, on, why.String())
			return
		}
	}
}

func (r *rule) starts(from State) bool {
	for _, s := range r.from {
		if s == from {
			return true
		}
	}
	return false
}

// othersUp tells whether the pool could do without s: another backend takes sessions.
func (p *Pool) othersUp(s *slot) bool {
	others := p.usable
	if s.usable() {
		others--
	}
	return others > 0
}

// turn puts a backend into another state. One that comes up is owed nothing for the time
// that it was away, and begins slowly.
func (p *Pool) turn(now time.Time, s *slot, to State, on event, reason string) {
	s.delist()
	from, wasUsable := s.state, s.usable()
	s.state, s.reason, s.until = to, reason, time.Time{}
	switch to {
	case Up:
		s.pass = max(s.pass, s.tier.vtime)
		s.badLive.Store(0)
		if from == Ejected {
			s.habit.forget() // it may have become slower: who is always overtaken could never show it
		}
		if on != lastLeft {
			p.beginSlowly(now, s)
		}
	case Busy:
		s.until = now.Add(busyTime)
	case Ejected:
		s.until = now.Add(p.ejection(now, s))
		s.lastEjected = s.until
	}
	s.good = 0
	if from == to {
		s.enlist()
		p.wakeAt(s.until)
		return
	}
	s.since = now
	p.changed(Change{Time: now, Pool: p.name, Backend: s.id.name, From: from, To: to, Reason: reason, Until: s.until})
	s.enlist()
	p.count(now, s, wasUsable)
	p.wakeAt(s.until)
}

// settle follows what has changed at this moment, when all of it has: who must be spared, and which tier is used.
func (p *Pool) settle(now time.Time) {
	p.spareTheLast(now)
	p.review(now)
}

// count keeps the sums of usable backends right after s changed.
func (p *Pool) count(now time.Time, s *slot, was bool) {
	switch is := s.usable(); {
	case is && !was:
		p.usable++
		s.tier.healthy++
		s.tier.gained(now)
	case was && !is:
		p.usable--
		s.tier.healthy--
	}
}

// spareTheLast brings back whom only live traffic or a 421 keeps out, when nobody else is left: to ask them is no worse
// than to ask nobody.
func (p *Pool) spareTheLast(now time.Time) {
	if p.usable > 0 {
		return
	}
	for _, s := range p.slots {
		if s.weight > 0 {
			p.fire(now, s, lastLeft, cause{what: "no other backend is up"})
		}
	}
}

// ejection is how long the ejection that begins now lasts: twice the one before, up to the most, unless the backend has
// held out for as long as the most since.
func (p *Pool) ejection(now time.Time, s *slot) time.Duration {
	if now.Sub(s.lastEjected) >= p.maxEject {
		s.ejections = 0
	}
	d := p.eject
	for range s.ejections {
		if d >= p.maxEject/2 {
			d = p.maxEject
			break
		}
		d *= 2
	}
	s.ejections++
	return min(d, p.maxEject)
}

// StateTable returns the state machine as a Markdown table: the docs show it, and a test holds them to it.
func StateTable() string {
	var b strings.Builder
	b.WriteString("| in state | when | and | it becomes |\n|---|---|---|---|\n")
	for _, r := range rules() {
		if len(r.from) == 1 && r.from[0] == r.to {
			continue // only its time begins anew
		}
		names := make([]string, len(r.from))
		for i, s := range r.from {
			names[i] = "`" + s.String() + "`"
		}
		b.WriteString("| " + strings.Join(names, " ") + " | " + r.on.String() + " | " + r.words + " | `" + r.to.String() + "` |\n")
	}
	return b.String()
}
