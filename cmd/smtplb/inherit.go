package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"smtplb/internal/config"
	"smtplb/internal/handover"
	"smtplb/proxy"
)

// inherited is what this process was given at its start: by the process that it
// replaces, or by systemd (socket activation); nothing as a rule.
type inherited struct {
	parent  *handover.Parent // nil: no process is replaced
	sockets []socket         // that nobody has taken yet
	elders  []socket         // where processes say what they have yet
}

// socket is an open listening socket.
type socket struct {
	name    string         // for who names it
	kind    string         // listenerSocket or adminSocket; "": not known
	address netip.AddrPort // as configured in the old process; of systemd's: where it listens
	fd      int
}

// Names of files that are handed over begin with one of these, before a space and
// the configured address.
const (
	listenerSocket = "listener"
	adminSocket    = "admin"
	elderSocket    = "elder" // not to listen: see elders
)

// inherit looks what this process was given. It is called once, at the start.
func inherit() (*inherited, error) {
	parent, err := handover.Inherit()
	if err != nil {
		return nil, err
	}
	from := &inherited{parent: parent}
	if parent == nil {
		from.activate()
		return from, nil
	}
	for _, f := range parent.Files() {
		kind, text, _ := strings.Cut(f.Name, " ")
		address, err := netip.ParseAddrPort(text)
		if err != nil {
			err = fmt.Errorf("the process to replace gives a socket with the name %q: %w", f.Name, err)
			parent.Failed(err)
			return nil, err
		}
		s := socket{f.Name, kind, address, f.FD}
		if kind == elderSocket {
			from.elders = append(from.elders, s)
			continue
		}
		from.sockets = append(from.sockets, s)
	}
	return from, nil
}

// names are those of the daemon, with what the process before had found.
func (from *inherited) names(log *zap.Logger) *names {
	n := newNames(log)
	if from.parent == nil || from.parent.Known() == nil {
		return n
	}
	if err := json.Unmarshal(from.parent.Known(), &n.before); err != nil {
		log.Warn("names: what the process before had found is dropped", zap.Error(err))
		n.before = nil
	}
	return n
}

// activate takes the sockets that systemd has opened, sd_listen_fds(3).
func (from *inherited) activate() {
	for _, f := range activation.Files(true) {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			continue // seen as a socket that is missing: the address is bound, or cannot be
		}
		from.sockets = append(from.sockets, socket{name: f.Name(), address: localAddress(fd), fd: fd})
		_ = f.Close()
	}
}

// localAddress is where a TCP socket listens; invalid for any other.
func localAddress(fd int) netip.AddrPort {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	switch at := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(at.Addr), uint16(at.Port))
	}
	return netip.AddrPort{}
}

// claim gives each listener, and the admin server, the socket that is theirs; taken
// are the sockets' names. Systemd's are matched by name first (FileDescriptorName=),
// then by address, and one that nobody has is an error. Of another process's those
// that nobody wants any more are closed.
func (from *inherited) claim(cfg *config.Config) (listeners []proxy.Socket, admin net.Listener, taken []string, err error) {
	var errs []error
	for _, s := range from.sockets {
		switch at := owner(cfg, &s, listeners); {
		case at >= 0:
			listeners = append(listeners, proxy.Socket{Address: cfg.Listeners[at].Address, FD: s.fd})
		case admin == nil && (s.kind != listenerSocket && s.address == cfg.Admin.Address || s.kind == "" && s.name == adminSocket):
			if admin, err = listenerOf(s.fd); err != nil {
				errs = append(errs, fmt.Errorf("socket %s: %w", s.name, err))
			}
		case from.parent != nil:
			_ = unix.Close(s.fd)
			continue
		default:
			_ = unix.Close(s.fd)
			errs = append(errs, fmt.Errorf("systemd gives a socket %s on %s that nobody has: give it the name of a listener (FileDescriptorName=) "+
				"or one of these addresses: %s", s.name, s.address, addresses(cfg)))
		}
		taken = append(taken, s.name)
	}
	from.sockets = nil
	if err := errors.Join(errs...); err != nil {
		for _, l := range listeners {
			_ = unix.Close(l.FD)
		}
		if admin != nil {
			_ = admin.Close()
		}
		return nil, nil, nil, err
	}
	return listeners, admin, taken, nil
}

// owner is the index of the listener whose socket s is; -1 if there is none.
func owner(cfg *config.Config, s *socket, given []proxy.Socket) int {
	if s.kind == adminSocket {
		return -1
	}
	if s.kind == "" {
		if at := slices.IndexFunc(cfg.Listeners, func(l config.Listener) bool { return l.Name == s.name }); at >= 0 {
			return at
		}
	}
	var count int // of listeners with the address: port 0 may be there twice
	for _, g := range given {
		if g.Address == s.address {
			count++
		}
	}
	for i := range cfg.Listeners {
		if cfg.Listeners[i].Address == s.address {
			if count == 0 {
				return i
			}
			count--
		}
	}
	return -1
}

func addresses(cfg *config.Config) string {
	var texts []string
	for i := range cfg.Listeners {
		texts = append(texts, fmt.Sprintf("%s (%s)", cfg.Listeners[i].Address, cfg.Listeners[i].Name))
	}
	return strings.Join(append(texts, cfg.Admin.Address.String()+" (admin)"), ", ")
}

// listenerOf makes a listener of a descriptor, which is closed.
func listenerOf(fd int) (net.Listener, error) {
	// A descriptor that is non-blocking before os.NewFile sees it stays so: the old
	// process accepts from the same socket still.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "admin")
	defer file.Close() //nolint:errcheck // a duplicate is kept
	return net.FileListener(file)
}
