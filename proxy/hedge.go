package proxy

import (
	"math"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/internal/epoll"
)

// A hedged greeting. A relay that accepts and then says nothing costs the client
// timeouts.greeting, and nobody knows before that it will. But its own habit
// tells when it is late, and then a second relay is asked beside it: the first
// good greeting wins (Dean and Barroso, "The Tail at Scale", 2013).
//
// A relay is late when its patience, which is the balancer's to know, has passed:
// since it was picked while it is not connected, since its connection from then
// on. So a relay whose connection is never answered costs no more than one that
// connects and stays silent.
//
// The two keep their own lease, connection, deadlines and side of the epoll
// token. When one of them fails the other goes on alone, and is itself asked a
// second relay beside when it is late. When the second takes half its own
// patience too, as that of a site that is dead does, the first is given up for a
// third. Each relay is asked at most once, and the last two are waited for.

// look acts on what has become due while relays are asked: one of them has had
// its time, or it is time for a second. It arms the timer for what comes next.
func (l *loop) look(s *session) {
	for _, c := range [...]*contender{&s.contender, s.second} {
		if c != nil && l.ns >= l.deadline(s, c) {
			l.next(s, c, l.late(s, c))
			return
		}
	}
	at := l.hedgeTime(s)
	if l.ns >= at {
		l.lastAsked(s).lease.Late()
	}
	switch {
	case l.ns < at:
		l.arm(s)
	case s.second != nil:
		l.giveUpFirst(s)
	case l.server.beginHedge():
		l.hedge(s)
	default:
		l.queueForRoom(s)
	}
}

// queueForRoom has a session hedge as soon as one of this loop's ends its own, or
// look again a little later: the others may be other loops'.
func (l *loop) queueForRoom(s *session) {
	if !s.inQueue {
		s.inQueue = true
		l.roomless = append(l.roomless, s.token(s.side))
	}
	l.armUntil(s, l.ns+int64(hedgePause))
}

// useRoom lets those that wait for room hedge, in their order, as far as there is
// some now.
func (l *loop) useRoom() {
	// Once round: whoever finds no descriptor is in the queue again.
	for n := len(l.roomless); n > 0 && l.server.hedgeRoom(); n-- {
		t := l.roomless[0]
		l.roomless = l.roomless[1:]
		if s := l.sessions.at(t.Index >> sideBits); s.generation == t.Generation && s.inQueue {
			s.inQueue = false
			if s.asking() {
				l.look(s)
			}
		}
	}
}

// arm sets the session's timer for the first moment at which look has something to do.
func (l *loop) arm(s *session) { l.armUntil(s, l.hedgeTime(s)) }

// armUntil arms the timer for at, or for the deadline that comes before.
func (l *loop) armUntil(s *session, at int64) {
	at = min(at, l.deadline(s, &s.contender))
	if s.second != nil {
		at = min(at, l.deadline(s, s.second))
	}
	l.wheel.Set(s.index, at)
}

// deadline is when a relay that is asked has had its time.
func (l *loop) deadline(s *session, c *contender) int64 {
	t := s.timeouts()
	return min(c.deadline(t), s.accepted+int64(t.SessionSetup))
}

// deadline is the relay's own, whatever time the session has left.
func (c *contender) deadline(t Timeouts) int64 {
	if c.connected == 0 {
		return c.asked + int64(t.Connect)
	}
	return c.connected + int64(t.Greeting)
}

// late is the failure of a relay whose deadline has come, which is no evidence
// against one that had less than its own time.
func (l *loop) late(s *session, c *contender) failure {
	return failure{outcome: c.timeout(), ours: l.ns < c.deadline(s.timeouts())}
}

// timeout is the outcome of a relay that takes too long.
func (c *contender) timeout() balancer.Outcome {
	if c.connected == 0 {
		return balancer.ConnectTimeout
	}
	return balancer.GreetingTimeout
}

const never = math.MaxInt64

// lastAsked is the relay that was asked last, of one or two.
func (l *loop) lastAsked(s *session) *contender {
	if s.second != nil {
		return s.second
	}
	return &s.contender
}

// hedgeTime is when another relay is to be asked beside the one that was asked
// last.
func (l *loop) hedgeTime(s *session) int64 {
	if s.alone || s.listener.Protocol != SMTP {
		return never
	}
	c := l.lastAsked(s)
	patience := c.lease.Patience()
	if patience <= 0 {
		return never
	}
	if s.second != nil {
		patience /= 2 // the client has waited for the first already
	}
	return max(c.asked, c.connected) + int64(patience)
}

// hedgeShare bounds the sessions that hedge at one time, to one in so many: when
// all relays are slow, asking them twice makes them slower.
const hedgeShare = 10

// hedgesMost is how many sessions may hedge, for the moment.
func (s *Server) hedgesMost() int64 { return max(s.counts.open.Load()/hedgeShare, 1) }

// hedgeRoom tells whether one session more may hedge, for the moment.
func (s *Server) hedgeRoom() bool { return s.counts.hedging.Load() < s.hedgesMost() }

// beginHedge tells whether one session more may hedge, and then keeps a place
// for it and a descriptor, until endHedge.
func (s *Server) beginHedge() bool {
	c := &s.counts
	if c.hedging.Add(1) <= s.hedgesMost() && s.reserve(1) {
		return true
	}
	c.hedging.Add(-1)
	return false
}

// endHedge forgets the second relay, whose connection has been dealt with, and
// gives back what beginHedge kept.
func (l *loop) endHedge(s *session) {
	s.second = nil
	l.server.counts.hedging.Add(-1)
	l.server.fds.Add(-1)
}

// giveUpFirst asks a third relay in place of the first of two that are late, if
// there is one, and if the first has not begun to greet.
func (l *loop) giveUpFirst(s *session) {
	if len(s.held) > 0 {
		l.waitForBoth(s)
		return
	}
	lease, err := s.pool.Balancer.Acquire(l.now, l.triedBy(s))
	if err != nil {
		l.waitForBoth(s)
		return
	}
	l.leave(&s.contender)
	l.failed(s, &s.contender, failure{outcome: s.timeout()})
	l.replaceFirst(s)
	s.second = nil
	l.hedgeWith(s, lease, nil)
}

func (l *loop) waitForBoth(s *session) {
	s.alone = true
	l.arm(s)
}

// hedge asks a second relay, with a place kept for that. When none can be had,
// the session waits for those that it has asked.
func (l *loop) hedge(s *session) {
	lease, err := s.pool.Balancer.Acquire(l.now, l.triedBy(s))
	l.hedgeWith(s, lease, err)
}

// hedgeWith is hedge with what Acquire returned for the relay to ask first.
func (l *loop) hedgeWith(s *session, lease balancer.Lease, err error) {
	for ; err == nil; lease, err = s.pool.Balancer.Acquire(l.now, l.triedBy(s)) {
		c := &contender{lease: lease, backend: -1, asked: l.ns, side: s.otherSide()}
		f, err := l.dial(s, c)
		if err != nil {
			c.lease.Release(l.now)
			l.report(err)
			break
		}
		if f.outcome == balancer.OK {
			l.server.counts.hedged.Add(1)
			s.second = c
			l.arm(s)
			return
		}
		l.failed(s, c, f)
	}
	s.alone = true
	l.endHedge(s)
	l.arm(s)
}

// promote puts the second relay into the place of the first, which is out, and
// ends the hedge.
func (l *loop) promote(s *session) {
	l.replaceFirst(s)
	l.endHedge(s)
}

func (l *loop) replaceFirst(s *session) {
	s.contender, *s.second = *s.second, contender{backend: -1}
	s.alone = false
	s.state = stateConnect
	if s.connected != 0 {
		s.state = stateGreet
	}
}

// settle ends a hedge that c has won. If the other one is the first, it was
// late: that is evidence against it. If it is the second, it was asked in vain,
// which is nobody's fault and no failed attempt.
func (l *loop) settle(s *session, c *contender) {
	if c == s.second {
		l.leave(&s.contender)
		l.failed(s, &s.contender, failure{outcome: s.timeout()})
		l.promote(s)
		return
	}
	l.leave(s.second)
	s.second.lease.Release(l.now)
	l.endHedge(s)
}

// leave ends the connection to a relay that lost, so that it sees an end and no
// reset, whatever it is about to say. A socket that is closed answers what has
// not been read, or comes later, with a reset; so our side is ended, and the
// rest read and thrown away until the relay closes too, for lingerTimeout at
// most. Its entry in the table is no session.
func (l *loop) leave(c *contender) {
	if c.connected == 0 {
		l.dropBackend(c, false)
		return
	}
	s := l.sessions.get()
	l.server.fds.Add(1) // the second relay's place is given back, or is a third one's
	s.client, s.state = c.backend, stateLeave
	c.backend = -1
	_ = unix.Shutdown(s.client, unix.SHUT_WR)
	// What is there already is reported again.
	if err := l.poller.Modify(s.client, s.token(sideClient), epoll.In|epoll.ReadHup|epoll.Edge); err != nil {
		l.report(err)
		l.free(s)
		return
	}
	l.setTimer(s, lingerTimeout)
}
