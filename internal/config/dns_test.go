package config_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"smtplb/internal/config"
)

const discovering = `listeners: [{address: "192.0.2.25:25", allow: [10.0.0.0/8]}]
pools:
  - name: out
    discover: mx:relays.example.com
`

func TestDNSAndDiscoveredAreRead(t *testing.T) {
	cfg, err := config.Parse("f.yaml", []byte(discovering+`    discovered: {port: 2525, max_sessions: 3, proxy_protocol: v2, source: 10.0.0.9, interface: eth1, fwmark: 7}
dns: {servers: ["10.0.0.53", "2001:db8::53", "[2001:db8::54]:5353", "127.0.0.1:5300"], timeout: 2s}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(cfg.DNS.Servers); got != "[10.0.0.53 2001:db8::53 [2001:db8::54]:5353 127.0.0.1:5300]" || cfg.DNS.Timeout != 2*time.Second {
		t.Errorf("servers %s, timeout %v", got, cfg.DNS.Timeout)
	}
	if got := cfg.DNS.Servers[1].AddrPort; got != netip.MustParseAddrPort("[2001:db8::53]:53") {
		t.Errorf("server %v", got)
	}
	d := &cfg.Pools[0].Discovered
	b := d.Backend("relay", netip.MustParseAddrPort("192.0.2.1:2525"), 10, 5)
	if d.Port != 2525 || b.Name != "relay" || b.Address.String() != "192.0.2.1:2525" || b.Priority != 10 || b.Weight != 5 || b.MaxSessions != 3 ||
		b.ProxyProtocol != config.ProxyV2 || b.Source.String() != "10.0.0.9" || b.Interface != "eth1" || b.FWMark != 7 || b.Transparent {
		t.Errorf("discovered %+v, backend %+v", d, b)
	}
}

func TestDNSByDefault(t *testing.T) {
	cfg, err := config.Parse("f.yaml", []byte(discovering), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.DNS.Servers) != 0 || cfg.DNS.Timeout != 5*time.Second || cfg.Pools[0].Discovered != (config.Discovered{}) {
		t.Errorf("dns %+v, discovered %+v", cfg.DNS, cfg.Pools[0].Discovered)
	}
}

func TestMistakesAboutDNS(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a server by name", discovering + "dns: {servers: [ns.example.com]}\n", `f.yaml:5: dns.servers[0]: "ns.example.com": must be IP or IP:port of a DNS server`},
		{"a port too many", discovering + "dns: {servers: [\"10.0.0.53:0\"]}\n", `f.yaml:5: dns.servers[0]: "10.0.0.53:0": must have a port of 1 to 65535`},
		{"nobody", discovering + "dns: {servers: [\"0.0.0.0\"]}\n", `f.yaml:5: dns.servers[0]: "0.0.0.0": must be IP or IP:port`},
		{"too many", discovering + "dns: {servers: [" + strings.TrimSuffix(strings.Repeat("10.0.0.53, ", 9), ", ") + "]}\n", "f.yaml:5: dns.servers: a list: must have at most 8 elements, has 9"},
		{"no time", discovering + "dns: {timeout: 0s}\n", "f.yaml:5: dns.timeout: \"0s\": must be 100ms to 1m"},
		{"a port with srv", strings.Replace(discovering, "mx:", "srv:", 1) + "    discovered: {port: 25}\n", "f.yaml:5: pools[0].discovered.port: 25: must be left out with srv"},
		{"a port out of range", discovering + "    discovered: {port: 65536}\n", "f.yaml:5: pools[0].discovered.port: 65536: must be 0 to 65535"},
		{"two ways out", discovering + "    discovered: {source: 10.0.0.9, transparent: true}\n", "f.yaml:5: pools[0].discovered.source: \"10.0.0.9\": excludes transparent"},
		{"nothing to discover", strings.Replace(discovering, "discover: mx:relays.example.com", `backends: [{address: "10.10.1.11:25"}]`, 1) + "    discovered: {fwmark: 1}\n",
			"f.yaml:5: pools[0].discovered: a mapping: needs discover"},
	} {
		_, err := config.Parse("f.yaml", []byte(tt.text), nil)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s:\n got %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

func TestDiffOfDNS(t *testing.T) {
	was, err := config.Parse("f.yaml", []byte(discovering), nil)
	if err != nil {
		t.Fatal(err)
	}
	is, err := config.Parse("f.yaml", []byte(discovering+"    discovered: {port: 26}\ndns: {servers: [10.0.0.53]}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range config.Diff(was, is) {
		got = append(got, c.String())
	}
	if want := []string{"pools.out.discovered.port: 0 -> 26", "dns.servers: added 10.0.0.53"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
}
