package proxy

import (
	"cmp"
	"container/heap"
	"context"
	"net/netip"
	"slices"
	"time"
)

// Session is a running session as it was when it was asked for.
type Session struct {
	ID       string // as the Record will have it
	Listener string
	Client   netip.AddrPort // the real client where a PROXY header names it
	Pool     string         // empty before one is chosen
	Backend  string         // the relay that carries the session, or else is being asked; empty for neither
	Site     string
	Tier     int
	Warm     bool // it was sent there to keep the tier warm

	// State is proxy_header (the client's PROXY header is awaited), connecting or
	// greeting (a relay is asked and the client has seen nothing yet), relaying,
	// or lingering (over and recorded, but for the client that has yet to close).
	State string

	// Turn is whose move is awaited, client or relay. In the relay's a cut might
	// have a mail delivered twice.
	Turn string

	Started        time.Time
	Duration, Idle time.Duration // since it was accepted; since bytes moved last

	BytesUp, BytesDown int64 // client to relay; relay to client, the greeting included
}

// SessionQuery says which sessions are wanted.
type SessionQuery struct {
	// Limit is how many are wanted at most, those that have run longest; 0: 100.
	Limit int

	// Match tells of a session that it is wanted; nil: all are. It runs in the
	// event loops, in several at a time: it must not block, and keeps nothing.
	Match func(*Session) bool
}

// SessionList is what was found. Sessions that came and went meanwhile may be in
// it or not.
type SessionList struct {
	Open     int       // sessions, lingering ones included
	Matched  int       // of those, the ones that Match accepts
	Sessions []Session // as many of those as were wanted, the one that has run longest first
}

const defaultListed = 100

// Sessions lists the running sessions. Each loop looks its own through, some at
// a time between other work, so that many of them hold up no greeting. Before
// Serve and after its end there are none. The error is ctx's. Not to be called
// from OnSession or OnError, which run in a loop.
func (s *Server) Sessions(ctx context.Context, q SessionQuery) (SessionList, error) {
	if q.Limit <= 0 {
		q.Limit = defaultListed
	}
	s.mu.Lock()
	loops := s.loops
	s.mu.Unlock()
	parts := make([]*part, len(loops))
	for i, l := range loops {
		p := &part{query: q, done: make(chan struct{})}
		parts[i] = p
		l.post(func(l *loop) { l.list(ctx, p, 0) })
	}
	all := SessionList{}
	for i, l := range loops {
		select {
		case <-parts[i].done:
		case <-l.ended: // perhaps before it got to this; it has no session any more
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return SessionList{}, err
		}
		all.Open += parts[i].open
		all.Matched += parts[i].matched
		all.Sessions = append(all.Sessions, parts[i].found...)
	}
	slices.SortFunc(all.Sessions, byAge)
	all.Sessions = all.Sessions[:min(len(all.Sessions), q.Limit)]
	return all, nil
}

// byAge puts the session that has run longest first; of two that were accepted
// in one turn of a loop the one with the lower ID.
func byAge(a, b Session) int {
	return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
}

// part is what one loop finds. It is the loop's until done is closed, or the
// loop has ended.
type part struct {
	query         SessionQuery
	open, matched int
	found         byYouth
	done          chan struct{}
}

// list looks one chunk of the table through, and posts itself for the next: so
// events are seen in between.
func (l *loop) list(ctx context.Context, p *part, chunk int) {
	if chunk >= len(l.sessions.chunks) || ctx.Err() != nil {
		close(p.done)
		return
	}
	entries := l.sessions.chunks[chunk]
	for i := range entries {
		if s := &entries[i]; s.state != stateFree && s.state != stateLeave {
			l.consider(p, s)
		}
	}
	l.post(func(l *loop) { l.list(ctx, p, chunk+1) })
}

// consider counts a session and keeps what it looks like, if it is wanted and older
// than others.
func (l *loop) consider(p *part, s *session) {
	p.open++
	started := l.server.base.Add(time.Duration(s.accepted))
	full := len(p.found) == p.query.Limit
	if p.query.Match == nil && full && started.After(p.found[0].Started) {
		p.matched++
		return
	}
	show := l.show(s, started)
	if p.query.Match != nil && !p.query.Match(&show) {
		return
	}
	p.matched++
	switch {
	case !full:
		heap.Push(&p.found, show)
	case byAge(show, p.found[0]) < 0:
		p.found[0] = show
		heap.Fix(&p.found, 0)
	}
}

// show is a session as others may see it.
func (l *loop) show(s *session, started time.Time) Session {
	show := Session{
		ID: sessionID(s.id), Listener: s.listener.Name, Client: s.addr, Warm: s.warm,
		State: s.state.String(), Turn: s.turn(), Started: started, Duration: time.Duration(l.ns - s.accepted),
		Idle: time.Duration(l.ns - max(s.lastMove, s.accepted)), BytesUp: s.up.bytes, BytesDown: s.down.bytes,
	}
	if s.pool != nil {
		show.Pool = s.pool.Balancer.Name()
	}
	b := s.served
	if s.asking() {
		b, show.Warm = s.lease.Backend(), s.lease.Warm()
	}
	if b != nil {
		show.Backend, show.Site, show.Tier = b.Name(), b.Site(), b.Tier()
	}
	return show
}

// turn is whose move is awaited, without asking the kernel.
func (s *session) turn() string {
	if s.asking() || s.state == stateRelaying && s.waitsForRelay() {
		return "relay"
	}
	return "client"
}

// String is the word for the state that people read.
func (s state) String() string {
	switch s {
	case stateHeader:
		return "proxy_header"
	case stateConnect:
		return "connecting"
	case stateGreet:
		return "greeting"
	case stateRelaying:
		return "relaying"
	case stateLinger, stateLeave:
		return "lingering"
	default:
		return "free"
	}
}

// byYouth is a heap whose first session is the one that began last.
type byYouth []Session

func (h byYouth) Len() int           { return len(h) }
func (h byYouth) Less(i, j int) bool { return byAge(h[i], h[j]) > 0 }
func (h byYouth) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *byYouth) Push(x any) {
	if s, ok := x.(Session); ok {
		*h = append(*h, s)
	}
}

// Pop is for container/heap.
func (h *byYouth) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	*h = (*h)[:last]
	return s
}
