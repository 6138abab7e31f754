package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"smtplb/internal/smtptest"
)

const transparentPage = "docs/transparent.md"

// withoutRights has a command run as root without the rights over the network.
var withoutRights = []string{"setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"}

// try runs a command of the program in the namespace to its end.
func (s *space) try(t *testing.T, command, yaml string, before ...string) (text string, ok bool) {
	t.Helper()
	args := s.command(append(before, raced, command, "--config", writeFile(t, "smtplb.yaml", yaml))...)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(out), err == nil
}

// middle is the machines of the page on transparency: clients, the balancer, and
// a relay beyond it.
type middle struct {
	clients, lb, at *space // at: the relay's
	relay4, relay6  *smtptest.Relay
	seen            peers // of the IPv4 one
}

func newMiddle(t *testing.T) *middle {
	t.Helper()
	m := &middle{clients: newSpace(t, "clients"), lb: newSpace(t, "lb"), at: newSpace(t, "relay")}
	join(m.clients, "lan", m.lb, "lan")
	join(m.lb, "relays", m.at, "eth0")
	m.clients.address("lan", "10.10.0.11/24", "10.10.0.12/24", "2001:db8:10::11/64", "2001:db8:10::12/64")
	m.lb.address("lan", "10.10.0.1/24", "10.10.0.25/24", "2001:db8:10::1/64", "2001:db8:10::25/64")
	m.lb.address("relays", "10.20.0.1/24", "2001:db8:20::1/64")
	m.at.address("eth0", "10.20.0.11/24", "2001:db8:20::11/64")
	m.lb.sh("sysctl -q -w net.ipv4.conf.all.rp_filter=1") // as strict as it can be
	m.relay4 = m.at.relay("10.20.0.11:25", smtptest.Script{OnConnect: m.seen.add})
	m.relay6 = m.at.relay("[2001:db8:20::11]:25", smtptest.Script{})
	return m
}

// The blocks of shell on the page, in their order.
const (
	takeInMarked = iota
	takeInFromPort
	answersByDefault
	answersOfPort
)

// The page on transparency, as it stands: the relay sees each client's own
// address, whichever way the answers are led back; two clients at a time, IPv4
// and IPv6. Checks come from the balancer.
func TestRelaySeesTheClientsOwnAddress(t *testing.T) {
	t.Parallel()
	sh, yaml := fenced(t, transparentPage, "iproute2"), fenced(t, transparentPage, "yaml")[0]
	for _, test := range []struct {
		name          string
		marking       bool // by the firewall
		lb, relay     int  // blocks
		relaysDefault string
	}{
		{"marked by the firewall", true, takeInMarked, answersByDefault, ""},
		{"by rules alone", false, takeInFromPort, answersByDefault, ""},
		{"only the answers go back", true, takeInMarked, answersOfPort, "ip route add blackhole default\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMiddle(t)
			m.lb.sh(sh[test.lb])
			if test.marking {
				m.lb.feed(fenced(t, transparentPage, "nft")[0], find(t, "nft"), "-f", "-")
			}
			m.at.sh(test.relaysDefault + sh[test.relay])
			p := m.lb.balancer(yaml)
			if p.warned(t, transparentPage) {
				t.Errorf("warnings: %v", p.logged(t, "config"))
			}

			sent := map[string]string{} // whose message it is
			var open []*smtptest.Client
			for i := range 6 {
				for _, way := range []struct{ client, vip string }{
					{"10.10.0.11", "10.10.0.25:25"}, {"10.10.0.12", "10.10.0.25:25"},
					{"2001:db8:10::11", "[2001:db8:10::25]:25"}, {"2001:db8:10::12", "[2001:db8:10::25]:25"},
				} {
					client, err := m.clients.dial(way.client, way.vip)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(client.Close) // open with all the others
					id := fmt.Sprint(way.client, "/", i)
					if err := client.Send(smtptest.Outgoing{ID: id, Size: 100_000}); err != nil {
						t.Fatalf("%s: %v", id, err)
					}
					sent[id] = way.client
					open = append(open, client)
				}
			}
			for _, client := range open {
				if err := client.Quit(); err != nil {
					t.Error(err)
				}
			}
			for _, got := range append(m.relay4.Messages(), m.relay6.Messages()...) {
				if peer := got.Peer.Addr().String(); sent[got.ID] != peer {
					t.Errorf("%s came from %s", got.ID, peer)
				}
				delete(sent, got.ID)
			}
			if len(sent) > 0 {
				t.Errorf("not at the relays: %v", sent)
			}
			smtptest.Eventually(t, patience, func() bool { return m.seen.of("10.20.0.1") > 0 }, "a check from the balancer's own address")
			if all := m.seen.all(); all != 3 {
				t.Errorf("the relay has seen %d addresses, want two clients and the balancer", all)
			}
		})
	}
}

// When a client has used up the ports of one relay, that is no relay's fault: the
// next takes its session. Whom a PROXY header names is who the relay sees.
func TestClientThatHasUsedUpItsPorts(t *testing.T) {
	t.Parallel()
	const ports = 10
	sh := fenced(t, transparentPage, "iproute2")
	m := newMiddle(t)
	m.lb.sh(sh[takeInFromPort] + fmt.Sprintf("sysctl -q -w net.ipv4.ip_local_port_range='20001 %d'\n", 20000+ports))
	m.at.address("eth0", "10.20.0.12/24")
	m.at.sh(sh[answersByDefault])
	second := m.at.relay("10.20.0.12:25", smtptest.Script{})
	p := m.lb.balancer(`
listeners:
  - {name: in, address: "10.10.0.25:25", pool: out, allow: [10.10.0.0/24], accept_proxy: [10.10.0.12]}
pools:
  - name: out
    backends:
      - {name: a, address: "10.20.0.11:25", transparent: true}
      - {name: b, address: "10.20.0.12:25", transparent: true, priority: 1}
    probe: {type: tcp, interval: 1h}
    timeouts: {hedge: 0s}
`)
	for i := range ports + 5 {
		client, err := m.clients.dial("10.10.0.12", "10.10.0.25:25")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		if _, err := fmt.Fprintf(client.Conn(), "PROXY TCP4 10.10.0.99 10.10.0.25 %d 25\r\n", 40000+i); err != nil {
			t.Fatal(err)
		}
		if err := client.Send(smtptest.Outgoing{ID: fmt.Sprint(i), Size: 100}); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	if a, b := m.relay4.MessageCount(), second.MessageCount(); a != ports || b != 5 {
		t.Errorf("%d and %d messages at the relays, want %d and 5", a, b, ports)
	}
	for _, got := range append(m.relay4.Messages(), second.Messages()...) {
		if peer := got.Peer.Addr().String(); peer != "10.10.0.99" {
			t.Errorf("message %s came from %s", got.ID, peer)
		}
	}
	p.waitLine(t, "proxy", func(l logLine) bool {
		return strings.HasPrefix(l.text("error"), "backend a: connect: no local port is free for this relay: ")
	})
	if lines := p.logged(t, "backend"); len(lines) > 0 {
		t.Errorf("a relay was blamed: %v", lines)
	}
}

// What is missing for transparency is said: answers that would go another way, a
// right, clients that no relay can serve.
func TestWhatTransparencyLacksIsSaid(t *testing.T) {
	t.Parallel()
	yaml := fenced(t, transparentPage, "yaml")[0]
	plain := strings.ReplaceAll(yaml, ", transparent: true", "")
	m := newMiddle(t)
	for _, name := range []string{"pool outbound: backend relay-a: ", "pool outbound6: backend relay-a6: "} {
		text, ok := m.lb.try(t, "check", yaml)
		if want := name + "transparent: what it answers to clients such as "; !ok || !strings.Contains(text, want) || !strings.Contains(text, transparentPage) {
			t.Errorf("check, ok %v: no %q in\n%s", ok, want, text)
		}
	}

	const denied = "transparent: needs the capability CAP_NET_RAW or CAP_NET_ADMIN: operation not permitted: see " + transparentPage
	if text, ok := m.lb.try(t, "run", yaml, withoutRights...); ok || !strings.Contains(text, "smtplb: pool outbound: backend relay-a: "+denied) {
		t.Errorf("run without the right, ok %v:\n%s", ok, text)
	}

	// A reload that asks for it is refused, and changes nothing.
	file := writeFile(t, "smtplb.yaml", plain)
	p := launch(t, nil, nil, m.lb.command(append(withoutRights, raced, "run", "--config", file)...)...)
	p.waitLine(t, "started", nil)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	refused := p.waitLine(t, "reload refused: nothing changed", nil)
	if text := fmt.Sprint(refused["errors"]); !strings.Contains(text, "backend relay-a6: "+denied) {
		t.Errorf("reload: %s", text)
	}
	if err := m.clients.send("10.10.0.11", "10.10.0.25:25", "after"); err != nil {
		t.Errorf("after the reload that was refused: %v", err)
	}

	mixed := strings.ReplaceAll(strings.ReplaceAll(yaml, "allow: [\"10.10.0.0/24\"]", "allow: [\"10.10.0.0/24\", \"2001:db8:10::/64\"]"), "name: v4", "name: both")
	const unserved = "pool outbound: no relay for the IPv6 clients of listener both: "
	if text, ok := m.lb.try(t, "check", mixed); !ok || !strings.Contains(text, unserved) {
		t.Errorf("check, ok %v: no %q in\n%s", ok, unserved, text)
	}
}
