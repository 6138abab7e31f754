package sink

import "math"

// tend has the listeners do what the faults at connect say.
func (l *loop) tend() {
	for _, ln := range l.listeners {
		if ln.paused > 0 && l.now >= ln.paused {
			ln.paused = 0
			if ln.fd >= 0 && l.watch(ln) != nil { // no memory
				ln.paused = l.now + int64(acceptPause)
			}
		}
		if l.now >= ln.recheck {
			l.setState(ln)
		}
	}
}

// wake is the loop time at which the listener must be tended, or the end of all
// times.
func (l *listener) wake() int64 {
	if l.paused > 0 {
		return min(l.paused, l.recheck)
	}
	return l.recheck
}

// recheckAll is for a change of the plan.
func (l *loop) recheckAll() {
	for _, ln := range l.listeners {
		ln.recheck = 0
	}
	l.tend()
}

// setState finds out which fault holds for the listener's address now.
func (l *loop) setState(ln *listener) {
	plan := ln.relay.plan.Load()
	t := ln.relay.now().Sub(plan.start)
	state, next := plan.state(ln.relay.index, t)
	ln.recheck = math.MaxInt64
	if next != never {
		ln.recheck = l.now + int64(next-t)
	}
	if state == ln.state {
		return
	}
	if err := l.enter(ln, state); err != nil { // for want of a descriptor; it stays as it is and will be tried again
		ln.relay.counts.acceptErrors.Add(1)
		ln.recheck = l.now + int64(acceptPause)
		return
	}
	ln.state = state
	if state != nil {
		state.begun.Add(1)
	}
}

func (l *loop) enter(ln *listener, state *armed) error {
	var action Action
	if state != nil {
		action = state.Action
	}
	switch action {
	case ActionRefuse:
		ln.shut()
		return nil
	case ActionDown:
		ln.shut()
		l.resetAll(ln.relay, state)
		return nil
	}
	if ln.fd < 0 {
		if err := ln.open(); err != nil {
			return err
		}
		if err := l.watch(ln); err != nil {
			ln.shut()
			return err
		}
	}
	return ln.deafen(action == ActionBlackHole)
}

// resetAll is the death of a relay.
func (l *loop) resetAll(r *relay, a *armed) {
	count := func() { strike{a, PointConnect}.count(r, 1) }
	for _, c := range l.conns {
		if c.fd >= 0 && c.relay == r {
			count()
			l.reset(c)
		}
	}
	l.sink.streams.resetAll(r, count)
}
