package balancer

import "time"

// slowSteps is in how many steps a backend that came back grows to its full weight, and slowLeast what it begins with.
const (
	slowSteps = 20
	slowLeast = 0.1
)

// unit is what a weight of 1 counts as, so that a tenth of it is a whole number still.
const unit = 100

// setPart gives a backend a part of its weight, up to 1. It must not be listed.
func (s *slot) setPart(part float64) {
	s.part = part
	s.share = max(int64(float64(s.weight*unit)*part+0.5), 1)
	s.stride = unit / float64(s.share)
}

// beginSlowly starts the slow start of a backend that came back; it is not listed yet.
func (p *Pool) beginSlowly(now time.Time, s *slot) {
	if p.slowStart <= 0 || s.weight == 0 {
		return
	}
	s.slowFrom = now
	s.setPart(slowLeast)
	p.wakeAt(now.Add(p.slowStart / slowSteps))
}

// stepSlowly gives a backend that is in its slow start the part that is due.
func (p *Pool) stepSlowly(now time.Time, s *slot) {
	listed := s.listed
	s.delist()
	gone := float64(now.Sub(s.slowFrom)) / float64(p.slowStart)
	if gone >= 1 || s.state != Up {
		s.slowFrom = time.Time{}
		s.setPart(1)
	} else {
		s.setPart(slowLeast + (1-slowLeast)*gone)
		p.wakeAt(now.Add(p.slowStart / slowSteps))
	}
	if listed {
		s.enlist()
	}
}
