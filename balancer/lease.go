package balancer

import "time"

// Lease is a session's slot on a backend, from Acquire until Fail or Release. Whichever comes first empties it, and every
// method of an empty lease (the zero Lease is one) does nothing; so ending it twice is harmless.
//
// Its slot is the one that it was taken on, whatever Reconfigure makes of the backend meanwhile.
//
// A lease belongs to its session: it is not safe for concurrent use, and a held lease must be moved, not copied, as
// each copy would give the slot back.
type Lease struct {
	pool    *Pool
	slot    *slot
	backend *Backend // as it was at Acquire
	marks   marks
}

// marks are what has been said of a lease; one field of bits, since the compiler keeps a struct of up to four in registers.
type marks uint8

const (
	greeted marks = 1 << iota // Established was called
	warm                      // the session is to keep the next tier down warm
	late                      // the relay is a suspect for it
)

func (m marks) has(which marks) bool { return m&which != 0 }

// Held reports whether the lease holds a slot.
func (l *Lease) Held() bool { return l.backend != nil }

// Backend returns the backend that was chosen; nil if the lease is empty.
func (l *Lease) Backend() *Backend { return l.backend }

// Warm reports whether the session was given to the next tier down to keep it warm.
func (l *Lease) Warm() bool { return l.marks.has(warm) }

// Patience is how long this relay's greeting may take, from the connection on, before a second relay is asked beside
// it; 0: as long as it takes. It waits for no lock.
func (l *Lease) Patience() time.Duration {
	if !l.Held() {
		return 0
	}
	switch hedge := time.Duration(l.pool.hedge.Load()); {
	case hedge < 0:
		return 0
	case hedge > 0:
		return hedge
	}
	return l.slot.habit.patience()
}

// Late says that the relay's greeting is late: its patience is over. Until this lease ends or the relay greets, other
// sessions are given to it only where nobody else is left. Only the first call of a lease counts.
func (l *Lease) Late() {
	if !l.Held() || l.marks.has(late|greeted) {
		return
	}
	l.marks |= late
	p := l.pool
	p.mu.Lock()
	p.suspect(l.slot)
	p.mu.Unlock()
}

// Established says that the relay greeted well, and how long that took from the connection on (negative where no greeting
// was waited for): good evidence about its health, and what its habit is known from. The slot stays taken. Only the first
// call of a lease counts. It waits for no lock, unless the greeting was late.
func (l *Lease) Established(now time.Time, greeting time.Duration) {
	if !l.Held() || l.marks.has(greeted) {
		return
	}
	l.marks |= greeted
	s := l.slot
	if l.marks.has(late) {
		l.pool.mu.Lock()
		l.pool.clear(s)
		l.pool.mu.Unlock()
		l.marks &^= late
	}
	s.established.Add(1)
	l.backend.used(now)
	if l.marks.has(warm) {
		l.pool.warm.total.Add(1)
	}
	if greeting >= 0 {
		s.habit.add(greeting)
	}
	if s.badLive.Load() != 0 {
		s.badLive.Store(0) // but nothing more: if it is not up, this attempt began before
	}
}

// Fail says that the attempt failed, and why: evidence against the backend. The slot is given back. An outcome of OK is
// no failure: Fail is then Release.
func (l *Lease) Fail(now time.Time, outcome Outcome) {
	if outcome == OK {
		l.Release(now)
		return
	}
	if !l.Held() {
		return
	}
	ended := *l
	*l = Lease{}
	p, s := ended.pool, ended.slot
	p.mu.Lock()
	p.advance(now)
	p.giveBack(s, ended.marks)
	s.failures++
	p.failedLive(now, s, outcome)
	tell := p.onFailure
	p.unlock()
	if tell != nil {
		tell(ended.backend, outcome)
	}
}

// giveBack takes a session off its backend. One that was to keep the standby warm and did not reach it is owed still.
func (p *Pool) giveBack(s *slot, m marks) {
	s.discharge()
	if m.has(late) {
		p.clear(s)
	}
	if s.gone && s.active == 0 {
		p.forget(s)
	}
	if !m.has(warm) {
		return
	}
	p.warm.active--
	if !m.has(greeted) {
		p.warm.refund()
	}
}

// Release says that the session is over, or that the attempt was given up through no fault of the relay. The slot is
// given back; it is evidence of nothing.
func (l *Lease) Release(time.Time) {
	if !l.Held() {
		return
	}
	ended := *l
	*l = Lease{}
	p := ended.pool
	p.lock()
	p.giveBack(ended.slot, ended.marks)
	p.mu.Unlock()
}
