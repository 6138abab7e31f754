package balancer

import "slices"

// A relay whose greeting is late to one session is a suspect: it may have fallen silent, and each session that is given to it
// until that is certain would have to find out for itself. So it is passed over while somebody else can be had. If all are
// suspects (the network is slow, not a relay) none is.

// suspect notes that one more session waits for s for too long.
func (p *Pool) suspect(s *slot) {
	if s.late++; s.late == 1 {
		p.late = append(p.late, s.id.index)
	}
}

// clear notes that one of these sessions waits no more.
func (p *Pool) clear(s *slot) {
	if s.late--; s.late == 0 {
		i := slices.Index(p.late, s.id.index)
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
	for _, index := range p.late {
		p.slots[index].delist()
	}
}

// putSuspectsBack undoes it.
func (p *Pool) putSuspectsBack() {
	for _, index := range p.late {
		p.slots[index].enlist()
	}
}
