package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"smtplb/internal/smtptest"
)

const twoISPsPage = "docs/two-isps.md"

// peers counts the connections that a relay has seen, by the address that they
// came from.
type peers struct {
	mu     sync.Mutex
	counts map[string]int
}

func (p *peers) add(peer netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts == nil {
		p.counts = map[string]int{}
	}
	p.counts[peer.Addr().WithZone("").String()]++ // zones are not known by name here
}

// only returns how many there were of addr, or an error if others were there.
func (p *peers) only(addr string) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.counts) > 1 || len(p.counts) == 1 && p.counts[addr] == 0 {
		return 0, fmt.Errorf("reached from %v, want %s alone", p.counts, addr)
	}
	return p.counts[addr], nil
}

// of is how many there were of addr.
func (p *peers) of(addr string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[addr]
}

// all is how many addresses there were.
func (p *peers) all() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.counts)
}

// isps are the machines of the page: a client, the balancer, the routers of two
// ISPs, and the internet, with both relays, which either router reaches.
type isps struct {
	client, lb, isp1, isp2 *space
	relayA, relayB         *smtptest.Relay
	seenA, seenB           peers
}

func newISPs(t *testing.T) *isps {
	t.Helper()
	n := &isps{client: newSpace(t, "client"), lb: newSpace(t, "lb"), isp1: newSpace(t, "isp1"), isp2: newSpace(t, "isp2")}
	internet := newSpace(t, "internet")
	join(n.client, "lan", n.lb, "lan")
	n.client.address("lan", "10.10.0.11/24")
	n.lb.address("lan", "10.10.0.1/24", "10.10.0.25/32")
	for _, isp := range []struct {
		router              *space
		name, ours, gateway string // ours: the balancer's
		inside, outside     string // between router and internet
		network             string
	}{
		{n.isp1, "isp1", "198.51.100.2/24", "198.51.100.1/24", "172.16.1.1/30", "172.16.1.2/30", "198.51.100.0/24"},
		{n.isp2, "isp2", "203.0.113.2/24", "203.0.113.1/24", "172.16.2.1/30", "172.16.2.2/30", "203.0.113.0/24"},
	} {
		join(n.lb, isp.name, isp.router, "customer")
		n.lb.address(isp.name, isp.ours)
		isp.router.address("customer", isp.gateway)
		join(isp.router, "world", internet, isp.name)
		isp.router.address("world", isp.inside)
		internet.address(isp.name, isp.outside)
		next, _, _ := strings.Cut(isp.inside, "/")
		internet.sh("ip route add " + isp.network + " via " + next)
		next, _, _ = strings.Cut(isp.outside, "/")
		isp.router.sh("ip route add 192.0.2.0/24 via " + next + "\nsysctl -q -w net.ipv4.ip_forward=1")
	}
	internet.address("lo", "192.0.2.10/32", "192.0.2.20/32")
	internet.sh("sysctl -q -w net.ipv4.conf.all.rp_filter=0")
	n.relayA = internet.relay("192.0.2.10:25", smtptest.Script{OnConnect: n.seenA.add})
	n.relayB = internet.relay("192.0.2.20:25", smtptest.Script{OnConnect: n.seenB.add})

	// The kernel is as strict as it can be about where packets come from.
	n.lb.sh("sysctl -q -w net.ipv4.conf.all.rp_filter=1\n" + fenced(t, twoISPsPage, "iproute2")[0])
	// Who is near is answered there, whatever address was spoken to.
	n.lb.sh("ip route get 10.10.0.11 from 203.0.113.2 | grep -w lan >/dev/null")
	return n
}

// soon are more keys of the pool, so that a line that is back is found so soon.
const soon = `
    probe: {interval: 500ms, fast_interval: 200ms, timeout: 2s}
    timeouts: {connect: 1s}
    passive: {eject: 1s}
    slow_start: 0s
`

// The page on two ISPs, as it stands: each relay is seen from the address of its
// line, by sessions and by checks, whichever key says so. When a line is cut, no
// client fails.
func TestTwoISPs(t *testing.T) {
	const messages = 24
	for _, test := range []struct {
		name, key string // in place of relay-b's source
		cut       func(*isps)
		back      func(*isps) // nil: it stays cut
		meets     string      // the outcome of each attempt on relay-b then; "": more than one is possible
		missing   bool        // what the key names is not there
	}{
		{
			"by source, the cable is out", "source: 203.0.113.2",
			func(n *isps) {
				n.isp2.sh("ip link set customer down")
				// The kernel takes up to a second to tell.
				n.lb.sh("for i in $(seq 300); do ip route show table 102 | grep -q linkdown && exit 0; sleep 0.1; done; exit 1")
			},
			func(n *isps) { n.isp2.sh("ip link set customer up") }, "unreachable", false,
		},
		{
			"by mark, packets vanish", "fwmark: 2",
			func(n *isps) { n.isp2.sh("ip route replace blackhole 192.0.2.20/32") },
			func(n *isps) { n.isp2.sh("ip route delete blackhole 192.0.2.20/32") }, "", false,
		},
		{
			"by mark, the interface is down", "fwmark: 2",
			func(n *isps) { n.lb.sh("ip link set isp2 down") }, nil, "unreachable", false,
		},
		{
			"by interface, and that goes", "interface: isp2",
			func(n *isps) { n.lb.sh("ip link delete isp2") }, nil, "unreachable", true,
		},
		{
			"by source, and that goes", "source: 203.0.113.2",
			func(n *isps) { n.lb.sh("ip address delete 203.0.113.2/24 dev isp2") }, nil, "unreachable", true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := newISPs(t)
			yaml := fenced(t, twoISPsPage, "yaml")[0] + soon
			p := n.lb.balancer(strings.Replace(yaml, "source: 203.0.113.2", test.key, 1))
			if lines := p.logged(t, "config"); len(lines) > 0 {
				t.Errorf("warnings: %v", lines)
			}
			n.sendAll(t, "before", messages)
			n.bothSeen(t, messages)

			test.cut(n)
			before := n.relayB.MessageCount()
			n.sendAll(t, "cut", messages)
			if got := n.relayB.MessageCount() - before; got != 0 {
				t.Errorf("relay-b has got %d messages over a line that is cut", got)
			}
			n.bothSeen(t, 2*messages)
			for _, s := range p.sessions(t, 2*messages)[messages:] {
				if a := s.Attempts[0]; a.Backend == "relay-b" && test.meets != "" && a.Outcome != test.meets {
					t.Errorf("a session met %s, want %s: %+v", a.Outcome, test.meets, s)
				}
			}

			if test.missing {
				p.waitLine(t, "unchecked", func(l logLine) bool { return l.text("backend") == "relay-b" })
				if lines := p.logged(t, "backend"); len(lines) > 0 {
					t.Errorf("a relay was blamed for what this machine has not: %v", lines)
				}
			}
			if test.back == nil {
				return
			}
			test.back(n)
			smtptest.Eventually(t, patience, func() bool {
				n.sendAll(t, "back", 1)
				return n.relayB.MessageCount() > before
			}, "relay-b gets messages again")
		})
	}
}

// sendAll sends messages, a few at a time. Each must be accepted.
func (n *isps) sendAll(t *testing.T, what string, messages int) {
	t.Helper()
	eachOf(messages, func(i int) {
		if err := n.client.send("10.10.0.11", "10.10.0.25:25", fmt.Sprint(what, "-", i)); err != nil {
			t.Errorf("%s, message %d: %v", what, i, err)
		}
	})
}

// bothSeen checks who the relays have seen, and that all messages are there: with
// sessions of one message each, what is more is checks.
func (n *isps) bothSeen(t *testing.T, messages int) {
	t.Helper()
	if got := n.relayA.MessageCount() + n.relayB.MessageCount(); got != messages {
		t.Errorf("%d messages at the relays, want %d", got, messages)
	}
	for _, relay := range []struct {
		name, from string
		relay      *smtptest.Relay
		seen       *peers
	}{
		{"relay-a", "198.51.100.2", n.relayA, &n.seenA},
		{"relay-b", "203.0.113.2", n.relayB, &n.seenB},
	} {
		smtptest.Eventually(t, patience, func() bool {
			connections, err := relay.seen.only(relay.from)
			if err != nil {
				t.Fatalf("%s: %v", relay.name, err)
			}
			return connections > relay.relay.MessageCount()
		}, "%s is checked", relay.name)
		if relay.relay.MessageCount() == 0 {
			t.Errorf("%s has got no message", relay.name)
		}
	}
}

// What a line must have and this machine has not is said at check, and a mark
// that may not be set keeps the program from starting.
func TestWayThatIsNotHereIsSaid(t *testing.T) {
	t.Parallel()
	lb := newSpace(t, "lb")
	yaml := fenced(t, twoISPsPage, "yaml")[0]
	text, ok := lb.try(t, "check", yaml)
	for _, want := range []string{
		"pool outbound: backend relay-a: source 198.51.100.2: this machine has no such address: ",
		"pool outbound: backend relay-b: source 203.0.113.2: this machine has no such address: ", ": see docs/two-isps.md",
	} {
		if !ok || !strings.Contains(text, want) {
			t.Errorf("check, ok %v: no %q in\n%s", ok, want, text)
		}
	}
	marked := strings.Replace(yaml, "source: 203.0.113.2", "fwmark: 2", 1)
	want := "smtplb: pool outbound: backend relay-b: fwmark 2: needs the capability CAP_NET_RAW or CAP_NET_ADMIN: operation not permitted: see docs/two-isps.md\n"
	if text, ok := lb.try(t, "run", marked, withoutRights...); ok || !strings.HasSuffix(text, want) {
		t.Errorf("run, ok %v:\n%s, want %q", ok, text, want)
	}
}

// A link-local relay is reached through its interface, by sessions and by checks,
// with a link-local source too.
func TestLinkLocalRelayIsReachedThroughItsInterface(t *testing.T) {
	t.Parallel()
	lb, at := newSpace(t, "lb"), newSpace(t, "relay")
	join(lb, "isp2", at, "eth0")
	lb.address("isp2", "fe80::1/64")
	at.address("eth0", "fe80::2/64")
	var seen peers
	relay := at.relay("[::]:25", smtptest.Script{OnConnect: seen.add})
	p := lb.balancer(`
listeners: [{address: "127.0.0.1:25", pool: out, allow: [127.0.0.0/8]}]
pools: [{name: out, backends: [{name: relay-a, address: "[fe80::2]:25", interface: isp2, source: "fe80::1"}]}]
`)
	if err := lb.send("127.0.0.1", "127.0.0.1:25", "one"); err != nil {
		t.Fatal(err)
	}
	smtptest.Eventually(t, patience, func() bool {
		n, err := seen.only("fe80::1")
		if err != nil {
			t.Fatal(err)
		}
		return n >= 2
	}, "a session and a check")
	if n := relay.MessageCount(); n != 1 {
		t.Errorf("%d messages at the relay, want 1", n)
	}
	if lines := append(p.logged(t, "config"), p.logged(t, "unchecked")...); len(lines) > 0 {
		t.Errorf("warnings: %v", lines)
	}
}
