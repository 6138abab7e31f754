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

	"smtplb/internal/egress"
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

// control sets what net.Dialer does not. Without a late port a check would take
// its port from all relays' sessions of that source.
func (t Target) control(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = t.prepare(int(fd)) })
	return errors.Join(err, failed)
}

func (t Target) prepare(fd int) error {
	if err := (egress.Way{Interface: t.Interface, Mark: t.FWMark}).Prepare(fd); err != nil {
		return err
	}
	if t.Source.IsValid() {
		egress.LatePort(fd)
	}
	return nil
}

// wayError is err, with what bind complains of in the words of the sessions.
func (t Target) wayError(err error) error {
	var op *net.OpError
	var call *os.SyscallError
	if !errors.As(err, &op) || !errors.As(err, &call) || call.Syscall != "bind" {
		return err
	}
	in := *op
	in.Err = egress.Unable(fmt.Sprint("source ", t.Source), call.Err)
	return &in
}

// ownFault tells that a connection failed before a packet left: the way that the
// target names is not there, or this machine has no port, no descriptor, no
// memory or a firewall of its own. For sessions the same is no evidence either.
func ownFault(err error) bool {
	var way *egress.Fault
	var errno unix.Errno
	return errors.As(err, &way) || errors.As(err, &errno) && egress.Ours(errno)
}
