package proxy

// Connections that have no place in the limits of sessions have bounds of their
// own: those whose PROXY header is awaited, those that were refused, and those
// of sessions that are over, until the client closes. Each has a deadline of
// some seconds, which is no bound for a flood: at ten thousand a second they
// would hold all descriptors, and clients with mail would wait. So of each kind
// there may be so many, and for one more the one that was there first goes.

// outside tells which of them a session is.
type outside uint8

const (
	inside    outside = iota // none
	awaited                  // its PROXY header is
	strangers                // refused: it lingers and was never let in
	leaving                  // it lingers and was let in
	numOutside
)

// row has the sessions of one kind in a loop, in the order in which they came.
type row struct {
	first, last place
	n           int
}

// place names a session in a row: its index in the table and one; 0 is nobody.
type place int32

func (l *loop) atPlace(p place) *session { return l.sessions.at(int32(p) - 1) }

// put puts a session at the end of a row, and returns the one that has to make
// room for it; nil for none.
func (l *loop) put(s *session, kind outside) *session {
	r := &l.outside[kind]
	own := place(s.index + 1)
	s.outside, s.before, s.after = kind, r.last, 0
	if r.last != 0 {
		l.atPlace(r.last).after = own
	} else {
		r.first = own
	}
	r.last = own
	if r.n++; r.n > l.outsideMost {
		return l.atPlace(r.first)
	}
	return nil
}

// takeOut takes a session out of its row, if it is in one.
func (l *loop) takeOut(s *session) {
	if s.outside == inside {
		return
	}
	r := &l.outside[s.outside]
	if s.before != 0 {
		l.atPlace(s.before).after = s.after
	} else {
		r.first = s.after
	}
	if s.after != 0 {
		l.atPlace(s.after).before = s.before
	} else {
		r.last = s.before
	}
	s.outside, s.before, s.after = inside, 0, 0
	r.n--
}

const (
	outsideShare = 16   // of the sessions that there are descriptors for, of each kind
	outsideMost  = 4096 // in all loops
	outsideLeast = 4    // in one
)

// outsideLimit is how many of each kind one loop may have.
func (s *Server) outsideLimit() int {
	all := min(s.fdLimit.Load()/2/outsideShare, outsideMost)
	return int(max(all/int64(s.workers()), outsideLeast))
}

// awaitHeader waits for a client's PROXY header. Those that send one do so at
// once: the one that has been silent longest is the one to do without.
func (l *loop) awaitHeader(s *session) {
	l.setTimer(s, headerTimeout)
	if silent := l.put(s, awaited); silent != nil {
		l.deny(silent, errNoHeader.Error()+", and too many others wait for theirs")
	}
}

// lingerOutside has a session linger, in place of another where there are too many.
func (l *loop) lingerOutside(s *session) {
	kind := strangers
	if s.pool != nil {
		kind = leaving
	}
	if first := l.put(s, kind); first != nil {
		l.free(first)
	}
}
