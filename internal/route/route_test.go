package route

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// elsewhere runs a test in a network of its own, with a relay network 10.20.0.0/24
// and a client network 10.10.0.0/24 at one interface each. Without the right to
// make one there is nothing to see.
func elsewhere(t *testing.T, test func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and the network with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		for _, step := range []struct{ near, far, address, address6 string }{
			{"lan", "clients", "10.10.0.1/24", "2001:db8:10::1/64"},
			{"relays", "relay", "10.20.0.1/24", "2001:db8:20::1/64"},
		} {
			if err := addLink(step.near, step.far, step.address, step.address6); err != nil {
				done <- err
				return
			}
		}
		test()
	}()
	if err := <-done; errors.Is(err, unix.EPERM) {
		t.Log("no right to make a network; e2e has the same, and more")
	} else if err != nil {
		t.Fatal(err)
	}
}

func addLink(near, far string, addresses ...string) error {
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: near}, PeerName: far}
	errs := []error{netlink.LinkAdd(link)}
	for _, text := range addresses {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		errs = append(errs, netlink.AddrAdd(link, a))
	}
	for _, name := range []string{near, far, "lo"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, netlink.LinkSetUp(l))
	}
	return errors.Join(errs...)
}

// takeIn adds a local route for everything to table 25.
func takeIn(t *testing.T, everything string) {
	t.Helper()
	_, all, err := net.ParseCIDR(everything)
	if err != nil {
		t.Error(err)
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Error(err)
		return
	}
	local := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Table: 25, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
	if err := netlink.RouteAdd(local); err != nil {
		t.Errorf("%+v: %v", local, err)
	}
}

// What comes back is known by the rules and the routes, whichever way they lead it.
func TestWhetherAnswersComeBack(t *testing.T) {
	marked := func(r *netlink.Rule) { r.Mark = 0x19 }
	for _, test := range []struct {
		name  string
		rule  func(*netlink.Rule) // nil: none
		local bool
		port  uint16
		want  error
	}{
		{"no rule, no route", nil, false, 25, ErrAway},
		{"a route, and no rule", nil, true, 25, ErrAway},
		{"a rule, and no route", marked, false, 25, ErrAway},
		{"by a mark", marked, true, 25, nil},
		{"by the interface", func(r *netlink.Rule) { r.IifName = "relays" }, true, 25, nil},
		{"by another interface", func(r *netlink.Rule) { r.IifName = "lan" }, true, 25, ErrAway},
		{"by the port", func(r *netlink.Rule) { r.IPProto, r.Sport = unix.IPPROTO_TCP, netlink.NewRulePortRange(25, 25) }, true, 25, nil},
		{"by another port", func(r *netlink.Rule) { r.IPProto, r.Sport = unix.IPPROTO_TCP, netlink.NewRulePortRange(25, 25) }, true, 587, ErrAway},
	} {
		for _, family := range []struct {
			name, everything, relay, client string
			number                          int
		}{
			{"IPv4", "0.0.0.0/0", "10.20.0.11", "10.10.0.11", unix.AF_INET},
			{"IPv6", "::/0", "2001:db8:20::11", "2001:db8:10::11", unix.AF_INET6},
		} {
			t.Run(test.name+" "+family.name, func(t *testing.T) {
				elsewhere(t, func() {
					if test.rule != nil {
						rule := netlink.NewRule()
						rule.Family, rule.Table, rule.Priority = family.number, 25, 900
						test.rule(rule)
						if err := netlink.RuleAdd(rule); err != nil {
							t.Error(err)
							return
						}
					}
					if test.local {
						takeIn(t, family.everything)
					}
					relay := netip.AddrPortFrom(netip.MustParseAddr(family.relay), test.port)
					if err := Back(relay, netip.MustParseAddr(family.client), Way{}); !errors.Is(err, test.want) {
						t.Errorf("got %v, want %v", err, test.want)
					}
				})
			})
		}
	}
}

// A strict rp_filter drops what comes from where the kernel would not go.
func TestFilterIsNamed(t *testing.T) {
	elsewhere(t, func() {
		// Of the network of the thread that opens it.
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("1"), 0o600); err != nil {
			t.Log(err)
			return
		}
		takeIn(t, "0.0.0.0/0")
		back := netlink.NewRule()
		back.Family, back.Table, back.Priority, back.IifName = unix.AF_INET, 25, 900, "lan"
		if err := netlink.RuleAdd(back); err != nil {
			t.Error(err)
			return
		}
		// Another mark leads to the relay than leads back from it.
		away := netlink.NewRule()
		away.Family, away.Table, away.Priority, away.Mark = unix.AF_INET, 26, 800, 7
		if err := netlink.RuleAdd(away); err != nil {
			t.Error(err)
			return
		}
		lan, err := netlink.LinkByName("lan")
		if err != nil {
			t.Error(err)
			return
		}
		_, relays, _ := net.ParseCIDR("10.30.0.0/24")
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Dst: relays, Table: 26, Gw: net.ParseIP("10.10.0.9")}); err != nil {
			t.Error(err)
			return
		}
		err = Back(netip.MustParseAddrPort("10.30.0.1:25"), netip.MustParseAddr("10.10.0.11"), Way{Mark: 7})
		if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "rp_filter") {
			t.Errorf("got %v, want the filter named", err)
		}
	})
}

func TestRelayThatCannotBeReachedAtAll(t *testing.T) {
	elsewhere(t, func() {
		client := netip.MustParseAddr("10.10.0.11")
		for _, test := range []struct {
			relay string
			way   Way
			want  string // "": nil
		}{
			{"192.0.2.1:25", Way{}, "the way to it: network is unreachable"},
			{"10.20.0.11:25", Way{Interface: "none0"}, "the way to it: route ip+net: no such network interface"},
			{"10.20.0.1:25", Way{}, ""}, // this machine's
			{"127.0.0.1:25", Way{}, ""},
			{"[::ffff:10.20.0.1]:25", Way{}, ""},
		} {
			err := Back(netip.MustParseAddrPort(test.relay), client, test.way)
			if err == nil && test.want != "" || err != nil && err.Error() != test.want {
				t.Errorf("%s %+v: %v, want %q", test.relay, test.way, err, test.want)
			}
		}
	})
}
