package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dial makes a check leave by the same way as the sessions, so that it tells
// something about them: from the same address, through the same interface, with
// the same mark. The order is that of the sessions too.
func dial(ctx context.Context, t Target) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   t.connectTimeout(),
		KeepAlive: -1, // a check is shorter than the first keep-alive
	}
	if t.Interface != "" || t.FWMark != 0 || t.Source.IsValid() {
		d.Control = t.control
	}
	if t.Source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: t.Source.AsSlice(), Zone: t.zone()}
	}
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	return conn, t.wayError(err)
}

// zone is the interface that a link-local Source is of: its own, or that through
// which the relay is reached.
func (t Target) zone() string {
	if !t.Source.IsLinkLocalUnicast() || t.Source.Zone() != "" {
		return t.Source.Zone()
	}
	if t.Interface != "" {
		return t.Interface
	}
	at, err := netip.ParseAddrPort(t.Address)
	if err != nil {
		return "" // bind refuses it
	}
	return at.Addr().Zone()
}

// control sets what net.Dialer does not: SO_MARK and SO_BINDTODEVICE of
// socket(7), and with a source IP_BIND_ADDRESS_NO_PORT of ip(7), without which a
// check takes its port from all relays' sessions of that source.
func (t Target) control(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = t.prepare(int(fd)) })
	return errors.Join(err, failed)
}

func (t Target) prepare(fd int) error {
	if t.FWMark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(t.FWMark)); err != nil {
			return unableTo(fmt.Sprint("fwmark ", t.FWMark), err)
		}
	}
	if t.Interface != "" {
		if err := unix.BindToDevice(fd, t.Interface); err != nil {
			return unableTo("interface "+t.Interface, err)
		}
	}
	if t.Source.IsValid() {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	return nil
}

// wayError is err, with what bind complains of in the words of unableTo.
func (t Target) wayError(err error) error {
	var op *net.OpError
	var call *os.SyscallError
	if !errors.As(err, &op) || !errors.As(err, &call) || call.Syscall != "bind" {
		return err
	}
	in := *op
	in.Err = unableTo(fmt.Sprint("source ", t.Source), call.Err)
	return &in
}

// wayFault is that this machine cannot connect by the way that a Target names.
type wayFault struct {
	what, meaning string
	err           error
}

func (f *wayFault) Error() string { return f.what + ": " + f.meaning + f.err.Error() }
func (f *wayFault) Unwrap() error { return f.err }

// unableTo says what of a target this machine cannot do, and what that means, in
// the words of the sessions.
func unableTo(what string, err error) error {
	f := &wayFault{what: what, err: err}
	switch {
	case errors.Is(err, unix.EPERM):
		f.meaning = "needs the capability CAP_NET_RAW or CAP_NET_ADMIN: "
	case errors.Is(err, unix.EADDRNOTAVAIL):
		f.meaning = "this machine has no such address: "
	case errors.Is(err, unix.ENODEV):
		f.meaning = "this machine has no such interface: "
	}
	return f
}

// ownFault tells that a connection failed before a packet left: the way that the
// target names is not there, or this machine has no port, no descriptor, no
// memory or a firewall of its own. For sessions the same is no evidence either.
func ownFault(err error) bool {
	var way *wayFault
	if errors.As(err, &way) {
		return true
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EAGAIN, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM,
		unix.EACCES, unix.EPERM, unix.EAFNOSUPPORT, unix.EINVAL:
		return true
	default:
		return false
	}
}
