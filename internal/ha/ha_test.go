package ha

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func node(change func(*Node)) Node {
	n := Node{
		VIPs: []netip.Addr{netip.MustParseAddr("192.0.2.25")}, Interface: "eth0", Peer: netip.MustParseAddr("192.0.2.12"),
		RouterID: 25, RelayDelay: 30 * time.Second,
		Command: "/usr/bin/smtplb", Config: "/etc/smtplb/smtplb.yaml", TrackFile: "/run/smtplb.relays",
	}
	if change != nil {
		change(&n)
	}
	return n
}

func TestKeepalivedConf(t *testing.T) {
	for name, change := range map[string]func(*Node){
		"smallest": nil,
		"both-families": func(n *Node) {
			n.VIPs = append(n.VIPs, netip.MustParseAddr("2001:db8::25"), netip.MustParseAddr("192.0.2.26"))
			n.Self, n.Preferred = netip.MustParseAddr("192.0.2.11"), true
			n.RouterID, n.RelayDelay, n.Interface = 7, 5*time.Second, "bond0.12"
		},
		"ipv6": func(n *Node) {
			n.VIPs = []netip.Addr{netip.MustParseAddr("2001:db8::25")}
			n.Self, n.Peer = netip.MustParseAddr("2001:db8::11"), netip.MustParseAddr("2001:db8::12")
		},
	} {
		n := node(change)
		got, err := n.Keepalived()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantFile(t, name, got)
	}
}

// wantFile holds a configuration against the one of testdata with that name.
func wantFile(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".conf")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	if got != string(want) {
		t.Errorf("%s: is not %s, but\n%s", name, file, got)
	}
}

// However many listeners there are, and whatever is changed in one node's file
// first, the nodes agree on the one address that they tell each other of.
func TestManyAddressesAllMove(t *testing.T) {
	n := node(func(n *Node) {
		n.VIPs = slices.Insert(n.VIPs, 0, netip.MustParseAddr("2001:db8::25"))
		for i := range 40 {
			n.VIPs = append(n.VIPs, netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}))
		}
	})
	text, err := n.Keepalived()
	if err != nil {
		t.Fatal(err)
	}
	advertised, others, ok := strings.Cut(text, "virtual_ipaddress_excluded")
	if !ok || strings.Count(advertised, " dev eth0\n") != 1 || !strings.Contains(advertised, " 192.0.2.25/32 dev eth0\n") ||
		strings.Count(others, " dev eth0\n") != len(n.VIPs)-1 {
		t.Error(text)
	}
}

func TestWrongNodesAreRefused(t *testing.T) {
	addr := netip.MustParseAddr
	for _, test := range []struct {
		change func(*Node)
		want   string
	}{
		{func(n *Node) { n.VIPs = nil }, "VIPs: at least one"},
		{func(n *Node) { n.VIPs[0] = addr("0.0.0.0") }, "VIP 0.0.0.0: must be the one address that moves"},
		{func(n *Node) { n.Interface = "" }, `interface "": must be the name`},
		{func(n *Node) { n.Interface = "eth0 }" }, "must be the name of a network interface"},
		{func(n *Node) { n.Interface = "a/b" }, "must be the name of a network interface"},
		{func(n *Node) { n.Interface = ".." }, "must be the name of a network interface"},
		{func(n *Node) { n.Interface = "sixteen-bytes-xy" }, "must be the name of a network interface"},
		{func(n *Node) { n.Peer = netip.Addr{} }, "must be the other node's own address"},
		{func(n *Node) { n.Peer = addr("127.0.0.1") }, "must be the other node's own address"},
		{func(n *Node) { n.Peer = n.VIPs[0] }, "192.0.2.25: is a listener's address, and moves"},
		{func(n *Node) { n.Peer = addr("2001:db8::12") }, "peer 2001:db8::12: must be an address of the family of a listener's, as 192.0.2.25 is"},
		{func(n *Node) { n.Self = addr("::1") }, "must be this node's own address"},
		{func(n *Node) { n.Self = n.Peer }, "must differ from the peer's"},
		{func(n *Node) { n.Self = n.VIPs[0] }, "192.0.2.25: is a listener's address, and moves"},
		{func(n *Node) { n.Self = addr("2001:db8::11") }, "must be of the same family"},
		{func(n *Node) { n.RouterID = 0 }, "router ID 0: must be 1 to 255"},
		{func(n *Node) { n.RouterID = 256 }, "router ID 256: must be 1 to 255"},
		{func(n *Node) { n.RelayDelay = 0 }, "relay delay 0s: must be 1s to 1000s"},
		{func(n *Node) { n.RelayDelay = 1500 * time.Millisecond }, "in whole seconds"},
		{func(n *Node) { n.RelayDelay = time.Hour }, "relay delay 1h0m0s"},
		{func(n *Node) { n.Config = "smtplb.yaml" }, `configuration "smtplb.yaml": must be a whole path`},
		{func(n *Node) { n.Config = "/etc/smtplb/the file.yaml" }, "must be a whole path, of letters"},
		{func(n *Node) { n.Command = "/opt/#1/smtplb" }, `program "/opt/#1/smtplb"`},
		{func(n *Node) { n.TrackFile = "/run/\"}\n" }, `track file "/run/\"}\n"`},
	} {
		n := node(test.change)
		text, err := n.Keepalived()
		if err == nil || text != "" || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, %q, want the one error %q", err, text, test.want)
		}
	}
	var none Node
	if _, err := none.Keepalived(); err == nil || strings.Count(err.Error(), "\n") < 6 {
		t.Errorf("not every mistake is told: %v", err)
	}
}

func TestVIPsAreTheListenersAddresses(t *testing.T) {
	listeners := func(addresses ...string) (all []Listener) {
		for _, a := range addresses {
			all = append(all, Listener{"in", netip.MustParseAddrPort(a)})
		}
		return all
	}
	got, err := VIPs(listeners("192.0.2.25:25", "192.0.2.25:465", "[2001:db8::25]:25", "[::ffff:192.0.2.25]:26"))
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for address, want := range map[string]string{
		"0.0.0.0:25":            `listener in: address 0.0.0.0:25: must be the one address that moves from node to node, such as "192.0.2.25:25"`,
		"[::]:25":               "on a wildcard nothing can move",
		"127.0.0.1:25":          "must be an address that clients reach",
		"[fe80::1%eth0]:25":     "must be an address that is routed",
		"169.254.1.1:25":        "must be an address that is routed",
		"224.0.0.1:25":          "must be the address of a host",
		"239.1.1.1:25":          "must be the address of a host",
		"255.255.255.255:25":    "must be the address of a host",
		"[::ffff:127.0.0.1]:25": "must be an address that clients reach",
	} {
		if _, err := VIPs(listeners("192.0.2.25:25", address)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	if _, err := VIPs(nil); err == nil {
		t.Error("no listener is no error")
	}
	if _, err := VIPs([]Listener{{Name: "none"}}); err == nil {
		t.Error("no address is no error")
	}
}

// Reaching fewer relays is always worse, up to where all are the same, and no
// preference outweighs a relay.
func TestHandicap(t *testing.T) {
	for unreached, want := range map[int]int{-1: 0, 0: 0, 1: -1, 99: -99, 100: -100, 5000: -100} {
		if got := Handicap(unreached); got != want {
			t.Errorf("%d: %d, want %d", unreached, got, want)
		}
	}
	if lowest := basePriority + perRelay*Handicap(maxHandicap); lowest < 1 || basePriority+1 > 254 || perRelay <= 1 {
		t.Errorf("priorities from %d to %d", lowest, basePriority+1)
	}
}

// Whatever is asked for, what is printed has the shape that was meant: no name
// adds a line, a brace or a quote.
func FuzzKeepalived(f *testing.F) {
	f.Add("eth0", "/usr/bin/smtplb", "/etc/smtplb/smtplb.yaml", "/run/smtplb.relays", "192.0.2.25", "192.0.2.12", 25)
	f.Add("a b", "/x\"y", "/$z", "/!q", "::", "fe80::1%eth0", 0)
	plainNode := node(nil)
	model, err := plainNode.Keepalived()
	if err != nil {
		f.Fatal(err)
	}
	const special = "\n{}\"#!$%@~'\\"
	f.Fuzz(func(t *testing.T, device, command, config, track, vip, peer string, router int) {
		v, _ := netip.ParseAddr(vip)
		p, _ := netip.ParseAddr(peer)
		n := node(func(n *Node) {
			n.Interface, n.Command, n.Config, n.TrackFile, n.RouterID = device, command, config, track, router
			n.VIPs, n.Peer = []netip.Addr{v}, p
		})
		text, err := n.Keepalived()
		if err != nil {
			if text != "" {
				t.Error("text beside an error")
			}
			return
		}
		for _, c := range special {
			if got, want := strings.Count(text, string(c)), strings.Count(model, string(c)); got != want {
				t.Errorf("%q: %d times, want %d in\n%s", c, got, want, text)
			}
		}
	})
}
