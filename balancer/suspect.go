package balancer

import "slices"

// A relay whose greeting is late to one session is a suspect: it may have fallen silent, and each session that is given to it
// until that is certain would have to find out for itself. So it is passed over while somebody else can be had, of the next tier too:
// all relays of a site that fell silent are suspects a second later. Where everybody is one (the network is slow, not a relay),
// nobody is.

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

// chooseTrusted is choose without the suspects; with them where nobody else is left. Those that the session has tried are set
// aside already.
func (p *Pool) chooseTrusted() *slot {
	if len(p.late) == 0 {
		return p.choose()
	}
	p.setSuspectsAside()
	s := p.choose()
	p.putSuspectsBack()
	if s == nil {
		s = p.choose()
	}
	return s
}

// setSuspectsAside takes the suspects out of the choice, those that are in it.
func (p *Pool) setSuspectsAside() {
	for _, s := range p.late {
		s.delist()
	}
}

// putSuspectsBack undoes it.
func (p *Pool) putSuspectsBack() {
	for _, s := range p.late {
		s.enlist()
	}
}
