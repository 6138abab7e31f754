package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smtplb/bench/compare/proc"
	"smtplb/bench/result"
	"smtplb/bench/source"
)

// self runs the io.Copy proxy of TestMain.
func self(t *testing.T) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each stop takes a second
	return []string{exe, iocopy}
}

// Every peer that is here carries mail to both relays, is measured, and leaves
// nothing behind.
func TestPeersCarryMail(t *testing.T) {
	tests := []struct {
		name string
		find func(*testing.T) *peer
	}{
		{haproxy, func(t *testing.T) *peer { return installed(t, findHAProxy) }},
		{nginx, func(t *testing.T) *peer { return installed(t, findNginx) }},
		{iocopy, func(t *testing.T) *peer {
			return newIocopy(t.Context(), &Options{Iocopy: self(t)})
		}},
		{direct, func(t *testing.T) *peer { return newDirect(t.Context(), &Options{}) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := test.find(t)
			relays, err := listen(plainRelays())
			if err != nil {
				t.Fatal(err)
			}
			defer relays.close()
			l := lab{}
			l.amounts.held[1] = 100
			i, err := p.start(t.Context(), l.site(relays.list), nil)
			if err != nil {
				t.Fatal(err)
			}
			carry(t, i, relays)
			if err := i.failure(); err != nil {
				t.Error(err)
			}
			if err := i.stop(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(i.site.Dir); i.site.Dir != "" && err == nil {
				t.Errorf("%s is still there", i.site.Dir)
			}
		})
	}
}

func carry(t *testing.T, i *instance, relays *relays) {
	t.Helper()
	const sessions = 20
	cfg := clients(i, 0)
	cfg.Concurrency, cfg.Sessions = 2, sessions
	run := func() error {
		run, err := send(t.Context(), cfg)
		if err == nil && run.Sessions.OK != sessions {
			t.Errorf("%d of %d sessions went well: %v", run.Sessions.OK, sessions, worst(run))
		}
		return err
	}
	if i.process == nil {
		if err := run(); err != nil {
			t.Fatal(err)
		}
	} else {
		used, err := cpuOf([]*instance{i}, run)
		if err != nil {
			t.Fatal(err)
		}
		memory, err := i.process.Memory()
		if err != nil || used <= 0 || memory <= 0 {
			t.Errorf("CPU time %v, memory %d (%v)", used, memory, err)
		}
	}
	got := relays.messages()
	if got[0]+got[1] != sessions || i.peer.name != iocopy && (got[0] == 0 || got[1] == 0) {
		t.Errorf("messages at the relays: %v, of %d", got, sessions)
	}
}

// Without being asked for, the floor is measured where bars are held against it.
func TestFloorIsAGauge(t *testing.T) {
	c, err := Run(t.Context(), Options{
		Smtplb: "/nonexistent/smtplb", HAProxy: "/nonexistent/haproxy", Nginx: "/nonexistent/nginx",
		Iocopy: self(t), Floor: self(t), Quick: true, Only: []string{"cpu_short", "memory", "latency"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][]string{
		"cpu_short": {iocopy, floor}, "memory_idle": {iocopy}, "latency_session_p50": {iocopy},
	} {
		var got []string
		for _, cell := range measureOf(c, id).Cells {
			got = append(got, cell.Peer)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s of %v, want %v", id, got, want)
		}
	}
}

func TestRunMeasuresWhatIsThere(t *testing.T) {
	before, err := proc.Available()
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	c, err := Run(t.Context(), Options{
		Version: "test", Iocopy: self(t), HAProxy: "/nonexistent/haproxy", Quick: true,
		Peers: []string{haproxy, iocopy, direct}, Only: []string{"cpu_short", "memory", "latency", "cores", "log", "shares"},
		Progress: &progress,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Complete || c.Rounds != 1 || c.TookS <= 0 || c.Version != "test" || c.Machine.CPUs < 1 || c.Machine.Kernel == "" {
		t.Errorf("the report's head: %+v", c)
	}
	if len(c.Peers) != 3 || c.Peers[0].Missing == "" || c.Peers[1].Missing != "" {
		t.Errorf("peers %+v: want haproxy missing", c.Peers)
	}
	for id, want := range map[string][]string{
		"cpu_short": {iocopy}, "memory_idle": {iocopy}, "latency_session_p99": {iocopy}, "latency_greeting_p50": {iocopy},
	} {
		m := measureOf(c, id)
		if m == nil {
			t.Errorf("no %s", id)
			continue
		}
		var got []string
		for _, cell := range m.Cells {
			got = append(got, cell.Peer)
		}
		if !slices.Equal(got, want) || m.Bar != nil {
			t.Errorf("%s: cells of %v, bar %v: want cells of %v, and no bar without smtplb", id, got, m.Bar, want)
		}
	}
	if m := measureOf(c, "scale"); (m != nil && m.Cells[0].Median > 0) != (len(before) > 1) {
		t.Errorf("two cores over one, of %d: %+v", len(before), m)
	}
	if m := measureOf(c, "rate_1"); m == nil || m.Cells[0].Median <= 0 {
		t.Errorf("sessions per second: %+v", m)
	}
	if m := measureOf(c, "cpu_short"); m != nil && (m.Cells[0].Median < 10 || m.Cells[0].Median > 1e6) {
		t.Errorf("%v %s for a session", m.Cells[0].Median, m.Unit)
	}
	if measureOf(c, "log") != nil || len(c.Matrices) > 0 {
		t.Error("measures of peers that are not here")
	}
	if missed := Missed(c); len(missed) > 0 {
		t.Errorf("missed: %q", missed)
	}
	if !strings.Contains(progress.String(), "cpu_short, round 1 of 1 (") {
		t.Errorf("progress: %s", progress.String())
	}
	if after, err := proc.Available(); err != nil || !slices.Equal(before, after) {
		t.Errorf("bound to %v afterwards, before %v (%v)", after, before, err)
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
}

func measureOf(c *result.Comparison, id string) *result.Measure {
	for i := range c.Measures {
		if c.Measures[i].ID == id {
			return &c.Measures[i]
		}
	}
	return nil
}

// One that falls over is noted, with its last words; the others are measured.
func TestRunGoesOnWithoutThoseThatFail(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "haproxy")
	script := "#!/bin/sh\n[ \"$1\" = -v ] && echo HAProxy version 0.1 && exit 0\necho a reason >&2\nexit 3\n"
	if err := os.WriteFile(fake, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := Run(t.Context(), Options{
		Iocopy: self(t), HAProxy: fake, Quick: true, Peers: []string{haproxy, iocopy}, Only: []string{"cpu_short"},
	})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(c.Notes, "\n")
	for _, want := range []string{"cpu_short, round 1", "haproxy", "a reason", "exit status 3"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %q: want %q", notes, want)
		}
	}
	m := measureOf(c, "cpu_short")
	if m == nil || len(m.Cells) != 1 || m.Cells[0].Peer != iocopy {
		t.Errorf("measured: %+v, want iocopy", m)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Run(ctx, Options{
		Iocopy: self(t), Quick: true, Peers: []string{iocopy, direct}, Only: []string{"cpu_short", "cpu_long", "cpu_gb"},
		Progress: writerFunc(func(p []byte) {
			if strings.Contains(string(p), "cpu_long") {
				cancel()
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Complete {
		t.Error("complete, though it was interrupted")
	}
	if measureOf(c, "cpu_short") == nil || measureOf(c, "cpu_gb") != nil {
		t.Errorf("measures %+v: want what there was until then", c.Measures)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestRunNeedsSomebody(t *testing.T) {
	for _, o := range []Options{
		{Peers: []string{direct}},
		{Peers: []string{haproxy, direct}, HAProxy: "/nonexistent/haproxy"},
	} {
		if c, err := Run(t.Context(), o); c != nil || err == nil || !strings.Contains(err.Error(), "nothing to compare") {
			t.Errorf("%+v: %v", o.Peers, err)
		}
	}
}

// The faults are such that the sink accepts them.
func TestFaultsAreKnownToTheSink(t *testing.T) {
	p := &peer{name: "nobody"}
	l := lab{options: Options{BalancerCPUs: proc.CPUs{0}}}
	ward, err := l.admit(p)
	if err != nil {
		t.Fatal(err)
	}
	defer ward.relays.close()
	ward.infect() // panics if not
	for k, c := range ward.cases {
		if r := ward.v.site.Services[k].Relays; len(r) != 2 || r[0].Name != illName(k) || r[1].Name != wellName(k) {
			t.Errorf("%s: relays %v", c.name, r)
		}
	}
	cfg := source.Config{
		Targets: []string{ward.v.site.Services[3].Relays[0].Address.String()}, Concurrency: 1, Sessions: 1, Timeout: clientPatience,
	}
	run, err := source.Run(t.Context(), cfg)
	if err != nil || run.Sessions.Failed != 1 || !strings.Contains(worst(run).Error(), "421") {
		t.Errorf("%s: %+v (%v)", ward.cases[3].name, run, err)
	}
}
