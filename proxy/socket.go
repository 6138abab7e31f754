package proxy

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// backlog is how many connections may wait to be accepted. It is more than
// anybody sets net.core.somaxconn to, to which the kernel cuts it, listen(2).
const backlog = 1<<16 - 1

// openSocket returns a listening, non-blocking socket. Connections that it
// accepts inherit its TCP_NODELAY and keepalive settings (Linux copies the
// listening socket), which saves the calls for each session.
func openSocket(address netip.AddrPort, v6only bool) (int, error) {
	zone, err := zoneIndex(address.Addr())
	if err != nil {
		return -1, err
	}
	fam := family(address.Addr())
	fd, err := unix.Socket(fam, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = socketOptions(fd, fam, v6only)
	if err == nil {
		err = bindError(unix.Bind(fd, sockaddr(address, zone)))
	}
	if err == nil {
		err = bindError(unix.Listen(fd, backlog))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func socketOptions(fd, fam int, v6only bool) error {
	set := func(name string, level, option, value int) error {
		if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if err := set("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if fam == unix.AF_INET6 {
		only := 0
		if v6only {
			only = 1
		}
		if err := set("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	// ip(7): bind to an address that this machine does not have yet, a VIP on
	// the standby. The IPv4 option governs both families.
	if err := set("IP_FREEBIND", unix.IPPROTO_IP, unix.IP_FREEBIND, 1); err != nil {
		return err
	}
	if err := setNoDelay(fd); err != nil {
		return fmt.Errorf("TCP_NODELAY: %w", err)
	}
	setKeepalive(fd)
	return nil
}

// bindError says what to do about the errors that people meet.
func bindError(err error) error {
	switch err {
	case unix.EADDRINUSE:
		return fmt.Errorf("%w: another program listens there (ss -ltnp shows which)", err)
	case unix.EACCES:
		return fmt.Errorf("%w: ports below 1024 need CAP_NET_BIND_SERVICE or root", err)
	case unix.EADDRNOTAVAIL:
		return fmt.Errorf("%w: this machine cannot have that address", err)
	default:
		return err
	}
}

// zoneIndex is the number of the interface that a link-local address names.
func zoneIndex(addr netip.Addr) (uint32, error) {
	if addr.Zone() == "" {
		return 0, nil
	}
	ifi, err := net.InterfaceByName(addr.Zone())
	if err != nil {
		return 0, fmt.Errorf("interface %q: %w", addr.Zone(), err)
	}
	return uint32(ifi.Index), nil
}
