package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A process is replaced without a lost connection in these steps: the new one is
// given the Sockets and has its Listen take them (Server.Inherited). The old one
// is told to Pause, so that nobody chooses relays while what is known of them
// goes over. The new one calls Serve, and the old one HandOver. Until then it can
// Resume as if nothing had been.

// Socket is an open listening socket that goes from one server to another.
type Socket struct {
	Address netip.AddrPort // as its listener is configured
	FD      int
}

// Sockets returns a duplicate of each listener's socket, closed on exec. They are
// the caller's to close.
func (s *Server) Sockets() ([]Socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sockets []Socket
	for _, ln := range s.listeners {
		fd, err := unix.FcntlInt(uintptr(ln.fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			closeSockets(sockets)
			return nil, fmt.Errorf("proxy: listener %s: duplicate of its socket: %w", ln.Name, err)
		}
		sockets = append(sockets, Socket{ln.Address, fd})
	}
	return sockets, nil
}

// Pause leaves new clients in the listening queues until Resume; sessions go on.
// It returns when no loop accepts any more.
func (s *Server) Pause() error {
	return s.everyLoop(func(l *loop) {
		l.paused = true
		l.unwatchListeners()
	})
}

// Resume undoes Pause.
func (s *Server) Resume() error {
	return s.everyLoop(func(l *loop) {
		l.paused = false
		if l.resumeAt == 0 {
			l.resumeAccept()
		}
	})
}

// everyLoop runs f in every loop of a server that serves, and waits for that.
func (s *Server) everyLoop(f func(*loop)) error {
	s.mu.Lock()
	if s.phase != phaseServing {
		s.mu.Unlock()
		return errors.New("proxy: the server does not serve, or not any more")
	}
	done := s.postAll(f)
	s.mu.Unlock()
	<-done
	return nil
}

// postAll has f run in every loop, with mu held; the channel is closed once it
// has in each that has not ended.
func (s *Server) postAll(f func(*loop)) <-chan struct{} {
	var running sync.WaitGroup
	for _, l := range s.loops {
		ran := make(chan struct{})
		l.post(func(l *loop) { f(l); close(ran) })
		running.Go(func() {
			select {
			case <-ran:
			case <-l.ended:
			}
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	return done
}

// Answer returns nil once every event loop has come round, at the latest when ctx
// ends: then a loop is stuck, or has too much to do. Loops that have ended, and a
// server that does not serve, are not stuck.
func (s *Server) Answer(ctx context.Context) error {
	s.mu.Lock()
	if s.phase != phaseServing && s.phase != phaseDraining {
		s.mu.Unlock()
		return nil
	}
	done := s.postAll(func(*loop) {})
	s.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("proxy: an event loop does not answer: %w", ctx.Err())
	}
}

// HandOver ends accepting as Shutdown does, and lets sessions finish by the same
// rules, but leaves who waits in the queues of the taken addresses to the process
// that has taken them; who waits at another address reads 421. It does not wait:
// Serve returns after the last session.
func (s *Server) HandOver(taken []netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseServing {
		return errors.New("proxy: HandOver of a server that does not serve")
	}
	for _, ln := range s.listeners {
		ln.given.Store(slices.Contains(taken, ln.Address))
	}
	s.phase = phaseDraining
	s.drainLoops()
	return nil
}

// takeInherited returns the inherited socket of an address, which is the
// caller's from now on.
func (s *Server) takeInherited(address netip.AddrPort) (fd int, ok bool) {
	at := slices.IndexFunc(s.inherited, func(i Socket) bool { return i.Address == address })
	if at < 0 {
		return -1, false
	}
	fd = s.inherited[at].FD
	s.inherited = slices.Delete(s.inherited, at, at+1)
	return fd, true
}

// checkAllTaken returns an error that names each inherited socket without a
// listener.
func (s *Server) checkAllTaken() error {
	var errs []error
	for _, i := range s.inherited {
		errs = append(errs, fmt.Errorf("proxy: no listener has the address %s of an inherited socket", i.Address))
	}
	return errors.Join(errs...)
}

func closeSockets(sockets []Socket) {
	for _, s := range sockets {
		_ = unix.Close(s.FD)
	}
}

// adopt makes a socket that somebody else opened like those of openSocket, or
// says why it is not the one that the listener wants.
func adopt(fd int, address netip.AddrPort, v6only bool) error {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return errors.New("the inherited descriptor is no listening socket")
	}
	at := localAddr(fd)
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM || !at.IsValid() {
		return errors.New("the inherited socket is no TCP socket")
	}
	if at.Addr().WithZone("") != address.Addr().WithZone("") || address.Port() != 0 && at.Port() != address.Port() {
		return fmt.Errorf("the inherited socket listens on %s", at)
	}
	if at.Addr().Is6() && at.Addr().IsUnspecified() {
		only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return fmt.Errorf("IPV6_V6ONLY: %w", err)
		}
		if (only != 0) != v6only {
			return fmt.Errorf("IPV6_V6ONLY of the inherited socket is %d, which cannot change while it listens: stop and start, or see BindIPv6Only= of a socket unit", only)
		}
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("O_NONBLOCK: %w", err)
	}
	if err := setNoDelay(fd); err != nil {
		return fmt.Errorf("TCP_NODELAY: %w", err)
	}
	setKeepalive(fd)
	return nil
}
