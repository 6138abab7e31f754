package balancer

import "slices"

// A relay whose greeting is late to one session is a suspect: it may have fallen silent, and each session that is given to it
// until that is certain would have to find out for itself. So it is passed over while somebody else can be had. If all are
// suspects (the network is slow, not a relay) none is.

// suspect notes that one more session waits for s for too long.
func (p *Pool) suspect(s *slot) {
	if s.late++; s.late == 1 && !s.gone {
		p.late = append(p.late, s)
	}
}

// clear notes that one of these sessions waits no more.
func (p *Pool) clear(s *slot) {
	if s.late--; s.late == 0 && !s.gone {
		i := slices.Index(p.late, s)
		p.late = slices.Delete(p.late, i, i+1)
	}
}

// chooseTrusted is choose without the suspects and those that the session has tried, which are set aside already; nil where
// nobody is left.
func (p *Pool) chooseTrusted(tried []int) *slot {
	if len(p.late) == 0 {
		return p.choose()
	}
	for _, s := range p.late {
		s.setAside()
	}
	s := p.choose()
	for _, s := range p.late {
		s.putBack()
	}
	p.setAside(tried) // those that are both
	if s == nil {
		s = p.choose()
	}
	return s
}
