package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/internal/epoll"
)

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
		s.lease = lease
		s.asked = l.ns
		outcome, err := l.dial(s)
		if err != nil {
			s.lease.Release(l.now)
			l.report(err)
			l.noBackend(s, "no socket to reach one")
			return
		}
		if outcome == balancer.OK {
			return
		}
		l.failed(s, outcome, "")
	}
}

func reasonFor(err error) string {
	switch {
	case errors.Is(err, balancer.ErrDown):
		return "none is up"
	case errors.Is(err, balancer.ErrFull):
		return "all are at max_sessions"
	case errors.Is(err, balancer.ErrTried):
		return "each was tried"
	default:
		return err.Error()
	}
}

// triedBy lists the relays that the session has asked. Valid until the next call.
func (l *loop) triedBy(s *session) []int {
	l.scratch = l.scratch[:0]
	for i := range s.tried {
		l.scratch = append(l.scratch, s.tried[i].backend.Index())
	}
	return l.scratch
}

// setupLeft is what the session may still take until its client is answered.
func (l *loop) setupLeft(s *session) time.Duration {
	setup := s.timeouts().SessionSetup
	return setup - time.Duration(l.ns-s.accepted)
}

// dial starts to connect to the leased relay. OK means that the connection is
// under way; an error that this machine, not the relay, is at fault.
func (l *loop) dial(s *session) (balancer.Outcome, error) {
	target := &s.pool.Targets[s.lease.Backend().Index()]
	zone, _ := zoneIndex(target.Address.Addr()) // an interface that is not there is 0, which connect refuses
	fd, err := unix.Socket(family(target.Address.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return 0, err
	}
	s.backend, s.noDelay = fd, false
	s.up.blocked = true // until connected
	if s.listener.Protocol == TCP || target.ProxyProtocol != 0 {
		// The client's first bytes do not wait for words of the relay's; else
		// take sets it, when it is needed.
		s.noDelay = true
		_ = setNoDelay(fd)
	}
	if err := prepare(fd, target); err != nil {
		l.dropBackend(s, false)
		l.report(fmt.Errorf("backend %s: %w", s.lease.Backend().Name(), err))
		return balancer.Unreachable, nil // the next one may be reached another way
	}
	switch err := l.raw.Connect(fd, target.Address, zone); err {
	case nil, unix.EINPROGRESS, unix.EINTR:
	default:
		l.dropBackend(s, false)
		return outcomeOf(err), nil
	}
	if err := l.poller.Add(fd, s.token(sideBackend), epoll.In|epoll.Out|epoll.ReadHup|epoll.Edge); err != nil {
		l.dropBackend(s, false)
		return 0, err
	}
	s.state = stateConnect
	l.setTimer(s, min(s.timeouts().Connect, l.setupLeft(s)))
	return balancer.OK, nil
}

// prepare sets what a socket needs before it connects to target.
func prepare(fd int, target *Target) error {
	if target.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(target.Mark)); err != nil {
			return fmt.Errorf("fwmark %d: %w", target.Mark, err)
		}
	}
	if target.Interface != "" {
		if err := unix.BindToDevice(fd, target.Interface); err != nil {
			return fmt.Errorf("interface %s: %w", target.Interface, err)
		}
	}
	if !target.Source.IsValid() {
		return nil
	}
	// ip(7): the port is chosen at connect, when the other end is known, so
	// that the same one serves for several relays. IPv4's option governs both.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(target.Source, 0), 0)); err != nil {
		return fmt.Errorf("source %s: %w", target.Source, err)
	}
	return nil
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

// connected goes on when the connection came about, or failed to.
func (l *loop) connected(s *session, broken bool) {
	if broken {
		l.next(s, outcomeOf(socketError(s.backend)), "")
		return
	}
	if s.up.blocked {
		return // an event of the socket from before the connection
	}
	s.connected = l.ns
	if version := s.pool.Targets[s.lease.Backend().Index()].ProxyProtocol; version != 0 {
		if err := l.writeHeader(s, version); err != nil {
			l.next(s, outcomeOf(err), "")
			return
		}
	}
	if s.listener.Protocol == TCP {
		l.establish(s, nil)
		return
	}
	s.state = stateGreet
	l.setTimer(s, min(s.timeouts().Greeting, l.setupLeft(s)))
	if s.down.ready {
		l.readGreeting(s)
	}
}

func socketError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	return unix.Errno(code)
}

// next gives up the present relay and asks another.
func (l *loop) next(s *session, outcome balancer.Outcome, reply string) {
	l.dropBackend(s, false)
	l.failed(s, outcome, reply)
	l.ask(s)
}

// failed records that the leased relay did not serve and gives its slot back.
func (l *loop) failed(s *session, outcome balancer.Outcome, reply string) {
	s.tried = append(s.tried, attempt{backend: s.lease.Backend(), outcome: outcome, took: l.ns - s.asked, reply: reply})
	s.lease.Fail(l.now, outcome)
	s.held, s.seen = nil, 0
	s.down = direction{}
}

// establish joins client and relay: what the relay has said so far goes to the
// client, and from here on bytes move both ways.
func (l *loop) establish(s *session, greeting []byte) {
	s.lease.Established(l.now, time.Duration(s.greeting))
	s.served = s.lease.Backend()
	s.state = stateRelaying
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
