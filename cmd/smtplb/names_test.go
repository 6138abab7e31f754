package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"smtplb/internal/config"
	"smtplb/internal/resolve"
)

const discoverText = `
listeners:
  - {name: in, address: "127.0.0.1:25", pool: out, allow: [127.0.0.0/8]}
pools:
  - name: out
    probe: {type: tcp, interval: 1h}
    discover: mx:relays.test
`

// following is a daemon whose DNS is the test's to change. It does not run.
type following struct {
	*daemon
	found map[string]resolve.Found // by query; none: no such name
	fault map[string]resolve.Fault
	lines *observer.ObservedLogs
}

func newFollowing(t *testing.T, text string, found map[string]resolve.Found, fault map[string]resolve.Fault) (*following, error) {
	t.Helper()
	cfg, err := config.Parse("smtplb.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	core, lines := observer.New(zapcore.InfoLevel)
	f := &following{found: found, fault: fault, lines: lines}
	n := newNames(zap.New(core))
	n.watcher.Lookup = func(_ context.Context, q resolve.Query) (resolve.Found, error) {
		if found, ok := f.found[q.String()]; ok {
			return found, nil
		}
		fault, ok := f.fault[q.String()]
		if !ok {
			fault = resolve.NXDomain
		}
		return resolve.Found{}, &resolve.Error{Fault: fault, Text: q.String() + ": " + fault.String()}
	}
	free := netip.MustParseAddrPort("127.0.0.1:0")
	cfg.Listeners[0].Address, cfg.Admin.Address = free, free
	if f.daemon, err = newDaemon(t.Context(), cfg, zap.New(core), n, &inherited{}); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		for _, p := range f.pools {
			p.stop()
		}
		_ = f.server.Close()
		_ = f.admin.Shutdown(context.Background())
	})
	return f, nil
}

func targets(ttl time.Duration, all ...resolve.Target) resolve.Found {
	return resolve.Found{TTL: ttl, Targets: all}
}

func host(name string, priority, weight int, addrs ...string) resolve.Target {
	t := resolve.Target{Host: name, Port: 25, Priority: priority, Weight: weight}
	for _, a := range addrs {
		t.Addresses = append(t.Addresses, netip.MustParseAddr(a))
	}
	return t
}

// again looks all names up, follows, and returns what changed.
func (f *following) again(t *testing.T) []string {
	t.Helper()
	n := f.lines.FilterMessage("names changed").Len()
	f.names.watcher.Refresh(t.Context(), queries(f.cfg)...)
	f.follow(t.Context())
	all := f.lines.FilterMessage("names changed").All()
	if len(all) == n {
		return nil
	}
	var texts []string
	list, _ := all[len(all)-1].ContextMap()["changes"].([]any)
	for _, v := range list {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}

// backends are a pool's, as name@address tier*weight.
func (f *following) backends() []string {
	var all []string
	v := f.view.Load()
	for i, b := range f.pools["out"].balancer.Snapshot(time.Now()) {
		all = append(all, fmt.Sprintf("%s@%s %d*%d", b.Name, v.pools[0].Addresses[i], b.Tier, b.Weight))
	}
	return all
}

func TestDiscoveredRelaysFollowDNS(t *testing.T) {
	f, err := newFollowing(t, discoverText, map[string]resolve.Found{
		"mx:relays.test": targets(time.Hour, host("hq.test", 10, 1, "192.0.2.1"), host("dr.test", 20, 1, "198.51.100.1")),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name    string
		found   []resolve.Target
		changes []string
		want    []string
	}{
		{
			"nothing new", []resolve.Target{host("hq.test", 10, 1, "192.0.2.1"), host("dr.test", 20, 1, "198.51.100.1")}, nil,
			[]string{"hq.test@192.0.2.1:25 10*1", "dr.test@198.51.100.1:25 20*1"},
		},
		{
			"a second address", []resolve.Target{host("hq.test", 10, 1, "192.0.2.2", "192.0.2.1"), host("dr.test", 20, 1, "198.51.100.1")},
			[]string{"pools.out.backends: hq.test/192.0.2.2:25 is found now (priority 10)"},
			[]string{"hq.test/192.0.2.1@192.0.2.1:25 10*1", "hq.test/192.0.2.2@192.0.2.2:25 10*1", "dr.test@198.51.100.1:25 20*1"},
		},
		{
			"the first one goes, and the other site comes first", []resolve.Target{host("hq.test", 10, 1, "192.0.2.2"), host("dr.test", 5, 1, "198.51.100.1")},
			[]string{"pools.out.backends: dr.test/198.51.100.1:25: priority 20 -> priority 5", "pools.out.backends: hq.test/192.0.2.1:25 is found no more"},
			[]string{"dr.test@198.51.100.1:25 5*1", "hq.test@192.0.2.2:25 10*1"},
		},
		{"no such name", nil, nil, []string{"dr.test@198.51.100.1:25 5*1", "hq.test@192.0.2.2:25 10*1"}},
	}
	for _, s := range steps {
		delete(f.found, "mx:relays.test")
		if s.found != nil {
			f.found["mx:relays.test"] = targets(time.Hour, s.found...)
		}
		if got := f.again(t); !slices.Equal(got, s.changes) {
			t.Errorf("%s: changes %q, want %q", s.name, got, s.changes)
		}
		if got := f.backends(); !slices.Equal(got, s.want) {
			t.Errorf("%s: backends %q, want %q", s.name, got, s.want)
		}
	}
	if n := f.lines.FilterMessage("name not found").Len(); n != 1 {
		t.Errorf("%d lines that the name is not found", n)
	}
	shown := f.names.shown()
	if len(shown) != 1 || shown[0].Relays != 2 || shown[0].Error == "" || shown[0].Failures["nxdomain"] != 1 || shown[0].Answered.IsZero() {
		t.Errorf("names shown: %+v", shown)
	}
}

func TestDiscoveredBySRVHaveTheirPortsAndWeights(t *testing.T) {
	a, b := host("a.test", 1, 60000, "192.0.2.1"), host("b.test", 1, 30000, "192.0.2.2")
	a.Port, b.Port = 2525, 26
	f, err := newFollowing(t, strings.Replace(discoverText, "mx:", "srv:", 1), map[string]resolve.Found{"srv:relays.test": targets(time.Hour, a, b)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.backends(), []string{"a.test:2525@192.0.2.1:2525 1*2", "b.test:26@192.0.2.2:26 1*1"}; !slices.Equal(got, want) {
		t.Errorf("backends %q, want %q", got, want)
	}
	b.Weight = 60000
	f.found["srv:relays.test"] = targets(time.Hour, a, b)
	if got, want := f.again(t), []string{"pools.out.backends: a.test:2525/192.0.2.1:2525: priority 1, weight 2 -> priority 1, weight 1"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
}

func TestWhatDiscoveredRelaysHaveInCommon(t *testing.T) {
	f, err := newFollowing(t, discoverText+"    discovered: {port: 2525, max_sessions: 7, proxy_protocol: v1, source: 192.0.2.200}\n",
		map[string]resolve.Found{"mx:relays.test:2525": targets(time.Hour, func() resolve.Target {
			both := host("a.test", 1, 1, "192.0.2.1", "2001:db8::1")
			both.Port = 2525
			return both
		}())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// An address of the other family cannot be reached from the source.
	if got, want := f.backends(), []string{"a.test@192.0.2.1:2525 1*1"}; !slices.Equal(got, want) {
		t.Errorf("backends %q, want %q", got, want)
	}
	if st := f.pools["out"].balancer.Snapshot(time.Now()); st[0].MaxSessions != 7 {
		t.Errorf("backend %+v", st[0])
	}
}

// What cannot be looked up is no reason not to start. That there is no service is.
func TestAStartWithoutDNS(t *testing.T) {
	text := strings.Replace(reloadText, "192.0.2.9:25", "other.test:25", 1)
	for fault := resolve.Timeout; fault <= resolve.Invalid; fault++ {
		f, err := newFollowing(t, text, map[string]resolve.Found{}, map[string]resolve.Fault{"relay.test:25": fault, "other.test:25": fault})
		if fault == resolve.NoService {
			if err == nil || !strings.Contains(err.Error(), "pool out: backend named: address relay.test:25") {
				t.Errorf("%v: error %v", fault, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", fault, err)
			continue
		}
		if got := f.backends(); len(got) != 0 {
			t.Errorf("%v: backends %q", fault, got)
		}
		f.found["other.test:25"] = targets(time.Hour, host("other.test", 0, 1, "192.0.2.9"))
		if got, want := f.again(t), []string{"pools.out.backends: fixed/192.0.2.9:25 is found now"}; !slices.Equal(got, want) {
			t.Errorf("%v: changes %q, want %q", fault, got, want)
		}
	}
}

// A file that has a name which was not found before either may be reloaded.
func TestReloadWithANameThatWasNeverFound(t *testing.T) {
	f, err := newFollowing(t, discoverText, map[string]resolve.Found{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(discoverText, "interval: 1h", "interval: 30m", 1)
	f.load = func() (*config.Config, error) {
		cfg, err := config.Parse("smtplb.yaml", []byte(text), nil)
		if err == nil {
			cfg.Listeners[0].Address, cfg.Admin.Address = f.cfg.Listeners[0].Address, f.cfg.Admin.Address
		}
		return cfg, err
	}
	f.level = zap.NewAtomicLevel()
	if _, err := f.reloadFor(t.Context(), "SIGHUP"); err != nil {
		t.Error(err)
	}
	text = strings.Replace(text, "mx:relays.test", "mx:new.test", 1)
	if _, err := f.reloadFor(t.Context(), "SIGHUP"); err == nil || !strings.Contains(err.Error(), "pool out: discover: mx:new.test: nxdomain") {
		t.Errorf("error %v", err)
	}
}

func TestOurOwnListenersAreNoRelays(t *testing.T) {
	n := newNames(zap.NewNop())
	at := netip.MustParseAddrPort
	n.use(&config.Config{Listeners: []config.Listener{{Address: at("192.0.2.25:25")}, {Address: at("0.0.0.0:26")}, {Address: at("[::]:27")}}})
	for address, refused := range map[string]bool{
		"192.0.2.25:25": true, "192.0.2.25:2525": false, "192.0.2.26:25": false,
		"127.0.0.1:26": true, "127.0.0.1:25": false, "192.0.2.1:26": false, "[::1]:27": true, "127.0.0.5:27": true,
	} {
		if why := n.refuse(at(address)); (why != "") != refused {
			t.Errorf("%s: refused because %q", address, why)
		}
	}
}
