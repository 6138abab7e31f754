package proxy

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Reload gives the server other listeners while it serves: all of them, or, with
// an error that names every mistake, none. It returns when every loop goes by
// the new ones. Not to be called from OnSession or OnError, which run in a loop.
//
// A listener whose Address was there before keeps its socket, the connections in
// its queue and its sessions. New ones are bound before anything changes. Those
// that are missing are closed, and who waits in their queues reads 421. Running
// sessions go on with what they were accepted with, timeouts and pool included;
// what their pool's balancer and its backends' targets are is for
// balancer.Pool.Reconfigure to change, before or after.
func (s *Server) Reload(listeners []Listener) error {
	s.mu.Lock()
	if s.phase != phaseListening && s.phase != phaseServing {
		s.mu.Unlock()
		return errors.New("proxy: Reload of a server that does not serve")
	}
	next, err := s.open(listeners)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	before := s.listeners
	s.listeners = next
	if s.phase == phaseListening {
		closeUnlessIn(before, next)
		s.mu.Unlock()
		return nil
	}
	for _, ln := range next {
		if !portIn(before, ln.port) {
			ln.loops.Store(int32(len(s.loops)))
		}
	}
	byIndex := s.byIndex()
	taken := s.postAll(func(l *loop) { l.takeListeners(byIndex) })
	s.mu.Unlock()
	<-taken
	return nil
}

// open checks the listeners and binds those whose port is not there yet, with mu
// held. With an error it leaves nothing behind.
func (s *Server) open(listeners []Listener) ([]*listener, error) {
	if len(listeners) == 0 {
		return nil, errors.New("proxy: no listener")
	}
	var errs []error
	for i := range listeners {
		errs = append(errs, listeners[i].check())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var next []*listener
	kept := map[*port]bool{}
	for i := range listeners {
		l := &listeners[i]
		p, err := s.openPort(l, hasV4Twin(listeners, l), kept)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %s: %w", l.name(), l.Address, err))
			continue
		}
		next = append(next, newListener(l, p))
	}
	if err := errors.Join(errs...); err != nil {
		closeUnlessIn(next, s.listeners)
		return nil, err
	}
	return next, nil
}

// openPort returns the port that has the listener's address already and is not
// among the kept ones, or a new one.
func (s *Server) openPort(l *Listener, v6only bool, kept map[*port]bool) (*port, error) {
	for _, old := range s.listeners {
		if old.Address == l.Address && !kept[old.port] {
			if old.v6only != v6only {
				return nil, errors.New("whether it takes IPv4 clients too cannot change while it listens: stop and start")
			}
			kept[old.port] = true
			return old.port, nil
		}
	}
	if fd, ok := s.takeInherited(l.Address); ok {
		if err := adopt(fd, l.Address, v6only); err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
		return s.newPort(fd, v6only), nil
	}
	fd, err := openSocket(l.Address, v6only)
	if err != nil {
		for _, old := range s.listeners {
			if at := localAddr(old.fd); errors.Is(err, unix.EADDRINUSE) && at.Port() == l.Address.Port() {
				return nil, fmt.Errorf("%w; or it is this one, on %s: take that listener out first, by a reload of its own", err, at)
			}
		}
		return nil, err
	}
	return s.newPort(fd, v6only), nil
}

func (s *Server) newPort(fd int, v6only bool) *port {
	p := &port{fd: fd, index: s.ports, v6only: v6only, clients: map[netip.Addr]int{}}
	s.ports++
	return p
}

// hasV4Twin tells that an IPv4 wildcard listener has the port of the IPv6
// wildcard l, which then leaves IPv4 clients to it.
func hasV4Twin(listeners []Listener, l *Listener) bool {
	if !l.Address.Addr().Is6() || !l.Address.Addr().IsUnspecified() {
		return false
	}
	for i := range listeners {
		a := listeners[i].Address
		if a.Addr().Is4() && a.Port() == l.Address.Port() && a.Port() != 0 {
			return true
		}
	}
	return false
}

// byIndex is a loop's table of the listeners.
func (s *Server) byIndex() []*listener {
	table := make([]*listener, s.ports)
	for _, ln := range s.listeners {
		table[ln.index] = ln
	}
	return table
}

func portIn(listeners []*listener, p *port) bool {
	for _, ln := range listeners {
		if ln.port == p {
			return true
		}
	}
	return false
}

// closeUnlessIn closes the sockets of listeners that none of the others has, and
// that no loop accepts from.
func closeUnlessIn(listeners, others []*listener) {
	for _, ln := range listeners {
		if !portIn(others, ln.port) {
			_ = unix.Close(ln.fd)
		}
	}
}

// takeListeners goes by other listeners from now on.
func (l *loop) takeListeners(next []*listener) {
	before := l.listeners
	for i, ln := range before {
		if ln != nil && next[i] == nil {
			l.giveUp(ln)
		}
	}
	l.listeners = next
	if !l.watching {
		return // resumeAccept will
	}
	for i, ln := range next {
		if ln == nil || i < len(before) && before[i] != nil {
			continue
		}
		if err := l.watchListener(ln); err != nil {
			l.pauseAccept(err)
			return
		}
	}
}

// giveUp leaves a listener that Reload took out; who is in its queue is told.
func (l *loop) giveUp(ln *listener) {
	l.turningAway = true
	l.acceptAll(ln)
	l.turningAway = false
	_ = l.poller.Remove(ln.fd) // if it is in
	ln.release()
}
