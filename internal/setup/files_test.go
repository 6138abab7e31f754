package setup_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"smtplb/internal/config"
	"smtplb/internal/setup"
)

func oneCard() setup.Machine {
	return setup.Machine{Interfaces: []setup.Interface{{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.40/24")}}}}
}

// hold is what must hold of a file of answers, whatever is in it: it is refused with
// what would be right, or smtplb takes what comes out, and lets in nobody but those
// who were named.
func hold(tb rapid.TB, answers []byte) {
	a, err := setup.Read("a.yaml", answers, oneCard())
	if err != nil {
		if !strings.HasPrefix(err.Error(), "a.yaml: ") {
			tb.Fatalf("refused without saying where: %v", err)
		}
		return
	}
	files, err := a.Files()
	if err != nil {
		tb.Fatalf("taken, and then: %v\n%s", err, answers)
	}
	if last := files[len(files)-1].Path; last != setup.Done {
		tb.Fatalf("%s is written last: %s must be", last, setup.Done)
	}
	texts := map[string]string{}
	for _, f := range files {
		texts[f.Path] = f.Text
	}
	cfg, err := config.Parse(setup.Config, []byte(texts[setup.Config]), nil)
	if err != nil {
		tb.Fatalf("smtplb does not take it: %v\n%s", err, answers)
	}
	if len(cfg.Warnings) > 0 {
		tb.Fatalf("smtplb warns of it: %v\n%s", cfg.Warnings, answers)
	}
	if got := cfg.Listeners[0].Allow; fmt.Sprint(got) != fmt.Sprint(a.Allow) {
		tb.Fatalf("allow is %v, and was to be %v", got, a.Allow)
	}
	firewall := texts[setup.Firewall]
	if strings.Count(firewall, "tcp dport 25 accept") != len(a.Allow) || strings.Count(firewall, "dport { 22, 9925 } accept") != len(a.Management) ||
		strings.Count(firewall, "policy drop") != 2 {
		tb.Fatalf("the firewall lets others in than those named:\n%s", firewall)
	}
	if keepalived := texts["/etc/keepalived/keepalived.conf"]; (keepalived != "") != a.Peer.IsValid() {
		tb.Fatalf("a peer %s, and keepalived.conf of %d bytes", a.Peer, len(keepalived))
	}
	again, err := setup.Read(setup.Done, []byte(a.YAML()), oneCard())
	if err != nil || !reflect.DeepEqual(a, again) {
		tb.Fatalf("told again, they are others: %v\n%+v\n%+v", err, a, again)
	}
}

func TestWhateverIsAnsweredIsRefusedOrWorks(t *testing.T) {
	address := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("192.0.2.%d", rapid.IntRange(0, 255).Draw(t, "host"))
		}),
		rapid.SampledFrom([]string{"none", "", "dhcp", "2001:db8::11", "2001:db8::25", "10.1.2.3", "127.0.0.1", "relay.example.com", "fe80::1", "a b", "0.0.0.0", "::", "x:y", "[::1]:25"}),
	)
	network := rapid.Custom(func(t *rapid.T) string {
		return address.Draw(t, "address") + rapid.SampledFrom([]string{"", "", "/24", "/8", "/32", "/64", "/0", "/31", "/128", "/x"}).Draw(t, "length")
	})
	list := func(of *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(of, 0, 4), func(all []string) string {
			for i := range all {
				all[i] = fmt.Sprintf("%q", all[i])
			}
			return "[" + strings.Join(all, ", ") + "]"
		})
	}
	hosts := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 254).Draw(t, "host")) })
	others := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("10.%d.2.3", rapid.IntRange(0, 255).Draw(t, "other")) })
	nets := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("10.%d.0.0/16", rapid.IntRange(0, 255).Draw(t, "net")) })
	quoted := func(g *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Map(g, func(text string) string { return fmt.Sprintf("%q", text) })
	}
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		// Mostly what is right by itself, so that some are right as a whole.
		say := func(key string, good, odd *rapid.Generator[string]) {
			switch dice := rapid.IntRange(0, 19).Draw(t, "how "+key); {
			case dice > 1:
				fmt.Fprintf(&b, "%s: %s\n", key, good.Draw(t, key))
			case dice == 1:
				fmt.Fprintf(&b, "%s: %s\n", key, odd.Draw(t, key))
			}
		}
		name := rapid.SampledFrom([]string{"lb", "lb.example.com", "LB-1"})
		say("hostname", name, rapid.SampledFrom([]string{"a_b", "1", "[a, b]", "{a: b}", `""`}))
		say("address", rapid.Map(hosts, func(text string) string { return text + "/24" }), quoted(network))
		say("gateway", hosts, quoted(address))
		say("dns", list(hosts), list(address))
		say("vip", hosts, quoted(address))
		say("peer", hosts, quoted(address))
		say("relays", list(others), list(address))
		say("allow", list(nets), list(network))
		say("management", list(nets), list(network))
		if _, err := setup.Read("a.yaml", []byte(b.String()), oneCard()); err == nil {
			taken++
		}
		hold(t, []byte(b.String()))
	})
	if taken == 0 {
		t.Error("all were refused: nothing was tested")
	}
	t.Logf("%d were taken", taken)
}

func FuzzAnswers(f *testing.F) {
	f.Add("hostname: lb-a\naddress: 192.0.2.11/24\nvip: 192.0.2.25\npeer: 192.0.2.12\nrelays: [10.10.1.11]\nallow: [10.10.0.0/16]\n")
	f.Add("address: dhcp\nrelays: relay.example.com:587\nallow: 10.0.0.1 fd00::/8\nmanagement: none\n")
	f.Add("address: 2001:db8::11/64\nvip: 2001:db8::25\nrelays: '[2001:db8:1::1]:25'\nallow: 2001:db8::/32\n")
	f.Fuzz(func(t *testing.T, answers string) { hold(t, []byte(answers)) })
}

// script is a person who types these lines.
func script(lines ...string) (setup.Console, *strings.Builder) {
	var out strings.Builder
	line := func() (string, error) {
		if len(lines) == 0 {
			return "", errors.New("nothing more is typed")
		}
		next := lines[0]
		lines = lines[1:]
		fmt.Fprintln(&out, next)
		return next, nil
	}
	return setup.Console{Out: &out, Line: line, Quiet: func() error { return nil }, Secret: line}, &out
}

func TestDialogue(t *testing.T) {
	c, out := script(
		"lb_a", "lb-a",
		"192.0.2.11", "?", "192.0.2.11/24",
		"192.0.2.1", "back", "", "", // the gateway after all: none
		"192.0.2.25", "192.0.2.25", "192.0.2.12",
		"10.10.1.11 10.10.1.12:587", "0.0.0.0/0", "", "10.10.0.0/16", "",
		"short", "long enough", "another one", "long enough", "long enough",
		"maybe", "yes")
	a, err := setup.Ask(c, oneCard())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"has not been set up yet", "No: must be letters, digits and hyphens", "No: the length of its network is missing",
		"It is this appliance's own, beside the VIP", "No: is taken, by an answer before", "No: 0.0.0.0/0: is too much of the Internet",
		"No: somebody must be allowed", "[192.0.2.0/24]", "No: too short", "No: the two are different", "No: must be yes or no",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if a.Password != "long enough" || a.Interface != "eth0" || a.Gateway.IsValid() || a.VIP != netip.MustParseAddr("192.0.2.25") || len(a.Relays) != 2 {
		t.Errorf("%+v", a.Answers)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// The console and cloud-init make the same files of the same answers.
func TestBothWaysLeadToTheSame(t *testing.T) {
	c, out := script("lb-a", "192.0.2.11/24", "192.0.2.1", "192.0.2.53", "192.0.2.25", "192.0.2.12", "relay.example.com", "10.10.0.5", "none", "", "no",
		"lb-b", "192.0.2.12/24", "192.0.2.1", "192.0.2.53", "192.0.2.25", "192.0.2.11", "relay.example.com", "10.10.0.5", "none", "", "yes")
	asked, err := setup.Ask(c, oneCard())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	read, err := setup.Read("a.yaml", []byte("{hostname: lb-b, address: 192.0.2.12/24, gateway: 192.0.2.1, dns: 192.0.2.53, vip: 192.0.2.25, peer: 192.0.2.11,"+
		"relays: relay.example.com, allow: 10.10.0.5, management: none}"), oneCard())
	if err != nil {
		t.Fatal(err)
	}
	one, errOne := asked.Files()
	two, errTwo := read.Files()
	if err := errors.Join(errOne, errTwo); err != nil || !reflect.DeepEqual(one, two) {
		t.Errorf("%v\n%v\n%v", err, one, two)
	}
}

// The second time it suggests what was said at the first.
func TestEarlierAnswersAreSuggested(t *testing.T) {
	before, err := setup.Read("a.yaml", []byte("{hostname: lb-b, address: 192.0.2.12/24, vip: 192.0.2.25, peer: 192.0.2.11, relays: 10.0.0.1, allow: 10.10.0.5}"), oneCard())
	if err != nil {
		t.Fatal(err)
	}
	c, out := script("", "", "", "", "", "none", "10.0.0.2", "", "", "", "yes")
	c.Before = []byte(before.YAML())
	a, err := setup.Ask(c, oneCard())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if a.Hostname != "lb-b" || a.Peer.IsValid() || a.Relays[0] != "10.0.0.2:25" || a.Allow[0] != before.Allow[0] || a.Password != "" {
		t.Errorf("%+v\n%s", a.Answers, out)
	}
	if text := out.String(); strings.Contains(text, "nobody can log in") || !strings.Contains(text, "(empty: as before)") {
		t.Errorf("says of an empty password what is not so:\n%s", text)
	}
}

// Without these a machine with IPv6 loses its neighbours behind a switch that listens
// to MLD (RFC 4890, 4.4.1), and gets no address by DHCP: its answer is to no question
// that the kernel knows, as that went to a group.
func TestTheFirewallLetsIPv6Work(t *testing.T) {
	a, err := setup.Read("a.yaml", []byte("relays: 10.10.1.11\nallow: 10.10.0.0/16\n"), oneCard())
	if err != nil {
		t.Fatal(err)
	}
	files, err := a.Files()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("../../deploy/appliance/rootfs" + setup.Firewall)
	if err != nil {
		t.Fatal(err)
	}
	after := files[slices.IndexFunc(files, func(f setup.File) bool { return f.Path == setup.Firewall })].Text
	for _, rule := range []string{
		"icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept\n",
		"ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept\n",
	} {
		if !strings.Contains(string(before), rule) || !strings.Contains(after, rule) {
			t.Errorf("before the set-up %t, after it %t: %s", strings.Contains(string(before), rule), strings.Contains(after, rule), rule)
		}
	}
}
