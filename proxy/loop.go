package proxy

import (
	"sync"
	"time"

	"smtplb/internal/epoll"
	"smtplb/internal/socket"
	"smtplb/internal/timerwheel"
)

const (
	bufferSize  = 64 << 10
	granularity = 50 * time.Millisecond
	busyFor     = time.Second // after the last event a loop counts as busy
)

// loop is one event loop: a goroutine that owns every session it accepts. Its
// fields are the loop's alone, but for the inbox.
type loop struct {
	server    *Server
	listeners []*listener // by their port's index; nil where Reload took one out
	poller    *epoll.Poller
	wheel     *timerwheel.Wheel
	sessions  sessionTable
	more      []*session // with bytes left to move when their share of a turn was used up
	spare     []*session // the other one of the two lists that more alternates between
	buffer    []byte
	buffers   [][]byte // for what sinks do not take
	pipes     pipePool
	raw       socket.Addr   // for accept and connect
	roomless  []epoll.Token // sessions that would ask a second relay, had they room
	scratch   []int         // IDs of relays already tried
	record    Record        // used again for every session

	outside     [numOutside]row // sessions without a place in the limits, by kind
	outsideMost int             // of each kind

	now time.Time // of this turn; the wall clock as the base had it
	ns  int64     // the same, since the server's base

	events   int   // of this turn
	lastBusy int64 // when there were some

	watching    bool  // listeners are in the poller
	paused      bool  // Pause was called: clients wait
	turningAway bool  // who is in the queue of a listener that Reload took out
	resumeAt    int64 // when a pause in accepting ends; 0: no pause
	drainFrom   int64 // when Shutdown was called; 0: it was not
	stopping    bool
	released    bool  // this loop accepts no more
	lastError   int64 // when OnError was last told

	ended chan struct{} // closed when run has returned or never began

	mu     sync.Mutex // guards what is below, and that the poller is not closed while it is woken
	inbox  []func(*loop)
	closed bool
}

func newLoop(s *Server) (*loop, error) {
	p, err := epoll.New()
	if err != nil {
		return nil, err
	}
	l := &loop{server: s, listeners: s.byIndex(), poller: p, buffer: make([]byte, bufferSize), ended: make(chan struct{})}
	l.outsideMost = s.outsideLimit()
	l.tick()
	l.wheel = timerwheel.New(granularity, l.ns)
	if err := l.watchListeners(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// close gives the loop's descriptors back, when run has returned or never began.
func (l *loop) close() {
	l.pipes.close(l.server)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.ended)
	_ = l.poller.Close()
}

// post has f run in the loop, in the order of posting, unless the loop has
// ended: its wake-up descriptor may be somebody else's by then. Safe for
// concurrent use.
func (l *loop) post(f func(*loop)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.inbox = append(l.inbox, f)
	l.poller.Wake()
}

// run turns until the server stops and the last session has ended.
func (l *loop) run() {
	defer l.close()
	l.tick()
	for {
		l.turn(l.wait())
		if l.over() {
			return
		}
	}
}

// over tells that nothing is left to do, now or later.
func (l *loop) over() bool {
	return l.stopping || l.drainFrom != 0 && l.sessions.used == 0
}

func (l *loop) wait() []epoll.Event {
	var events []epoll.Event
	var err error
	timeout, from := l.timeout()
	l.overdue(time.Duration(from - l.ns)) // the turn
	if l.server.spareP && l.ns-l.lastBusy < int64(busyFor) {
		events, err = l.poller.WaitBusy(timeout)
	} else {
		events, err = l.poller.Wait(timeout)
	}
	l.tick()
	if timeout >= 0 {
		l.overdue(time.Duration(l.ns-from) - timeout)
	}
	if len(events) > 0 {
		l.lastBusy = l.ns
	}
	if err != nil {
		// Only a broken descriptor table could cause it; do not spin on it.
		l.report(err)
		time.Sleep(granularity)
	}
	return events
}

func (l *loop) turn(events []epoll.Event) {
	l.events = len(events)
	for i := range events {
		l.dispatch(&events[i])
	}
	l.continueMore()
	l.wheel.Advance(l.ns, func(id int32) {
		if s := l.sessions.at(id); s.state != stateFree {
			l.expire(s)
		}
	})
	l.useRoom()
	if l.resumeAt != 0 && l.ns >= l.resumeAt {
		l.resumeAccept()
	}
	l.runInbox()
}

// timeout is how long the poller may sleep, and from when on: that is the turn's
// beginning where bytes are left to move, which needs no look at the clock.
func (l *loop) timeout() (sleep time.Duration, from int64) {
	if len(l.more) > 0 {
		return 0, l.ns
	}
	at, ok := l.wheel.Next()
	if l.resumeAt != 0 && (!ok || l.resumeAt < at) {
		at, ok = l.resumeAt, true
	}
	now := l.nanoseconds()
	if !ok {
		return -1, now
	}
	return max(time.Duration(at-now), 0), now
}

func (l *loop) dispatch(e *epoll.Event) {
	t := e.Token()
	if t.Index < 0 {
		l.accept(l.listeners[-1-t.Index])
		return
	}
	s := l.sessions.at(t.Index >> sideBits)
	if s == nil || s.generation != t.Generation || s.state == stateFree {
		return // fetched before its session ended
	}
	switch side := uint8(t.Index & sideMask); {
	case side == sideClient:
		l.clientEvent(s, e)
	case side == s.side:
		l.backendEvent(s, e)
	case s.second != nil:
		l.contenderEvent(s, s.second, e)
	}
}

// note keeps what an event says of a socket that is read from and of the
// direction into it, which may be blocked, and tells whether the connection is
// broken or over. An edge is told once: what cannot be acted on now is not lost.
func note(e *epoll.Event, from *source, blocked *bool) (gone bool) {
	gone = e.Has(epoll.Err | epoll.Hup)
	from.ready = from.ready || e.Has(epoll.In|epoll.ReadHup) || gone
	from.ending = from.ending || e.Has(epoll.ReadHup) || gone
	from.fin = from.fin || e.Has(epoll.ReadHup) && !e.Has(epoll.Err)
	*blocked = *blocked && !e.Has(epoll.Out) && !gone
	return gone
}

func (l *loop) clientEvent(s *session, e *epoll.Event) {
	gone := note(e, &s.up.source, &s.down.blocked)
	switch s.state {
	case stateHeader:
		l.readHeader(s)
	case stateConnect, stateGreet:
		// A half-close is no goodbye: its bytes may be waiting. A reset is.
		if gone {
			l.finish(s, ClientReset, reset)
		}
	case stateRelaying:
		if e.Has(epoll.Err) {
			l.clientGone(s)
			return
		}
		l.relay(s)
	case stateLinger, stateLeave:
		l.discard(s)
	}
}

func (l *loop) backendEvent(s *session, e *epoll.Event) {
	switch s.state {
	case stateConnect, stateGreet:
		l.contenderEvent(s, &s.contender, e)
	case stateRelaying:
		note(e, &s.down.source, &s.up.blocked)
		if e.Has(epoll.Err) {
			l.relayGone(s)
		}
		l.relay(s)
	}
}

// contenderEvent is an event of a relay that is asked, the first or the second.
func (l *loop) contenderEvent(s *session, c *contender, e *epoll.Event) {
	note(e, &c.in, &c.blocked)
	switch {
	case c.connected == 0:
		l.connected(s, c, e.Has(epoll.Err))
	case c.in.ready:
		l.readGreeting(s, c)
	}
}

// continueMore gives each session that had bytes left one more share.
func (l *loop) continueMore() {
	batch := l.more
	l.more, l.spare = l.spare[:0], batch
	for _, s := range batch {
		// The entry may have been freed and used again since: then the flag is
		// clear, or belongs to the new session, which is relayed a turn early.
		if s.queued {
			s.queued = false
			switch s.state {
			case stateRelaying:
				l.relay(s)
			case stateLinger, stateLeave:
				l.discard(s)
			}
		}
	}
}

func (l *loop) again(s *session) {
	if !s.queued {
		s.queued = true
		l.more = append(l.more, s)
	}
}

func (l *loop) runInbox() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		f(l)
	}
}

// tick reads the clock, once a turn.
func (l *loop) tick() {
	l.ns = l.nanoseconds()
	l.now = l.server.base.Add(time.Duration(l.ns))
}

func (l *loop) nanoseconds() int64 { return int64(time.Since(l.server.base)) }

// setTimer has the session expire after d from now.
func (l *loop) setTimer(s *session, d time.Duration) {
	l.wheel.Set(s.index, l.ns+int64(d))
}

// report passes an error on, at most once a second, and tells whether it did.
func (l *loop) report(err error) bool {
	if l.server.OnError == nil || l.lastError != 0 && l.ns-l.lastError < int64(time.Second) {
		return false
	}
	l.lastError = l.ns
	l.server.OnError(err)
	return true
}
