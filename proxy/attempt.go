package proxy

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/internal/egress"
	"smtplb/internal/epoll"
)

// failure is why an attempt came to nothing.
type failure struct {
	outcome balancer.Outcome
	reply   string // the first line of a greeting that was refused
	ours    bool   // this machine was at fault, or the time too short: no evidence against the relay
}

// ask takes the next relay for a session, each at most once, until one is being
// connected to or none is left. The client has seen nothing so far.
func (l *loop) ask(s *session) {
	for {
		if l.setupLeft(s) <= 0 {
			l.noBackend(s, "out of time")
			return
		}
		lease, err := s.pool.Balancer.Acquire(l.now, l.triedBy(s))
		if err != nil {
			l.noBackend(s, reasonFor(err))
			return
		}
		s.contender = contender{lease: lease, backend: -1, asked: l.ns, side: s.otherSide()}
		s.alone = false
		f, err := l.dial(s, &s.contender)
		if err != nil {
			s.lease.Release(l.now)
			l.server.measure() // for those who come next
			l.report(err)
			l.noBackend(s, "no socket to reach one")
			return
		}
		if f.outcome == balancer.OK {
			s.state = stateConnect
			l.arm(s)
			return
		}
		l.failed(s, &s.contender, f)
	}
}

func reasonFor(err error) string {
	switch {
	case errors.Is(err, balancer.ErrDown):
		return "none is up"
	case errors.Is(err, balancer.ErrFull):
		return "all are at max_sessions"
	case errors.Is(err, balancer.ErrRamp):
		return "the standby takes over slowly"
	case errors.Is(err, balancer.ErrTried):
		return "each was tried"
	default:
		return err.Error()
	}
}

// triedBy lists the relays that the session has asked or is asking. Valid until
// the next call.
func (l *loop) triedBy(s *session) []int {
	l.scratch = l.scratch[:0]
	for i := range s.tried {
		l.scratch = append(l.scratch, s.tried[i].backend.ID())
	}
	if s.lease.Held() {
		l.scratch = append(l.scratch, s.lease.Backend().ID())
	}
	if s.second != nil && s.second.lease.Held() {
		l.scratch = append(l.scratch, s.second.lease.Backend().ID())
	}
	return l.scratch
}

// setupLeft is what the session may still take until its client is answered.
func (l *loop) setupLeft(s *session) time.Duration {
	setup := s.timeouts().SessionSetup
	return setup - time.Duration(l.ns-s.accepted)
}

// dial starts to connect to a leased relay. A failure with outcome OK is none:
// the connection is under way. An error is one that another relay meets too.
func (l *loop) dial(s *session, c *contender) (failure, error) {
	backend := c.lease.Backend()
	target := s.pool.target(backend)
	if target == nil {
		l.report(fmt.Errorf("backend %s: it has no target", backend.Name()))
		return failure{outcome: balancer.Unreachable, ours: true}, nil
	}
	if target.Transparent {
		if err := target.cannotActFor(s.addr.Addr()); err != nil {
			l.complain(backend, target, err)
			return failure{outcome: balancer.Unreachable, ours: true}, nil
		}
	}
	zone, _ := zoneIndex(target.Address.Addr()) // an interface that is not there is 0, which connect refuses
	fd, err := unix.Socket(family(target.Address.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return failure{}, err
	}
	c.backend = fd
	c.blocked = true // until connected
	if s.listener.Protocol == TCP || target.ProxyProtocol != 0 {
		// The client's first bytes do not wait for words of the relay's; else
		// take sets it, when it is needed.
		c.noDelay = true
		_ = setNoDelay(fd)
	}
	if err := prepare(fd, target, s.addr.Addr()); err != nil {
		l.dropBackend(c, false)
		l.complain(backend, target, err)
		return failure{outcome: balancer.Unreachable, ours: true}, nil // the next one may be reached another way
	}
	switch err := l.raw.Connect(fd, target.Address, zone); err {
	case nil, unix.EINPROGRESS, unix.EINTR:
	default:
		l.dropBackend(c, false)
		errno, _ := err.(unix.Errno) //nolint:errorlint // Connect's errors are bare errnos
		f := failure{outcome: outcomeOf(err), ours: egress.Ours(errno)}
		if f.ours {
			l.complain(backend, target, egress.Unconnected(err))
		}
		return f, nil
	}
	if err := l.poller.Add(fd, s.token(c.side), epoll.In|epoll.Out|epoll.ReadHup|epoll.Edge); err != nil {
		l.dropBackend(c, false)
		return failure{}, err
	}
	return failure{}, nil
}

// outcomeOf names what connect or a broken connection returned.
func outcomeOf(err error) balancer.Outcome {
	switch err {
	case unix.ECONNREFUSED:
		return balancer.Refused
	case unix.ECONNRESET, unix.EPIPE:
		return balancer.Reset
	case unix.ETIMEDOUT:
		return balancer.ConnectTimeout
	default:
		return balancer.Unreachable
	}
}

// connected goes on when a relay's connection came about, or failed to.
func (l *loop) connected(s *session, c *contender, broken bool) {
	if broken {
		l.next(s, c, failure{outcome: outcomeOf(socketError(c.backend))})
		return
	}
	if c.blocked {
		return // an event of the socket from before the connection
	}
	c.connected = l.ns
	if version := s.pool.target(c.lease.Backend()).ProxyProtocol; version != 0 { // it was dialled, so there is one
		if err := writeHeader(s, c, version); err != nil {
			l.next(s, c, failure{outcome: outcomeOf(err)})
			return
		}
	}
	if s.listener.Protocol == TCP {
		l.establish(s, c, nil)
		return
	}
	if c != s.second {
		s.state = stateGreet
	}
	l.arm(s)
	if c.in.ready {
		l.readGreeting(s, c)
	}
}

func socketError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	return unix.Errno(code)
}

// next gives up a relay. Beside another the session goes on with that one, else
// it asks the next.
func (l *loop) next(s *session, c *contender, f failure) {
	l.dropBackend(c, false)
	l.failed(s, c, f)
	switch {
	case s.second == nil:
		l.ask(s)
	case c == s.second:
		l.endHedge(s)
		s.alone = false
		l.look(s) // perhaps a third one can be asked
	default:
		l.promote(s)
		l.look(s)
	}
}

// failed records that a leased relay did not serve and gives its slot back.
func (l *loop) failed(s *session, c *contender, f failure) {
	s.tried = append(s.tried, attempt{backend: c.lease.Backend(), outcome: f.outcome, took: l.ns - c.asked, reply: f.reply})
	if f.ours {
		c.lease.Release(l.now)
	} else {
		c.lease.Fail(l.now, f.outcome)
	}
}

// establish joins the client and the relay that has greeted: what it has said
// so far goes to the client, and from here on bytes move both ways.
func (l *loop) establish(s *session, c *contender, greeting []byte) {
	if s.second != nil {
		l.settle(s, c)
	}
	took := time.Duration(s.greeting)
	if s.listener.Protocol == TCP {
		took = -1 // no greeting, no habit
	}
	s.lease.Established(l.now, took)
	s.served, s.warm = s.lease.Backend(), s.lease.Warm()
	s.state = stateRelaying
	s.down.source = s.in
	s.lastMove = l.ns
	l.markReached(s)
	l.setTimer(s, l.nextReview(s, min(keepaliveAfter, s.timeouts().Idle)))
	if len(greeting) > 0 {
		s.down.bytes = int64(len(greeting))
		if !l.deliver(s, &s.down, s.client, greeting) {
			l.finish(s, ClientReset, reset)
			return
		}
	}
	s.held = nil
	l.relay(s)
}
