package balancer

import "time"

// The pool has no timer. What is due at a certain time (an ejection's end, a step of a slow start, a tier that has been
// usable for long enough) is done by the next call that brings a later time; until then nobody could see the difference.

// advance does what has come due. Every call that may see the difference begins with it.
func (p *Pool) advance(now time.Time) {
	if p.wake.IsZero() || now.Before(p.wake) {
		return
	}
	p.wake = time.Time{}
	for _, s := range p.slots {
		if due(s.until, now) {
			p.fire(now, s, timeUp, cause{what: "its time as " + s.state.String() + " is over"})
		}
		p.wakeAt(s.until)
		if !s.slowFrom.IsZero() {
			p.stepSlowly(now, s)
		}
	}
	p.lapseQuotas(now)
	p.settle(now)
}

// wakeAt has advance look again at t at the latest; the zero time asks for nothing.
func (p *Pool) wakeAt(t time.Time) {
	if !t.IsZero() && (p.wake.IsZero() || t.Before(p.wake)) {
		p.wake = t
	}
}

func due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }
