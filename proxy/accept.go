package proxy

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"smtplb/internal/epoll"
)

// listener is a Listener at work. A session keeps the one that it was accepted
// with; Reload makes another one for the same port. Immutable.
type listener struct {
	*Listener
	*port
	gate  *gate
	rates *rates // nil: there is no limit
}

// port is what outlives a listener's configuration: its socket, which all loops
// share, and its counts. Safe for concurrent use.
type port struct {
	fd     int
	index  int32 // its own for as long as the server lives
	v6only bool
	loops  atomic.Int32 // that accept from it still
	open   atomic.Int64 // sessions that were let in
	given  atomic.Bool  // to another process, which answers who is in the queue

	mu      sync.Mutex
	clients map[netip.Addr]int // sessions by client, kept only where there is a limit

	rates *rates // outlives a reload; nil until there is a limit. Guarded by the server's mu
}

func newListener(cfg *Listener, p *port) *listener {
	own := *cfg
	own.Name = cfg.name()
	ln := &listener{Listener: &own, port: p, gate: newGate(cfg)}
	if cfg.MaxRatePerClient.PerMinute > 0 {
		if p.rates == nil {
			p.rates = newRates()
		}
		ln.rates = p.rates
	}
	return ln
}

func (p *port) token() epoll.Token { return epoll.Token{Index: -1 - p.index} }

// release is called by each loop that accepts from the port no more; after the
// last one it is closed.
func (p *port) release() {
	if p.loops.Add(-1) == 0 {
		_ = unix.Close(p.fd)
	}
}

// admit takes a place in the limits for a client; reason is what to tell a
// client for which there is none. The rate comes first: it counts connections,
// whatever becomes of them.
func (ln *listener) admit(client netip.Addr, now int64) (reason string) {
	if ln.rates != nil && !ln.rates.take(client, ln.MaxRatePerClient, now) {
		return "too many connections from " + client.String() + ": " + ln.MaxRatePerClient.String()
	}
	if ln.open.Add(1) > ln.maxSessions() {
		ln.open.Add(-1)
		return "too many sessions"
	}
	if ln.MaxSessionsPerClient <= 0 {
		return ""
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.clients[client] >= ln.MaxSessionsPerClient {
		ln.open.Add(-1)
		return "too many sessions from " + client.String()
	}
	ln.clients[client]++
	return ""
}

func (ln *listener) leave(client netip.Addr) {
	ln.open.Add(-1)
	if ln.MaxSessionsPerClient <= 0 {
		return
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.clients[client]--; ln.clients[client] <= 0 {
		delete(ln.clients, client)
	}
}

// route is the pool for a client.
func (ln *listener) route(client netip.Addr) *Pool {
	if i := ln.gate.route(client); i >= 0 {
		return ln.Routes[i].Pool
	}
	return ln.Pool
}

// watchListeners has this loop take its part of the connections. A listening
// socket is level-triggered, so that what one batch leaves over is reported
// again, and exclusive, so that a connection wakes one loop and not all.
func (l *loop) watchListeners() error {
	l.watching = true // from the first one on, so that those are unwatched when another fails
	for _, ln := range l.listeners {
		if ln == nil {
			continue
		}
		if err := l.watchListener(ln); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) watchListener(ln *listener) error {
	if err := l.poller.Add(ln.fd, ln.token(), epoll.In|epoll.Exclusive); err != nil {
		return fmt.Errorf("listener %s: %w", ln.Name, err)
	}
	return nil
}

func (l *loop) unwatchListeners() {
	if !l.watching {
		return
	}
	for _, ln := range l.listeners {
		if ln != nil {
			_ = l.poller.Remove(ln.fd)
		}
	}
	l.watching = false
}

// pauseAccept leaves new connections in the kernel's queue for a moment. They
// are not refused: a client that waits is better off than one that is told to
// come again.
func (l *loop) pauseAccept(why error) {
	l.unwatchListeners()
	l.server.measure()
	l.pipes.close(l.server) // what lies idle makes room for sessions
	l.resumeAt = l.ns + int64(acceptPause)
	l.report(fmt.Errorf("accepting pauses, running sessions go on: %w", why))
}

func (l *loop) resumeAccept() {
	l.resumeAt = 0
	if l.drainFrom != 0 || l.watching || l.paused {
		return
	}
	if err := l.watchListeners(); err != nil {
		l.pauseAccept(err)
	}
}

// accept takes one connection a turn, and more only in a turn with much to do.
// What it leaves is reported again, so that nearly no call finds the queue
// empty; other loops get some, and running sessions go before new ones.
func (l *loop) accept(ln *listener) {
	if ln == nil || l.drainFrom != 0 || !l.watching {
		return // an event from before
	}
	for range 1 + l.events/acceptShare {
		if !l.acceptOne(ln) {
			return
		}
	}
}

// acceptOne tells whether there may be more. It reserves the session's two
// descriptors first: a session that was accepted must be able to get a relay.
func (l *loop) acceptOne(ln *listener) bool {
	if !l.server.reserve(2) {
		l.pauseAccept(unix.EMFILE)
		return false
	}
	fd, peer, err := l.raw.Accept(ln.fd)
	if err != nil {
		l.server.fds.Add(-2)
		return l.acceptError(err)
	}
	l.begin(ln, fd, peer)
	return true
}

// acceptError tells whether accepting can go on; see accept(2), ERRORS.
func (l *loop) acceptError(err error) bool {
	switch err {
	case unix.EAGAIN:
		return false
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		l.pauseAccept(err)
		return false
	case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM, unix.ENETDOWN, unix.ENETUNREACH,
		unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENOPROTOOPT, unix.ENONET, unix.EOPNOTSUPP:
		// That one connection broke while it waited; Linux passes the network's
		// errors on here.
		return true
	default:
		l.pauseAccept(err)
		return false
	}
}

// begin makes a session of a connection. Its two descriptors are reserved.
func (l *loop) begin(ln *listener, fd int, peer netip.AddrPort) {
	s := l.sessions.get()
	s.client, s.listener, s.addr = fd, ln, peer
	s.id = l.server.idBase + l.server.nextID.Add(1)
	s.accepted = l.ns
	s.state = stateHeader
	l.server.counts.open.Add(1) // first: who finds none open knows that all that were accepted have ended
	l.server.counts.accepted.Add(1)
	if err := l.poller.Add(fd, s.token(sideClient), epoll.In|epoll.ReadHup|epoll.Edge); err != nil {
		l.report(err)
		l.refuse(s, Shut, "4.3.2", "not enough memory")
		return
	}
	if l.drainFrom != 0 {
		l.refuse(s, Shut, "4.3.2", "shutting down")
		return
	}
	if l.turningAway {
		l.refuse(s, Shut, "4.3.2", "this address is given up")
		return
	}
	if ln.gate.expectsHeader(peer.Addr()) {
		l.awaitHeader(s)
		return // to readHeader
	}
	l.enter(s)
}

// enter lets a client in whose address is known, or refuses it.
func (l *loop) enter(s *session) {
	l.takeOut(s)
	ln, client := s.listener, s.addr.Addr()
	if !ln.gate.allows(client) {
		l.deny(s, client.String()+" is not allowed to connect here")
		return
	}
	if reason := ln.admit(client, l.ns); reason != "" {
		l.refuse(s, ClientLimit, "4.7.0", reason)
		return
	}
	s.counted = true
	s.pool = ln.route(client)
	l.ask(s)
}

// deny answers a client that may not connect, as the listener wants it.
func (l *loop) deny(s *session, why string) {
	switch s.listener.DeniedReply {
	case Denied554:
		l.refuseWith(s, Denied, 554, "5.7.1", why)
	case DeniedDrop:
		s.why = why
		l.finish(s, Denied, atOnce)
	default:
		l.refuse(s, Denied, "4.7.1", why)
	}
}
