package smtptest

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// port holds an address for the life of a relay with a socket that is bound but
// never listens. While the relay is stopped the kernel refuses connections to
// it, and gives the port neither to another listener on port 0 nor to an
// outgoing connection, either of which would make Restart fail now and then.
type port struct {
	fd      int
	address netip.AddrPort
}

// holdPort binds address. Port 0 takes a free one, a missing host means all
// IPv4 addresses.
func holdPort(address string) (port, error) {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return port{}, fmt.Errorf("smtptest: listen address %q: %w", address, err)
	}
	if tcp.IP == nil {
		tcp.IP = net.IPv4zero
	}
	want := unmap(tcp.AddrPort())
	family := unix.AF_INET
	if want.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return port{}, fmt.Errorf("smtptest: socket for %s: %w", want, err)
	}
	p := port{fd: fd}
	if p.address, err = bind(fd, want); err != nil {
		p.release()
		return port{}, fmt.Errorf("smtptest: bind %s: %w", want, err)
	}
	return p, nil
}

// bind returns the address that fd got.
func bind(fd int, want netip.AddrPort) (netip.AddrPort, error) {
	// Both this socket and the listener need it to share the port, socket(7).
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return netip.AddrPort{}, err
	}
	var sa unix.Sockaddr
	if want.Addr().Is6() {
		sa = &unix.SockaddrInet6{Port: int(want.Port()), Addr: want.Addr().As16()}
	} else {
		sa = &unix.SockaddrInet4{Port: int(want.Port()), Addr: want.Addr().As4()}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return netip.AddrPort{}, err
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number := want.Port()
	switch got := got.(type) {
	case *unix.SockaddrInet4:
		number = uint16(got.Port)
	case *unix.SockaddrInet6:
		number = uint16(got.Port)
	}
	return netip.AddrPortFrom(want.Addr(), number), nil
}

// listen opens a listener beside the holding socket. The net package sets
// SO_REUSEADDR on every listener.
func (p port) listen() (*net.TCPListener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // plain TCP, as the relays of the world speak
	listener, err := config.Listen(context.Background(), "tcp", p.address.String())
	if err != nil {
		return nil, fmt.Errorf("smtptest: listen on %s: %w", p.address, err)
	}
	return listener.(*net.TCPListener), nil
}

func (p port) release() { _ = unix.Close(p.fd) } // nothing was ever written to it

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
