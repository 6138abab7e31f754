// Package egress is by which way a connection leaves this machine: through which
// interface, with which mark, from which address; and what an error says of the
// machine rather than of whom it was to reach.
//
// Sessions and checks go by the same way, so that a check tells something about
// sessions, and they tell of it in the same words. Everything is safe for
// concurrent use.
package egress

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Way is what a socket needs before it is bound and connected. The zero value
// leaves everything to the kernel. Both fields need CAP_NET_RAW or CAP_NET_ADMIN;
// see socket(7).
type Way struct {
	Interface string // SO_BINDTODEVICE
	Mark      uint32 // SO_MARK
}

// Prepare sets it. An error is a *Fault.
func (w Way) Prepare(fd int) error {
	if w.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(w.Mark)); err != nil {
			return Unable(fmt.Sprint("fwmark ", w.Mark), err)
		}
	}
	if w.Interface != "" {
		if err := unix.BindToDevice(fd, w.Interface); err != nil {
			return Unable("interface "+w.Interface, err)
		}
	}
	return nil
}

// LatePort has the port of a socket that is bound to an address chosen at
// connect, when the other end is known, so that the same one serves for several
// relays: IP_BIND_ADDRESS_NO_PORT of ip(7), which governs IPv6 too. A kernel
// without it takes a port at once, as ever.
func LatePort(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// Fault is what this machine cannot do, in words for people.
type Fault struct {
	what, meaning string
	err           error
}

// Unable is the fault that an error of a system call means; what is what was to
// be done, in the configuration's words: "source 192.0.2.7".
func Unable(what string, err error) *Fault {
	f := &Fault{what: what, err: err}
	switch {
	case errors.Is(err, unix.EPERM):
		f.meaning = "needs the capability CAP_NET_RAW or CAP_NET_ADMIN"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		f.meaning = "this machine has no such address"
	case errors.Is(err, unix.ENODEV):
		f.meaning = "this machine has no such interface"
	}
	return f
}

// Unconnected is the same of connect(2) on a socket that was prepared.
func Unconnected(err error) *Fault {
	f := &Fault{what: "connect", err: err}
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EADDRINUSE), errors.Is(err, unix.EAGAIN):
		f.meaning = "no local port is free for this relay"
	case errors.Is(err, unix.EPERM):
		f.meaning = "this machine's own firewall forbids it"
	}
	return f
}

func (f *Fault) Error() string {
	if f.meaning == "" {
		return f.what + ": " + f.err.Error()
	}
	return f.what + ": " + f.meaning + ": " + f.err.Error()
}

// Unwrap is the error of the system call.
func (f *Fault) Unwrap() error { return f.err }

// Ours tells that connect failed before a packet left: for want of a local port
// (another relay has its own, as ports are counted by destination), of memory or
// of a right; see connect(2) and ip(7). It is held against no relay.
func Ours(errno unix.Errno) bool {
	switch errno {
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EAGAIN, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM,
		unix.EACCES, unix.EPERM, unix.EAFNOSUPPORT, unix.EINVAL:
		return true
	default:
		return false
	}
}
