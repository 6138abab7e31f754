package main

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"smtplb/internal/config"
)

// parsed is the configuration of a file's text, its names not looked up.
func parsed(t *testing.T, text string) (*config.Config, map[string]*plan) {
	t.Helper()
	file := t.TempDir() + "/smtplb.yaml"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	plans, err := planPools(cfg, unlooked)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, plans
}

const listening = `
listeners: [{name: in, address: "127.0.0.1:2525", pool: out, allow: [10.10.0.0/24]}]
pools:
  - name: out
`

// What is not there is told of each backend that needs it, whether its relays are
// found yet or not, and of no other.
func TestWhatThisMachineHasNotIsTold(t *testing.T) {
	for _, test := range []struct {
		name, pool string
		want       []string // parts of what is told
	}{
		{"nothing is asked for", `    backends: [{name: a, address: "192.0.2.1:25"}]`, nil},
		{"what is here", `    backends: [{name: a, address: "192.0.2.1:25", source: 127.0.0.1, interface: lo}]`, nil},
		{
			"an address and an interface", `    backends: [{name: a, address: "192.0.2.1:25", source: 192.0.2.9}, {name: b, address: "192.0.2.1:26", interface: none0}]`,
			[]string{"pool out: backend a: source 192.0.2.9: this machine has no such address", "pool out: backend b: interface none0: this machine has no such interface"},
		},
		{"by name", `    backends: [{name: a, address: "relay.example.com:25", source: 192.0.2.9}]`, []string{"pool out: backend a: source 192.0.2.9"}},
		{"of IPv6, by name", `    backends: [{name: a, address: "relay.example.com:25", source: "2001:db8::9"}]`, []string{"pool out: backend a: source 2001:db8::9: this machine has no such address"}},
		{"to be discovered", "    discover: mx:example.com\n    discovered: {source: 192.0.2.9}", []string{"pool out: discovered: source 192.0.2.9"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, _ := parsed(t, listening+test.pool)
			forbidden, absent := lacks(cfg)
			if len(forbidden) > 0 || len(absent) != len(test.want) {
				t.Fatalf("got %v, %v, want %v", forbidden, absent, test.want)
			}
			for i, err := range absent {
				if !strings.HasPrefix(err.Error(), test.want[i]) || !strings.HasSuffix(err.Error(), ": see docs/two-isps.md") {
					t.Errorf("got %q, want %q", err, test.want[i])
				}
			}
			if sinceGivenUp(forbidden) != nil {
				t.Error("what is not there is no reason not to start")
			}
		})
	}
}

// Whom a relay sees is part of what it is: one that becomes transparent is another.
func TestTransparencyIsPartOfARelaysIdentity(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:25")
	plain, other := target(&config.Backend{}, at), target(&config.Backend{Transparent: true}, at)
	if plain.Transparent || !other.Transparent || identity(plain) == identity(other) {
		t.Errorf("%+v is %q, %+v is %q", plain, identity(plain), other, identity(other))
	}
}

func TestDoubtIsToldOnce(t *testing.T) {
	d := doubts{said: map[string]string{}}
	for i, step := range []struct {
		backend, why string // why "": a check has said something
		news         bool
	}{
		{"a", "no port", true}, {"a", "no port", false}, {"b", "no port", true},
		{"a", "no address", true}, {"a", "", false}, {"a", "no address", true},
	} {
		if step.why == "" {
			d.over(step.backend)
		} else if got := d.news(step.backend, step.why); got != step.news {
			t.Errorf("step %d: news is %v, want %v", i, got, step.news)
		}
	}
}

// Clients that no relay of their pool can serve are known before they come.
func TestClientsOfAnotherFamilyAreWarnedOf(t *testing.T) {
	const (
		v4, v6 = `{name: a, address: "127.0.0.1:25", transparent: true}`, `{name: b, address: "[::1]:25", transparent: true}`
		plain  = `{name: c, address: "[::1]:26"}`
	)
	for _, test := range []struct {
		allow, backends string
		want            string // the family; "": all are served
	}{
		{"10.0.0.0/8", v4, ""},
		{"10.0.0.0/8", v6, "IPv4"},
		{`"2001:db8::/32"`, v4, "IPv6"},
		{`10.0.0.0/8, "2001:db8::/32"`, v4 + ", " + v6, ""},
		{`10.0.0.0/8, "2001:db8::/32"`, v4, "IPv6"},
		{"10.0.0.0/8", v6 + ", " + plain, ""},
	} {
		cfg, plans := parsed(t, `
listeners: [{name: in, address: "127.0.0.1:2525", pool: out, allow: [`+test.allow+`]}]
pools: [{name: out, backends: [`+test.backends+`]}]`)
		got := unanswered(cfg, plans)
		var want []string
		if test.want != "" {
			want = []string{"pool out: no relay for the " + test.want + " clients of listener in: all are transparent and of the other family: see docs/transparent.md"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s to %s: got %q, want %q", test.allow, test.backends, got, want)
		}
	}
}

// The relays of a route have its clients, and no others.
func TestRoutesHaveClientsOfTheirOwn(t *testing.T) {
	cfg, plans := parsed(t, `
listeners:
  - {name: in, address: "127.0.0.1:2525", pool: v4, allow: [10.0.0.0/8, "2001:db8::/32"], routes: [{from: ["2001:db8::/32"], pool: v6}]}
pools:
  - {name: v4, backends: [{address: "127.0.0.1:25"}]}
  - {name: v6, backends: [{address: "[::1]:25", transparent: true}]}
`)
	if got := unanswered(cfg, plans); len(got) > 0 {
		t.Errorf("warnings: %q", got)
	}
}

func TestExampleOfAClient(t *testing.T) {
	for network, want := range map[string]string{
		"10.10.0.0/24":    "10.10.0.1",
		"192.0.2.7/32":    "192.0.2.7",
		"0.0.0.0/0":       "192.0.2.1",
		"::/0":            "2001:db8::1",
		"2001:db8:1::/48": "2001:db8:1::1",
		"127.0.0.1/32":    "invalid IP", // this machine itself
		"127.0.0.0/30":    "invalid IP",
	} {
		if got := clientOf(netip.MustParsePrefix(network)); got.String() != want {
			t.Errorf("%s: %s, want %s", network, got, want)
		}
	}
}
