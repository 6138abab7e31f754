package proxy

import (
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The system calls of the data path, on non-blocking descriptors. An
// interrupted call is repeated; EAGAIN is the caller's.

func read(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// peek reads without taking the bytes out of the socket.
func peek(fd int, b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, b, unix.MSG_PEEK)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func write(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Write(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// accept takes a connection off the queue. Package syscall's accept4 makes the
// one system call; x/sys's asks for the socket's protocol as well.
func accept(listener int) (fd int, peer netip.AddrPort, err error) {
	fd, sa, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		peer = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		peer = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return fd, peer, err
}

// splice moves up to n bytes between a pipe and a socket inside the kernel;
// see splice(2).
func splice(from, to, n int) (int, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(moved), err
		}
	}
}

// closeReset closes a socket so that the peer sees a reset, not an end of file.
func closeReset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// unsent is the number of bytes that fd's peer has not acknowledged yet; see
// tcp(7), SIOCOUTQ.
func unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// Keepalive finds a peer that vanished without a word, which no timeout of ours
// does while a reply is awaited: two minutes of silence, tcp(7).
const (
	keepaliveIdle     = 60 * time.Second
	keepaliveInterval = 15 * time.Second
	keepaliveCount    = 4
)

func setKeepalive(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepaliveIdle/time.Second))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepaliveInterval/time.Second))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepaliveCount)
}

func setNoDelay(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// family is the socket family that reaches addr.
func family(addr netip.Addr) int {
	if addr.Is4() || addr.Is4In6() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// sockaddr holds the two forms of an address for one loop, so that a connect
// allocates none.
type sockaddr struct {
	v4 unix.SockaddrInet4
	v6 unix.SockaddrInet6
}

func (s *sockaddr) of(a netip.AddrPort, zone uint32) unix.Sockaddr {
	addr := a.Addr().Unmap()
	if addr.Is4() {
		s.v4 = unix.SockaddrInet4{Port: int(a.Port()), Addr: addr.As4()}
		return &s.v4
	}
	s.v6 = unix.SockaddrInet6{Port: int(a.Port()), Addr: addr.As16(), ZoneId: zone}
	return &s.v6
}

// addrPort converts what the kernel returned; v4-mapped addresses become IPv4.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	default:
		return netip.AddrPort{}
	}
}

// localAddr is the address of our end of fd.
func localAddr(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}
