package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"smtplb/internal/config"
	"smtplb/internal/handover"
	"smtplb/internal/smtptest"
)

// opened is a listening socket of a name, on a free port of an address.
func opened(t *testing.T, name, kind, host string) socket {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(host)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }); err != nil || fd < 0 {
		t.Fatal(err)
	}
	return socket{name: name, kind: kind, address: localAddress(fd), fd: fd}
}

// claim is a case of TestClaimGivesEachItsSocket.
type claim struct {
	name     string
	replaces bool // a process; else they are systemd's
	sockets  func() []socket
	change   func(*config.Config, []socket)
	want     []string // names of listeners whose sockets are taken
	admin    bool
	err      string
}

func claims(t *testing.T) []claim {
	return []claim{
		{
			name: "nothing", sockets: func() []socket { return nil },
		}, {
			name: "all of the process before", replaces: true,
			sockets: func() []socket {
				return []socket{opened(t, "a", listenerSocket, "127.0.0.1"), opened(t, "b", listenerSocket, "127.0.0.2"), opened(t, "admin", adminSocket, "127.0.0.1")}
			},
			want: []string{"one", "two"}, admin: true,
		}, {
			name: "a port that the kernel chose, twice", replaces: true,
			sockets: func() []socket {
				all := []socket{opened(t, "a", listenerSocket, "127.0.0.1"), opened(t, "b", listenerSocket, "127.0.0.1")}
				for i := range all {
					all[i].address = netip.MustParseAddrPort("127.0.0.1:0")
				}
				return all
			},
			change: func(cfg *config.Config, _ []socket) { cfg.Listeners[1].Address = cfg.Listeners[0].Address },
			want:   []string{"one", "two"},
		}, {
			name: "what is not configured any more", replaces: true,
			sockets: func() []socket {
				return []socket{opened(t, "a", listenerSocket, "127.0.0.1"), opened(t, "admin", adminSocket, "127.0.0.1")}
			},
			change: func(cfg *config.Config, _ []socket) {
				cfg.Listeners[0].Address = netip.MustParseAddrPort("192.0.2.1:25")
				cfg.Admin.Address = netip.MustParseAddrPort("127.0.0.1:1")
			},
		}, {
			name: "the admin server's is none of a listener", replaces: true,
			sockets: func() []socket { return []socket{opened(t, "admin", adminSocket, "127.0.0.1")} },
			change:  func(cfg *config.Config, all []socket) { cfg.Listeners[0].Address = all[0].address },
			admin:   true,
		}, {
			name: "by address, and by name",
			sockets: func() []socket {
				return []socket{opened(t, "smtplb.socket", "", "127.0.0.1"), opened(t, "two", "", "127.0.0.2")}
			},
			change: func(cfg *config.Config, _ []socket) {
				cfg.Listeners[1].Address = netip.MustParseAddrPort("127.0.0.2:9")
			},
			want: []string{"one", "two"},
		}, {
			name:    "the admin server by its name",
			sockets: func() []socket { return []socket{opened(t, "admin", "", "127.0.0.3")} },
			change: func(cfg *config.Config, _ []socket) {
				cfg.Listeners[0].Address, cfg.Admin.Address = netip.MustParseAddrPort("192.0.2.1:25"), netip.MustParseAddrPort("127.0.0.1:1")
			},
			admin: true,
		}, {
			name:    "nobody's",
			sockets: func() []socket { return []socket{opened(t, "other.socket", "", "127.0.0.3")} },
			change: func(cfg *config.Config, _ []socket) {
				cfg.Listeners[0].Address = netip.MustParseAddrPort("192.0.2.1:25")
			},
			err: "systemd gives a socket other.socket on 127.0.0.3:",
		},
	}
}

func TestClaimGivesEachItsSocket(t *testing.T) {
	for _, test := range claims(t) {
		t.Run(test.name, func(t *testing.T) {
			smtptest.CheckDescriptors(t)
			all := test.sockets()
			cfg := &config.Config{Listeners: []config.Listener{{Name: "one"}, {Name: "two"}}}
			for _, s := range all {
				switch {
				case s.kind == adminSocket:
					cfg.Admin.Address = s.address
				case !cfg.Listeners[0].Address.IsValid():
					cfg.Listeners[0].Address = s.address
				default:
					cfg.Listeners[1].Address = s.address
				}
			}
			if test.change != nil {
				test.change(cfg, all)
			}
			from := &inherited{sockets: all}
			if test.replaces {
				from.parent = &handover.Parent{}
			}
			listeners, admin, taken, err := from.claim(cfg)
			if admin != nil {
				defer admin.Close()
			}
			var got []string
			for i, l := range listeners {
				if at := owner(cfg, &all[i], listeners[:i]); at >= 0 && cfg.Listeners[at].Address == l.Address {
					got = append(got, cfg.Listeners[at].Name)
				}
				_ = unix.Close(l.FD)
			}
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if !slices.Equal(got, test.want) || (admin != nil) != test.admin {
				t.Errorf("listeners %q and the admin server: %t, want %q and %t", got, admin != nil, test.want, test.admin)
			}
			if want := len(test.want); test.err == "" && len(taken) != want+map[bool]int{true: 1}[test.admin] {
				t.Errorf("taken %q", taken)
			}
		})
	}
}

func TestTakenAddressesAreTheListeners(t *testing.T) {
	got := takenAddresses([]string{"listener 192.0.2.25:25", "admin 127.0.0.1:9925", "listener [::]:25", "listener nowhere"})
	if text := fmt.Sprint(got); text != "[192.0.2.25:25 [::]:25]" {
		t.Errorf("addresses %s", text)
	}
}
