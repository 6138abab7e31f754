package bench

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/epoll"
	"smtplb/internal/socket"
)

// Floor is the least that a proxy on an event loop can do in Go: the system
// calls that proxy.Server makes for a session without faults, in its order, and
// nothing between them. It holds no greeting, chooses no relay, keeps no time,
// no counts and no log, and loses what a sink does not take at once. What a
// session costs beside it is smtplb's own share; what it costs itself is the
// kernel's and the runtime's.
type Floor struct {
	Target netip.AddrPort // the relay
}

// floor is one at work.
type floor struct {
	Floor
	listener int
	poller   *epoll.Poller
	address  socket.Addr
	buffer   []byte
	sessions []floorSession // by the descriptor of either side
}

// floorSession is what one descriptor's other side is; 0: none.
type floorSession struct {
	other int
	use   int32 // tells a descriptor's uses apart, for events from before
}

const (
	floorBuffer = 64 << 10
	floorEvents = epoll.In | epoll.ReadHup | epoll.Edge
	floorLook   = time.Second // for the end of ctx
)

// Serve proxies the connections of the listening, non-blocking socket until ctx
// ends. It needs a P of Go's scheduler for itself, and one more for the rest.
func (f Floor) Serve(ctx context.Context, listener int) error {
	p, err := epoll.New()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	l := &floor{Floor: f, listener: listener, poller: p, buffer: make([]byte, floorBuffer)}
	if err := p.Add(listener, epoll.Token{Index: int32(listener)}, epoll.In); err != nil {
		return err
	}
	defer l.close()
	for ctx.Err() == nil {
		events, err := p.WaitBusy(floorLook)
		if err != nil {
			return err
		}
		for i := range events {
			l.dispatch(&events[i])
		}
	}
	return nil
}

func (l *floor) dispatch(e *epoll.Event) {
	fd := int(e.Token().Index)
	if fd == l.listener {
		l.accept()
		return
	}
	if s := l.sessions[fd]; s.other > 0 && s.use == e.Token().Generation {
		l.move(fd, s.other, e.Has(epoll.ReadHup|epoll.Err))
	}
}

// move passes on what one side has said, and ends the session where the side
// has ended. Client and relay both close after QUIT.
func (l *floor) move(from, to int, last bool) {
	n, err := socket.Read(from, l.buffer)
	if err == unix.EAGAIN {
		return
	}
	if err == nil && n > 0 {
		if _, err = socket.Write(to, l.buffer[:n]); err == nil && !last {
			return
		}
	}
	l.sessions[from].other, l.sessions[to].other = 0, 0
	socket.CloseBoth(from, to)
}

func (l *floor) accept() {
	client, _, err := l.address.Accept(l.listener)
	if err != nil {
		return
	}
	relay, err := l.dial()
	if err != nil {
		socket.Close(client)
		return
	}
	if l.pair(client, relay) != nil || l.pair(relay, client) != nil {
		l.sessions[client].other, l.sessions[relay].other = 0, 0
		socket.CloseBoth(client, relay)
	}
}

func (l *floor) dial() (int, error) {
	family := unix.AF_INET
	if l.Target.Addr().Is6() {
		family = unix.AF_INET6
	}
	relay, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("bench: socket: %w", err)
	}
	if err := l.address.Connect(relay, l.Target, 0); err != nil && err != unix.EINPROGRESS {
		socket.Close(relay)
		return -1, fmt.Errorf("bench: connect to %s: %w", l.Target, err)
	}
	return relay, nil
}

// pair has what fd says go to other.
func (l *floor) pair(fd, other int) error {
	for most := max(fd, other); most >= len(l.sessions); {
		l.sessions = append(l.sessions, floorSession{})
	}
	s := &l.sessions[fd]
	s.other = other
	s.use++
	return l.poller.Add(fd, epoll.Token{Index: int32(fd), Generation: s.use}, floorEvents)
}

// close ends the sessions that are left.
func (l *floor) close() {
	for fd, s := range l.sessions {
		if s.other > fd {
			socket.CloseBoth(fd, s.other)
		}
	}
}
