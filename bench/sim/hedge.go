package sim

import (
	"math"
	"time"

	"smtplb/balancer"
)

// The hedged greeting, as in proxy: a relay that has said nothing for as long as the balancer has patience with it is asked
// no longer alone. The first good greeting wins, and one that was late is to blame. When two are late, the first is given up
// for a third. The model knows beforehand how an attempt will end, the session does not.

// attempt is a relay that a session asks.
type attempt struct {
	lease   balancer.Lease
	index   int
	outcome balancer.Outcome // how it is to end
	asked   time.Duration
	ends    time.Duration // when it does, if it is let
}

const (
	hedgeShare = 10                     // of a balancer's sessions one in so many may ask two relays, and one always
	hedgePause = 100 * time.Millisecond // until a session looks again whether it may
	notYet     = time.Duration(math.MaxInt64)
)

// dial asks the relay that the attempt holds a lease on. It reports whether that is to be waited for: if not, the attempt has
// failed.
func (d *day) dial(s *session, a *attempt) bool {
	a.index = a.lease.Backend().ID()
	a.asked = d.at
	d.result.attempts[d.cfg.phaseAt(d.at)]++
	asked := len(s.tried) + 1
	if a != &s.attempt {
		asked++
	}
	d.result.most = max(d.result.most, asked)
	f := d.faultOf(a.index)
	if f == nil {
		a.ends = d.at + d.greetings.draw(a.index)
		return true
	}
	if a.index < d.plan.local {
		d.result.moves.asked(d.at)
	}
	a.outcome = f.outcome
	a.ends = d.at + takes(f.outcome)
	if a.ends > d.at {
		return true
	}
	d.failed(s, a)
	return false
}

// failed ends an attempt, which counts against its relay.
func (d *day) failed(s *session, a *attempt) {
	s.tried = append(s.tried, a.index)
	a.lease.Fail(d.now(), a.outcome)
}

// arm has a session look when the next thing is due.
func (d *day) arm(who int) { d.armUntil(who, d.sessions[who].hedgeTime()) }

// armUntil has it look at this time, or when an attempt ends before.
func (d *day) armUntil(who int, at time.Duration) {
	s := &d.sessions[who]
	at = min(at, s.due(&s.attempt))
	if s.second.lease.Held() {
		at = min(at, s.due(&s.second))
	}
	s.wake = at
	d.events.push(at, sessionLooks, who)
}

// due is when an attempt ends, or the session's time.
func (s *session) due(a *attempt) time.Duration { return min(a.ends, s.accepted+sessionSetup) }

// lastAsked is the relay that was asked last, of one or two.
func (s *session) lastAsked() *attempt {
	if s.second.lease.Held() {
		return &s.second
	}
	return &s.attempt
}

// hedgeTime is when another relay is to be asked beside the one that was asked last.
func (s *session) hedgeTime() time.Duration {
	if s.alone {
		return notYet
	}
	a := s.lastAsked()
	patience := a.lease.Patience()
	if patience <= 0 {
		return notYet
	}
	return a.asked + patience
}

// asking lists the relays that the session has asked or is asking. Valid until the next call.
func (d *day) asking(s *session) []int {
	d.scratch = append(append(d.scratch[:0], s.tried...), s.index)
	if s.second.lease.Held() {
		d.scratch = append(d.scratch, s.second.index)
	}
	return d.scratch
}

// look acts on what has become due while a session asks relays. One that looks at another time than it means to has been
// answered since, or given up.
func (d *day) look(who int) {
	s := &d.sessions[who]
	if s.wake != d.at {
		return
	}
	s.wake = never
	for _, a := range [...]*attempt{&s.attempt, &s.second} {
		if a.lease.Held() && d.at >= s.due(a) {
			d.over(who, a)
			return
		}
	}
	at := s.hedgeTime()
	if d.at >= at {
		s.lastAsked().lease.Late()
	}
	switch {
	case d.at < at:
		d.arm(who)
	case s.second.lease.Held():
		d.giveUpFirst(who)
	case d.mayHedge():
		d.hedge(who)
	default:
		d.armUntil(who, d.at+hedgePause)
	}
}

// over is for an attempt that has ended, or has had what time the session has left.
func (d *day) over(who int, a *attempt) {
	s := &d.sessions[who]
	if d.at >= a.ends && a.outcome == balancer.OK {
		d.win(s, a)
		d.greeted(who)
		return
	}
	if d.at >= a.ends {
		d.failed(s, a)
	} else {
		s.tried = append(s.tried, a.index)
		a.lease.Release(d.now()) // it had less than its time: that is no evidence
	}
	switch {
	case a == &s.second:
		d.endHedge(s)
	case s.second.lease.Held():
		d.promote(s)
	default:
		d.ask(who)
		return
	}
	s.wake = d.at
	d.look(who) // perhaps a third one can be asked
}

// win ends a hedge, if there is one, that a has won.
func (d *day) win(s *session, a *attempt) {
	switch {
	case a == &s.second:
		d.dismissFirst(s)
	case s.second.lease.Held():
		s.second.lease.Release(d.now()) // asked in vain, which is nobody's fault
		d.endHedge(s)
	}
}

// dismissFirst ends the attempt at the first of two relays, which was late, and goes on with the second.
func (d *day) dismissFirst(s *session) {
	if s.outcome == balancer.OK { // it would have greeted yet
		s.outcome = balancer.GreetingTimeout
		d.result.overtaken++
	}
	d.failed(s, &s.attempt)
	d.promote(s)
}

// mayHedge tells whether one session more may ask two relays.
func (d *day) mayHedge() bool { return d.hedging < max(d.running/hedgeShare, 1) }

// giveUpFirst asks a third relay in place of the first of two that are late, if there is one.
func (d *day) giveUpFirst(who int) {
	s := &d.sessions[who]
	lease, err := d.pool.Acquire(d.now(), d.asking(s))
	if err != nil {
		s.alone = true
		d.arm(who)
		return
	}
	d.dismissFirst(s)
	if !d.mayHedge() {
		lease.Release(d.now())
		d.armUntil(who, d.at+hedgePause)
		return
	}
	d.hedgeWith(who, lease)
}

// hedge asks a second relay beside the first.
func (d *day) hedge(who int) {
	s := &d.sessions[who]
	lease, err := d.pool.Acquire(d.now(), d.asking(s))
	if err != nil {
		s.alone = true
		d.arm(who)
		return
	}
	d.hedgeWith(who, lease)
}

// hedgeWith is hedge with a lease on the relay to ask first.
func (d *day) hedgeWith(who int, lease balancer.Lease) {
	s := &d.sessions[who]
	for err := error(nil); err == nil; {
		second := attempt{lease: lease}
		if d.dial(s, &second) {
			d.hedging++
			d.result.hedged++
			s.second = second
			d.arm(who)
			return
		}
		lease, err = d.pool.Acquire(d.now(), d.asking(s))
	}
	s.alone = true
	d.arm(who)
}

// promote puts the second relay into the place of the first, which is out.
func (d *day) promote(s *session) {
	s.attempt = s.second
	s.alone = false
	d.endHedge(s)
}

func (d *day) endHedge(s *session) {
	s.second = attempt{}
	d.hedging--
}
