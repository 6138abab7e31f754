package sink

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// listener is a relay's address. All but address belongs to the relay's loop.
//
// Two sockets are bound to it. One never listens: it keeps the address while
// the other is closed, for the sake of ActionRefuse.
type listener struct {
	relay   *relay
	address netip.AddrPort
	holder  int
	fd      int   // -1 while nobody listens
	token   int32 // of its events

	state   *armed // the fault in force
	deaf    bool
	recheck int64 // loop time from which on the state may be another
	paused  int64 // loop time until which it does not accept; 0: it does
}

const backlog = 4096 // what the kernel makes of it: net.core.somaxconn

// listen binds and listens.
func listen(r *relay) (*listener, error) {
	want, err := netip.ParseAddrPort(r.Address)
	if err != nil {
		return nil, fmt.Errorf("relay %s: address %q: %w", r.Name, r.Address, err)
	}
	want = netip.AddrPortFrom(want.Addr().Unmap(), want.Port())
	l := &listener{relay: r, fd: -1}
	if l.holder, l.address, err = bind(want); err == nil {
		err = l.open()
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("relay %s: listen on %s: %w", r.Name, want, err)
	}
	return l, nil
}

// open begins to listen.
func (l *listener) open() error {
	fd, _, err := bind(l.address)
	if err != nil {
		return err
	}
	// What the listener has, the connections inherit: tcp(7).
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	l.fd = fd
	return nil
}

// shut stops listening. What has not been accepted is reset.
func (l *listener) shut() {
	if l.fd >= 0 {
		_ = unix.Close(l.fd)
		l.fd, l.deaf, l.paused = -1, false, 0 // the poller has forgotten it as well
	}
}

// close gives the address back.
func (l *listener) close() {
	l.shut()
	if l.holder >= 0 {
		_ = unix.Close(l.holder)
		l.holder = -1
	}
}

// deafen has the kernel drop every packet for the listening socket, so that
// connections time out, and undoes it. Connections that are there do not notice:
// the filter (socket(7), SO_ATTACH_FILTER) is one that lets 0 octets pass.
func (l *listener) deafen(deaf bool) error {
	if deaf == l.deaf {
		return nil
	}
	l.deaf = deaf
	if !deaf {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
	}
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(l.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: 1, Filter: &nothing}))
}

// bind returns a socket and the address that it got; -1 with an error.
func bind(want netip.AddrPort) (int, netip.AddrPort, error) {
	family := unix.AF_INET6
	var address unix.Sockaddr = &unix.SockaddrInet6{Port: int(want.Port()), Addr: want.Addr().As16()}
	if want.Addr().Is4() {
		family = unix.AF_INET
		address = &unix.SockaddrInet4{Port: int(want.Port()), Addr: want.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, want, os.NewSyscallError("socket", err)
	}
	// Both sockets need it to share the address, socket(7).
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		err = unix.Bind(fd, address)
	}
	var got unix.Sockaddr
	if err == nil {
		got, err = unix.Getsockname(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, want, os.NewSyscallError("bind", err)
	}
	switch got := got.(type) {
	case *unix.SockaddrInet4:
		return fd, netip.AddrPortFrom(want.Addr(), uint16(got.Port)), nil
	case *unix.SockaddrInet6:
		return fd, netip.AddrPortFrom(want.Addr(), uint16(got.Port)), nil
	}
	return fd, want, nil
}
