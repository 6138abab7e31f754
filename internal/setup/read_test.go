package setup

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// one network card, as most appliances have.
func machine(addresses ...string) Machine {
	card := Interface{Name: "eth0"}
	for _, a := range addresses {
		card.Addresses = append(card.Addresses, netip.MustParsePrefix(a))
	}
	return Machine{Interfaces: []Interface{card}}
}

// right are answers with which nothing is wrong; a test replaces some.
func right() map[string]string {
	return map[string]string{
		"hostname": "lb-a", "address": "192.0.2.11/24", "gateway": "192.0.2.1", "dns": "[192.0.2.53]", "vip": "192.0.2.25", "peer": "192.0.2.12",
		"relays": "[10.10.1.11, relay.example.com:587]", "allow": "[10.10.0.0/16, 192.0.2.70]", "management": "192.0.2.0/28",
	}
}

func file(answers map[string]string) []byte {
	var b strings.Builder
	for key, value := range answers {
		fmt.Fprintf(&b, "%s: %s\n", key, value)
	}
	return []byte(b.String())
}

func TestWrongAnswersAreRefusedWithWhatWouldBeRight(t *testing.T) {
	for _, test := range []struct{ key, value, want string }{
		{"hostname", "lb_a", "letters, digits and hyphens"},
		{"hostname", "-lb", "such as smtplb-a"},
		{"hostname", "192.0.2.11", "such as smtplb-a"},
		{"hostname", strings.Repeat("a", 64), "63 at most"},
		{"hostname", "[a, b]", "one value, not a list"},
		{"interface", "eth7", "one of the appliance's: eth0"},
		{"address", "192.0.2.11", "the length of its network is missing: 192.0.2.11/24"},
		{"address", "somewhere", "such as 192.0.2.11/24, or dhcp"},
		{"address", "192.0.2.0/24", "the network's own address: must be one in it, such as 192.0.2.1"},
		{"address", "192.0.2.255/24", "broadcast"},
		{"address", "192.0.2.11/32", "must be /8 to /30"},
		{"address", "127.0.0.2/8", "must be one of its own"},
		{"address", "fe80::1/64", "single link"},
		{"address", "224.0.0.5/24", "not the address of a machine"},
		{"gateway", "192.0.3.1", "is not in the network 192.0.2.0/24 of this appliance: must be in it, such as 192.0.2.1"},
		{"gateway", "192.0.2.11", "this appliance's own address"},
		{"dns", "dns.example.com", "the address of a DNS server, such as"},
		{"dns", "[192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]", "3 at most"},
		{"vip", "192.0.2.25/24", "without a length"},
		{"vip", "192.0.2.11", "own address: must be another"},
		{"vip", "192.0.2.1", "is taken"},
		{"vip", "198.51.100.25", "must be in it"},
		{"peer", "192.0.2.25", "is taken"},
		{"peer", "192.0.2.11", "own address"},
		{"peer", "lb-b", "must be an address in 192.0.2.0/24"},
		{"relays", "[]", "at least one is needed"},
		{"relays", "192.0.2.25", "in circles"},
		{"relays", "192.0.2.12:25", "in circles"},
		{"relays", "[10.0.0.1, 10.0.0.1:25]", "there twice"},
		{"relays", "10.0.0.1:0", "1 to 65535"},
		{"relays", "10.0.0.1:70000", "1 to 65535"},
		{"relays", "relay_a", "must be an address or a name"},
		{"relays", "http://relay", "1 to 65535"},
		{"relays", "127.0.0.1", "not the address of a machine"},
		{"allow", "", "somebody must be allowed"},
		{"allow", "0.0.0.0/0", "too much of the Internet"},
		{"allow", "::/0", "too much of the Internet"},
		{"allow", "[128.0.0.0/1, 10.0.0.1]", "128.0.0.0/1: is too much"},
		{"allow", "10.10.1.5/16", "must be 10.10.0.0/16 for the network, or 10.10.1.5"},
		{"allow", "exchange", "such as 10.10.0.5 or 10.10.8.0/24"},
		{"management", "0.0.0.0/0", "too much of the Internet"},
		{"management", "[]", "must be addresses or networks, such as 192.0.2.0/24, or none"},
		{"management", "", "must be addresses or networks, such as 192.0.2.0/24, or none"},
		{"allowed", "192.0.2.1", "unknown key: must be one of hostname"},
	} {
		t.Run(test.key+" "+test.value, func(t *testing.T) {
			answers := right()
			answers[test.key] = test.value
			_, err := Read("setup.yaml", file(answers), machine())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "setup.yaml: "+test.key) {
				t.Errorf("%v; want setup.yaml: %s: ... %s", err, test.key, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("one mistake, and it tells of more:\n%v", err)
			}
		})
	}
}

func TestEveryMistakeIsTold(t *testing.T) {
	answers := right()
	answers["hostname"], answers["vip"], answers["allow"], answers["colour"] = "a b", "10.0.0.1", "0.0.0.0/0", "red"
	_, err := Read("a.yaml", file(answers), machine())
	if err == nil {
		t.Fatal("taken")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 4 {
		t.Errorf("%d mistakes are told, of 4:\n%v", len(lines), err)
	}
}

func TestWhatIsNotSaidIsTakenFromTheMachine(t *testing.T) {
	answers := right()
	for _, key := range []string{"address", "gateway", "dns", "hostname", "management"} {
		delete(answers, key)
	}
	a, err := Read("a.yaml", file(answers), machine("fe80::1/64", "192.0.2.40/24"))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Keep || a.Address != netip.MustParsePrefix("192.0.2.40/24") || a.Hostname != "smtplb" || a.Management[0] != netip.MustParsePrefix("192.0.2.0/24") {
		t.Errorf("%+v", a)
	}
	if _, err := Read("a.yaml", file(answers), machine("fe80::1/64")); err == nil || !strings.Contains(err.Error(), "address: required, since eth0 has no address yet") {
		t.Errorf("without any address: %v", err)
	}
}

func TestDHCPHasNoVIP(t *testing.T) {
	answers := right()
	answers["address"] = dhcp
	delete(answers, "gateway")
	delete(answers, "peer")
	if _, err := Read("a.yaml", file(answers), machine()); err == nil || !strings.Contains(err.Error(), "vip: 192.0.2.25: needs a fixed address") {
		t.Errorf("%v", err)
	}
	delete(answers, "vip")
	a, err := Read("a.yaml", file(answers), machine())
	if err != nil {
		t.Fatal(err)
	}
	files, err := a.Files()
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, files, Config); !strings.Contains(got, `"[::]:25"`) {
		t.Errorf("listens elsewhere than at all addresses:\n%s", got)
	}
}

// A network that is left as cloud-init has made it gets no VIP by the set-up: without
// keepalived nobody would have it, and smtplb listen there.
func TestVIPOfANetworkThatIsLeftAsItIs(t *testing.T) {
	answers := right()
	for _, key := range []string{"address", "gateway", "peer"} {
		delete(answers, key)
	}
	_, err := Read("a.yaml", file(answers), machine("192.0.2.40/24"))
	if err == nil || !strings.Contains(err.Error(), "a.yaml: peer: ") || !strings.Contains(err.Error(), "or address, or let network-config bring the VIP, 192.0.2.25, too") {
		t.Errorf("%v", err)
	}
	if _, err := Read("a.yaml", file(answers), machine("192.0.2.40/24", "192.0.2.25/32")); err != nil {
		t.Errorf("with the VIP: %v", err)
	}
	answers["peer"] = "192.0.2.12"
	if _, err := Read("a.yaml", file(answers), machine("192.0.2.40/24")); err != nil {
		t.Errorf("with a peer: %v", err)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "- a\n- b\n", "a: [", "hostname: {a: b}\n", "hostname: a\nhostname: b\n", "? [a]\n: b\n", strings.Repeat("#", 2<<20), "\x00"} {
		if _, err := Read("a.yaml", []byte(text), machine()); err == nil || !strings.HasPrefix(err.Error(), "a.yaml: ") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestAnswersOutliveTheirFile(t *testing.T) {
	a, err := Read("a.yaml", file(right()), machine())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Read(Done, []byte(a.YAML()), machine())
	if err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%v\n%+v\n%+v", err, a, b)
	}
}

func text(t testing.TB, files []File, path string) string {
	t.Helper()
	for _, f := range files {
		if f.Path == path {
			return f.Text
		}
	}
	t.Fatalf("no file %s", path)
	return ""
}
