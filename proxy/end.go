package proxy

import (
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/socket"
)

// farewell is what becomes of the two connections at a session's end.
type farewell uint8

const (
	orderly farewell = iota // both are closed; the client's lingers until the client closes too
	reset                   // both are reset
	atOnce                  // both are closed, whatever the client still has to read
)

// finish ends a session: the relay's connection is closed, its slot given
// back, the record written. Only after an orderly farewell the session may go
// on to exist, lingering; the caller touches it no more in any case.
func (l *loop) finish(s *session, end End, how farewell) {
	l.takeOut(s)
	if s.second != nil {
		l.dropBackend(s.second, how == reset)
		s.second.lease.Release(l.now)
		l.endHedge(s)
	}
	over := how == atOnce || how == orderly && s.up.eof
	if over {
		socket.CloseBoth(s.client, s.backend)
		s.client, s.backend = -1, -1
	}
	l.dropBackend(&s.contender, how == reset)
	s.lease.Release(l.now)
	l.releaseBuffers(s)
	if s.counted {
		s.counted = false
		s.listener.leave(s.addr.Addr())
	}
	l.emit(s, end)
	switch {
	case how == reset:
		socket.CloseReset(s.client)
		s.client = -1
		l.free(s)
	case over:
		l.free(s)
	default:
		l.linger(s)
	}
}

// linger ends our side of the client's connection and waits for the client to
// end its own. A socket that is closed with unread bytes sends a reset, and a
// reset takes away what the client has not read yet (RFC 9293, section 3.6.1):
// the very line that tells it why.
func (l *loop) linger(s *session) {
	_ = unix.Shutdown(s.client, unix.SHUT_WR)
	s.state = stateLinger
	l.setTimer(s, lingerTimeout)
	l.lingerOutside(s)
	l.discard(s)
}

// discard throws away what a lingering client still sends, a share at a time.
func (l *loop) discard(s *session) {
	for gone := 0; gone < share; {
		n, err := socket.Read(s.client, l.buffer)
		if err == unix.EAGAIN {
			return
		}
		if err != nil || n <= 0 {
			l.free(s)
			return
		}
		gone += n
	}
	l.again(s)
}

// free closes what is left of a session and forgets it.
func (l *loop) free(s *session) {
	l.takeOut(s)
	if s.client >= 0 {
		socket.Close(s.client)
	}
	l.wheel.Clear(s.index)
	if s.state == stateLeave {
		l.server.fds.Add(-1)
	} else {
		l.server.fds.Add(-2)
		l.server.counts.open.Add(-1)
	}
	l.sessions.put(s)
}

// dropBackend closes a relay's connection, if there is one.
func (l *loop) dropBackend(c *contender, withReset bool) {
	if c.backend < 0 {
		return
	}
	if withReset {
		socket.CloseReset(c.backend)
	} else {
		socket.Close(c.backend)
	}
	c.backend = -1
}

// emit counts the session and hands its record out.
func (l *loop) emit(s *session, end End) {
	c := &l.server.counts
	c.ends[end].Add(1)
	c.up.Add(s.up.bytes)
	c.down.Add(s.down.bytes)
	if l.server.OnSession == nil {
		return
	}
	r := &l.record
	*r = Record{
		ID: sessionID(s.id), Listener: s.listener.Name, Client: s.addr, Attempts: r.Attempts[:0],
		GreetingCode: s.code, Greeting: time.Duration(s.greeting), Setup: time.Duration(s.setup),
		Duration: time.Duration(l.ns - s.accepted), BytesUp: s.up.bytes, BytesDown: s.down.bytes, End: end, Reason: s.why,
	}
	if s.pool != nil {
		r.Pool = s.pool.Balancer.Name()
	}
	for i := range s.tried {
		a := &s.tried[i]
		r.Attempts = append(r.Attempts, Attempt{
			Backend: a.backend.Name(), Outcome: a.outcome, Took: time.Duration(a.took), Reply: a.reply,
		})
	}
	if b := s.served; b != nil {
		r.Backend, r.Site, r.Tier, r.Warm = b.Name(), b.Site(), b.Tier(), s.warm
		r.Attempts = append(r.Attempts, Attempt{Backend: b.Name(), Took: time.Duration(s.connected + s.greeting - s.asked)})
	}
	l.server.OnSession(r)
}
