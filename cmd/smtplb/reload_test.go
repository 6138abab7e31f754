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
	"smtplb/internal/handover"
	"smtplb/internal/resolve"
)

const reloadText = `
listeners:
  - {name: in, address: "127.0.0.1:25", pool: out, allow: [127.0.0.0/8]}
pools:
  - name: out
    probe: {type: tcp, interval: 1h}
    backends:
      - {name: named, address: "relay.test:25"}
      - {name: fixed, address: "192.0.2.9:25", weight: 3}
`

// reloading is a daemon whose file and names are the test's to change. It does
// not run.
type reloading struct {
	*daemon
	t    *testing.T
	text string

	addresses map[string][]netip.Addr // by name
	lines     *observer.ObservedLogs
}

func newReloading(t *testing.T) *reloading {
	t.Helper()
	level := zap.NewAtomicLevelAt(zapcore.InfoLevel)
	core, lines := observer.New(level)
	r := &reloading{t: t, text: reloadText, lines: lines, addresses: map[string][]netip.Addr{"relay.test": {netip.MustParseAddr("192.0.2.1")}}}
	load := func() (*config.Config, error) {
		cfg, err := config.Parse("smtplb.yaml", []byte(r.text), nil)
		if err == nil {
			free := netip.MustParseAddrPort("127.0.0.1:0")
			cfg.Listeners[0].Address, cfg.Admin.Address = free, free
		}
		return cfg, err
	}
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	found := newNames(zap.New(core))
	found.watcher.Lookup = func(_ context.Context, q resolve.Query) (resolve.Found, error) {
		if all := r.addresses[q.Name]; len(all) > 0 {
			return resolve.Found{TTL: time.Hour, Targets: []resolve.Target{{Host: q.Name, Port: q.Port, Weight: 1, Addresses: all}}}, nil
		}
		return resolve.Found{}, &resolve.Error{Fault: resolve.NXDomain, Text: "no such name"}
	}
	r.daemon, err = newDaemon(t.Context(), cfg, zap.New(core), found, &inherited{})
	if err != nil {
		t.Fatal(err)
	}
	r.load, r.level = load, level
	t.Cleanup(func() {
		for _, p := range r.pools {
			p.stop()
		}
		_ = r.server.Close()
		_ = r.admin.Shutdown(context.Background())
	})
	return r
}

// again reloads, and returns what changed.
func (r *reloading) again() []string {
	r.t.Helper()
	if _, err := r.reloadFor(r.t.Context(), "SIGHUP"); err != nil {
		r.t.Fatal(err)
	}
	all := r.lines.FilterMessage("reloaded").All()
	var texts []string
	list, _ := all[len(all)-1].ContextMap()["changes"].([]any)
	for _, v := range list {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}

func (r *reloading) replace(was, is string) {
	r.t.Helper()
	if !strings.Contains(r.text, was) {
		r.t.Fatalf("nothing to replace: %q", was)
	}
	r.text = strings.Replace(r.text, was, is, 1)
}

func (r *reloading) ids(pool string) map[string]int { return *r.pools[pool].ids.Load() }

func TestReloadLooksNamesUpAgain(t *testing.T) {
	r := newReloading(t)
	if got := r.again(); len(got) != 0 {
		t.Errorf("changes %q where there is none", got)
	}
	r.addresses["relay.test"] = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	if got, want := r.again(), []string{"pools.out.backends: named/192.0.2.2:25 is found now"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	// The first address is the same relay under another name.
	if ids := r.ids("out"); len(ids) != 3 || ids["named/192.0.2.1"] != 0 || ids["fixed"] != 1 || ids["named/192.0.2.2"] != 2 {
		t.Errorf("backends %v", ids)
	}
	r.addresses = nil
	if got := r.again(); len(got) != 0 || len(r.ids("out")) != 3 {
		t.Errorf("changes %q and backends %v where DNS fails", got, r.ids("out"))
	}
	r.replace("relay.test:25", "other.test:25")
	if _, err := r.reloadFor(t.Context(), "SIGHUP"); err == nil || !strings.Contains(err.Error(), "backend named: address other.test:25: no such name") {
		t.Errorf("error %v", err)
	}
	if n := len(r.ids("out")); n != 3 {
		t.Errorf("%d backends after a reload that was refused, want 3", n)
	}
	if st := r.names.watcher.Status(); len(st) != 1 || st[0].Query.Name != "relay.test" {
		t.Errorf("names that are looked up after a reload that was refused: %+v", st)
	}
}

func TestReloadReplacesChecksWhereTheirPaceChanges(t *testing.T) {
	r := newReloading(t)
	checks := r.pools["out"].checks.Load()
	r.replace("weight: 3", "weight: 4")
	r.again()
	if r.pools["out"].checks.Load() != checks {
		t.Error("the checks began anew for another weight")
	}
	r.replace("interval: 1h", "interval: 30m")
	if got := r.again(); !slices.Equal(got, []string{"pools.out.probe.interval: 1h0m0s -> 30m0s"}) {
		t.Errorf("changes %q", got)
	}
	if now := r.pools["out"].checks.Load(); now == checks || now.Interval.Minutes() != 30 {
		t.Error("the checks go on at the old pace")
	}
}

func TestReloadAddsAndRemovesPools(t *testing.T) {
	r := newReloading(t)
	r.replace("pools:\n", "pools:\n  - {name: more, probe: {interval: 1h}, backends: [{name: x, address: \"192.0.2.7:25\"}]}\n")
	r.replace("pool: out", "pool: more")
	got := r.again()
	if want := []string{"listeners.in.pool: out -> more", "pools.more: added"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	was := r.pools["out"]
	r.replace("  - name: out", "  - name: other")
	r.again()
	if r.pools["out"] != nil || r.pools["other"] == nil || r.pools["other"] == was {
		t.Errorf("pools %v", r.pools)
	}
}

func TestReloadNamesWhatWaitsForARestartEachTime(t *testing.T) {
	r := newReloading(t)
	r.text += "workers: 2\nlog: {level: warn}\n"
	for range 2 {
		r.again()
	}
	all := r.lines.FilterMessage("reload: needs a restart").All()
	if len(all) != 2 {
		t.Errorf("%d lines about a restart, want one for each reload: %v", len(all), all)
	}
	if got := r.level.Level(); got != zapcore.WarnLevel {
		t.Errorf("level %v", got)
	}
}

// A process without sessions ends as soon as another has taken over: a reload that it
// was asked for before is not lost.
func TestAReloadIsPassedOnAtTheEnd(t *testing.T) {
	for range 20 { // select has no favourites
		r := newReloading(t)
		child, err := handover.Start(t.Context(), handover.Program{Path: "/bin/sleep", Args: []string{"sleep", "60"}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.succession.next = child
		ended, end := context.WithCancel(t.Context())
		end()
		h := &helpers{hangups: make(chan struct{}, 1), upgrades: make(chan struct{})}
		h.hangups <- struct{}{}
		r.obey(ended, h)
		child.Kill()
		if n := r.lines.FilterMessage("reload: passed on").Len(); n != 1 {
			t.Fatalf("passed on %d times, want 1", n)
		}
	}
}
