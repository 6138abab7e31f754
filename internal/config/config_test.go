package config_test

import (
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"smtplb/internal/config"
)

// base is a configuration without error or warning, which the tables change.
const base = `listeners:
  - address: "192.0.2.25:25"
    pool: outbound
    allow: ["10.10.0.0/16"]
pools:
  - name: outbound
    backends:
      - address: "10.10.1.11:25"
`

func machineName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, path string, environ ...string) *config.Config {
	t.Helper()
	cfg, err := config.Load(path, environ)
	if err != nil {
		t.Fatalf("Load(%s):\n%v", path, err)
	}
	return cfg
}

func parse(t *testing.T, text string, environ ...string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("f.yaml", []byte(text), environ)
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	return cfg
}

// smallest is what the smallest file means: every default there is.
func smallest(machine string) *config.Config {
	return &config.Config{
		Listeners: []config.Listener{{
			Name:        "192.0.2.25:25",
			Address:     netip.MustParseAddrPort("192.0.2.25:25"),
			Pool:        "outbound",
			Allow:       []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")},
			Protocol:    config.ProtocolSMTP,
			DeniedReply: config.Deny421,
			Hostname:    machine,
			MaxSessions: 10000,
		}},
		Pools: []config.Pool{{
			Name:    "outbound",
			Balance: config.LeastConnections,
			Backends: []config.Backend{{
				Name: "10.10.1.11:25",
				Address: config.Endpoint{
					Host: "10.10.1.11", Port: 25, IP: netip.MustParseAddr("10.10.1.11"),
				},
				Weight: 1,
			}},
			Failover: config.Failover{
				MinHealthy:    1,
				FailbackDelay: 2 * time.Minute,
				Ramp:          config.Ramp{Start: 100_000},
			},
			SlowStart: 30 * time.Second,
			Probe: config.Probe{
				Type: config.ProbeSMTP, Interval: 5 * time.Second, FastInterval: time.Second,
				Timeout: 15 * time.Second, Rise: 2, Fall: 3, HELO: machine,
			},
			Passive: config.Passive{Failures: 3, Eject: 30 * time.Second, MaxEject: 5 * time.Minute},
			Timeouts: config.Timeouts{
				Connect: 5 * time.Second, Greeting: 15 * time.Second, Hedge: config.Hedge{Auto: true},
				SessionSetup: time.Minute, Idle: 15 * time.Minute, Drain: 15 * time.Minute,
			},
		}},
		Admin: config.Admin{Address: netip.MustParseAddrPort("127.0.0.1:9925")},
		Log:   config.Log{Level: config.LogInfo, Format: config.LogJSON},
		DNS:   config.DNS{Timeout: 5 * time.Second},

		Cluster: config.Cluster{Hold: 15 * time.Minute},
	}
}

func TestSmallestFileGetsEveryDefault(t *testing.T) {
	got := load(t, "testdata/smallest.yaml")
	if want := smallest(machineName(t)); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestFullFileWritesOutTheDefaults holds the documented example, with every
// key, against the defaults: where it names a default it must change nothing.
func TestFullFileWritesOutTheDefaults(t *testing.T) {
	got := load(t, "testdata/full.yaml")
	machine := machineName(t)
	want := smallest(machine)
	want.DNS.Servers = []config.NameServer{}
	want.Cluster.Bind, want.Cluster.KeyFile = netip.MustParseAddrPort("192.0.2.11:7946"), "/etc/smtplb/cluster.key"
	want.Cluster.Peers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.12:7946")}
	l := &want.Listeners[0]
	l.Name = "smarthost"
	l.Deny, l.AcceptProxy = []netip.Prefix{}, []netip.Prefix{}
	l.Routes = []config.Route{{From: []netip.Prefix{netip.MustParsePrefix("10.10.2.0/24")}, Pool: "outbound-site2"}}
	second := smallest(machine).Pools[0]
	b := &want.Pools[0].Backends[0]
	b.Name, b.Weight, b.Site = "relay-a", 2, "hq"
	second.Name = "outbound-site2"
	second.Backends = []config.Backend{{
		Name: "relay-c", Address: config.Endpoint{Host: "relay-c.example.com", Port: 25}, Weight: 1, Site: "dr",
		ProxyProtocol: config.ProxyV2, Source: netip.MustParseAddr("10.10.2.25"), Interface: "eth1", FWMark: 16,
	}}
	want.Pools = append(want.Pools, second)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestFullFileHasEveryKey fails when a key is added and not shown.
func TestFullFileHasEveryKey(t *testing.T) {
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var missing func(reflect.Type)
	missing = func(typ reflect.Type) {
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			if key := f.Tag.Get("koanf"); key != "" {
				if !strings.Contains(string(text), key+":") {
					t.Errorf("testdata/full.yaml does not show %s of %s", key, typ)
				}
				missing(f.Type)
			}
		}
	}
	missing(reflect.TypeFor[config.Config]())
}

func TestEveryValueArrivesAsWritten(t *testing.T) {
	cfg := parse(t, `
listeners:
  - name: in
    address: "[::ffff:192.0.2.25]:465"
    pool: p
    allow: [10.0.0.1, "2001:db8::/32", "::ffff:10.9.0.0/112", "2001:db8::1"]
    deny: [10.0.0.0/24]
    protocol: tcp
    denied_reply: drop
    accept_proxy: [192.0.2.0/24]
    hostname: "[IPv6:2001:db8::25]"
    max_sessions: 0
    max_sessions_per_client: 7
    max_rate_per_client: {per_minute: 60, burst: 5}
pools:
  - name: p
    discover: srv:_smtp._tcp.Example.com
    failover:
      min_healthy: 2
      failback_delay: 0s
      keep_warm: {share: 12.5%, min_per_hour: 9, max_sessions: 3}
      ramp: {over: 48h, start: 0.0001%}
    slow_start: 0s
    probe: {type: smtps, interval: 1m, fast_interval: 500ms, timeout: 1.5s, rise: 1, fall: 1, helo: lb.example.com, mail_from: "<>", rcpt_to: "post.master+probe@Example.com", address: ":465"}
    passive: {failures: 1, eject: 1s, max_eject: 1s}
    timeouts: {connect: 1s, greeting: 2s, hedge: 800ms, session_setup: 2s, idle: 11m, drain: 0s}
admin: {address: "[::]:9925", token_file: /etc/smtplb/token, tls: {cert: /etc/smtplb/cert.pem, key: /etc/smtplb/key.pem}}
log: {level: debug, format: console}
workers: 4
`)
	l := cfg.Listeners[0]
	wantAllow := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("2001:db8::1/128"),
	}
	p := cfg.Pools[0]
	checks := []struct {
		key       string
		got, want any
	}{
		{"address", l.Address, netip.MustParseAddrPort("192.0.2.25:465")},
		{"allow", l.Allow, wantAllow},
		{"deny", l.Deny, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}},
		{"protocol", l.Protocol, config.ProtocolTCP},
		{"denied_reply", l.DeniedReply, config.DenyDrop},
		{"accept_proxy", l.AcceptProxy, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{"hostname", l.Hostname, "[IPv6:2001:db8::25]"},
		{"max_sessions", l.MaxSessions, 0},
		{"max_sessions_per_client", l.MaxSessionsPerClient, 7},
		{"max_rate_per_client", l.MaxRatePerClient, config.Rate{PerMinute: 60, Burst: 5}},
		{"discover", p.Discover, config.Discover{Kind: config.DiscoverSRV, Name: "_smtp._tcp.example.com"}},
		{"failover", p.Failover, config.Failover{
			MinHealthy: 2,
			KeepWarm:   config.KeepWarm{Share: 125_000, MinPerHour: 9, MaxSessions: 3},
			Ramp:       config.Ramp{Over: 48 * time.Hour, Start: 1},
		}},
		{"slow_start", p.SlowStart, time.Duration(0)},
		{"probe", p.Probe, config.Probe{
			Type: config.ProbeSMTPS, Interval: time.Minute, FastInterval: 500 * time.Millisecond,
			Timeout: 1500 * time.Millisecond, Rise: 1, Fall: 1, HELO: "lb.example.com",
			MailFrom: "<>", RcptTo: "post.master+probe@Example.com", Address: config.Endpoint{Port: 465},
		}},
		{"passive", p.Passive, config.Passive{Failures: 1, Eject: time.Second, MaxEject: time.Second}},
		{"timeouts", p.Timeouts, config.Timeouts{
			Connect: time.Second, Greeting: 2 * time.Second, Hedge: config.Hedge{After: 800 * time.Millisecond},
			SessionSetup: 2 * time.Second, Idle: 11 * time.Minute,
		}},
		{"admin", cfg.Admin, config.Admin{
			Address: netip.MustParseAddrPort("[::]:9925"), TokenFile: "/etc/smtplb/token",
			TLS: config.AdminTLS{Cert: "/etc/smtplb/cert.pem", Key: "/etc/smtplb/key.pem"},
		}},
		{"log", cfg.Log, config.Log{Level: config.LogDebug, Format: config.LogConsole}},
		{"workers", cfg.Workers, 4},
	}
	for _, c := range checks {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.key, c.got, c.want)
		}
	}
}

func TestNamesDefault(t *testing.T) {
	twoPools := strings.Replace(base, "pools:\n", "pools:\n  - name: second\n    backends: [{address: \"[2001:db8::1]:25\"}]\n", 1)
	tests := []struct {
		name, text   string
		pool, listen string // of the first listener
		backend      string // the first of the first pool
	}{
		{"pool unnamed, asked for", strings.Replace(base, "  - name: outbound\n    backends", "  - backends", 1), "outbound", "192.0.2.25:25", "10.10.1.11:25"},
		{"pool named, not asked for", strings.Replace(base, "    pool: outbound\n", "", 1), "outbound", "192.0.2.25:25", "10.10.1.11:25"},
		{"neither", strings.Replace(strings.Replace(base, "  - name: outbound\n    backends", "  - backends", 1), "    pool: outbound\n", "", 1), "default", "192.0.2.25:25", "10.10.1.11:25"},
		{"IPv6 backend", twoPools, "outbound", "192.0.2.25:25", "[2001:db8::1]:25"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := parse(t, tt.text)
			got := []string{cfg.Listeners[0].Pool, cfg.Listeners[0].Name, cfg.Pools[0].Backends[0].Name}
			if want := []string{tt.pool, tt.listen, tt.backend}; !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if cfg.Pool(tt.pool) == nil || cfg.Pool("another") != nil {
				t.Error("Pool must find a pool by its name, and only by that")
			}
		})
	}
}
