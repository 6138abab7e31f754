package admin

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"smtplb/balancer"
)

// registry is the metrics of a rig, checked for consistency at each gathering.
func (r *rig) registry(t *testing.T) *prometheus.Registry {
	t.Helper()
	r.began = r.StartedAt
	registry := prometheus.NewPedanticRegistry()
	if err := r.register(registry); err != nil {
		t.Fatal(err)
	}
	return registry
}

func TestMetricsFollowPrometheusRules(t *testing.T) {
	r := newRig(t)
	for range 100 {
		r.established(t, 20*time.Millisecond)
	}
	registry := r.registry(t)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	allowed := map[string]bool{
		"pool": true, "backend": true, "tier": true, "site": true, "state": true, "outcome": true, "end": true, "direction": true,
		"name": true, "fault": true, // of what DNS is asked: as many as the configuration has
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "smtplb_") {
			continue
		}
		own++
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !allowed[l.GetName()] && f.GetName() != "smtplb_build_info" {
					t.Errorf("%s: label %s, which may have any number of values", f.GetName(), l.GetName())
				}
			}
		}
	}
	if own < 25 {
		t.Errorf("only %d metrics of ours", own)
	}
}

func TestMetricsTellWhatIsSo(t *testing.T) {
	r := newRig(t)
	r.Stats = counts
	r.established(t, 20*time.Millisecond) // relay-a
	r.outbound.Drain(r.now(), 1)
	r.later(8 * 24 * time.Hour)
	registry := r.registry(t)
	const want = `
# HELP smtplb_backend_info Always 1, with a backend's tier and site.
# TYPE smtplb_backend_info gauge
smtplb_backend_info{backend="[::1]:25",pool="bulk",site="",tier="0"} 1
smtplb_backend_info{backend="farm/10.0.0.1",pool="bulk",site="",tier="0"} 1
smtplb_backend_info{backend="relay-a",pool="outbound",site="hq",tier="0"} 1
smtplb_backend_info{backend="relay-b",pool="outbound",site="hq",tier="0"} 1
smtplb_backend_info{backend="relay-dr",pool="outbound",site="dr",tier="1"} 1
# HELP smtplb_descriptors_limit With so many no client is accepted until a session ends.
# TYPE smtplb_descriptors_limit gauge
smtplb_descriptors_limit 900
# HELP smtplb_loop_late_seconds How late event loops came round, where that was more than 5 ms: a long turn, or a machine that did not run them.
# TYPE smtplb_loop_late_seconds histogram
smtplb_loop_late_seconds_bucket{le="0.01"} 1
smtplb_loop_late_seconds_bucket{le="1"} 2
smtplb_loop_late_seconds_bucket{le="+Inf"} 3
smtplb_loop_late_seconds_sum 6
smtplb_loop_late_seconds_count 3
# HELP smtplb_pool_failover 1 while new sessions go to another tier than the first.
# TYPE smtplb_pool_failover gauge
smtplb_pool_failover{pool="bulk"} 0
smtplb_pool_failover{pool="outbound"} 0
# HELP smtplb_ready 1 while clients are accepted, as /readyz says.
# TYPE smtplb_ready gauge
smtplb_ready 1
# HELP smtplb_session_bytes_total Bytes that ended sessions carried, up to the relays and down to the clients.
# TYPE smtplb_session_bytes_total counter
smtplb_session_bytes_total{direction="down"} 200
smtplb_session_bytes_total{direction="up"} 1000
# HELP smtplb_sessions_total Sessions that have ended, refused ones too, by why.
# TYPE smtplb_sessions_total counter
smtplb_sessions_total{end="backend_closed"} 0
smtplb_sessions_total{end="backend_reset"} 0
smtplb_sessions_total{end="client_closed"} 8
smtplb_sessions_total{end="client_limit"} 0
smtplb_sessions_total{end="client_reset"} 0
smtplb_sessions_total{end="denied"} 0
smtplb_sessions_total{end="drained"} 0
smtplb_sessions_total{end="idle"} 0
smtplb_sessions_total{end="no_backend"} 1
smtplb_sessions_total{end="shutdown"} 0
# HELP smtplb_tier_healthy_backends Backends that are up and have a weight.
# TYPE smtplb_tier_healthy_backends gauge
smtplb_tier_healthy_backends{pool="bulk",tier="0"} 2
smtplb_tier_healthy_backends{pool="outbound",tier="0"} 1
smtplb_tier_healthy_backends{pool="outbound",tier="1"} 1
# HELP smtplb_tier_idle_seconds How long ago the last session was established; since the start where none was. Addresses that send nothing lose their reputation.
# TYPE smtplb_tier_idle_seconds gauge
smtplb_tier_idle_seconds{pool="bulk",tier="0"} 691260
smtplb_tier_idle_seconds{pool="outbound",tier="0"} 691200
smtplb_tier_idle_seconds{pool="outbound",tier="1"} 694800
# HELP smtplb_warm_share_ratio The part of new sessions that the next tier down is to have.
# TYPE smtplb_warm_share_ratio gauge
smtplb_warm_share_ratio{pool="bulk"} 0
smtplb_warm_share_ratio{pool="outbound"} 0.05
`
	names := []string{
		"smtplb_backend_info", "smtplb_descriptors_limit", "smtplb_loop_late_seconds", "smtplb_pool_failover", "smtplb_ready", "smtplb_session_bytes_total", "smtplb_sessions_total",
		"smtplb_tier_healthy_backends", "smtplb_tier_idle_seconds", "smtplb_warm_share_ratio",
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestARefusedReloadIsToldUntilOneIsNot(t *testing.T) {
	r := newRig(t)
	for _, step := range []struct {
		err  error
		want string
	}{{nil, "0"}, {errors.New("f:1: x"), "1"}, {errors.New("f:1: y"), "1"}, {nil, "0"}} {
		r.ReloadEnded("SIGHUP", Reloaded{}, step.err)
		if line := "\nsmtplb_reload_refused " + step.want + "\n"; !strings.Contains(r.scrape(t), line) {
			t.Errorf("after a reload that ended with %v there is no %q", step.err, line)
		}
	}
}

// Each backend is in one state: it has a series for all, and 1 for that one.
func TestTheStatesOfABackendAddUpToOne(t *testing.T) {
	r := newRig(t)
	r.outbound.Drain(r.now(), 1)
	values := r.scrape(t)
	for _, b := range []struct{ name, state string }{{"relay-a", "up"}, {"relay-b", "draining"}} {
		for _, state := range []string{"up", "busy", "draining", "ejected", "down", "disabled"} {
			line := `smtplb_backend_state{backend="` + b.name + `",pool="outbound",state="` + state + `"} `
			if want := map[bool]string{true: "1", false: "0"}[state == b.state]; !strings.Contains(values, line+want+"\n") {
				t.Errorf("%s is not %s", line, want)
			}
		}
	}
	if n := strings.Count(values, "smtplb_backend_state{"); n != 5*6 {
		t.Errorf("%d series of states, want 30", n)
	}
}

// scrape is the answer of /metrics.
func (r *rig) scrape(t *testing.T) string {
	t.Helper()
	answer := r.ask(t, "GET", "/metrics")
	if answer.Code != http.StatusOK {
		t.Fatalf("%d: %s", answer.Code, answer.Body)
	}
	if err := r.complaints(); err != nil {
		t.Error(err)
	}
	return answer.Body.String()
}

func TestAScrapeHasTheProcessAndGoToo(t *testing.T) {
	values := newRig(t).scrape(t)
	for _, name := range []string{
		"process_open_fds ", "process_max_fds ", "process_resident_memory_bytes ", "go_goroutines ",
		`smtplb_build_info{goversion="go`, `version="v1.2.3"} 1`, `smtplb_warm_sessions_total{pool="outbound"} 0`,
	} {
		if !strings.Contains(values, name) {
			t.Errorf("there is no %q", name)
		}
	}
	if strings.Contains(values, "smtplb_backend_greeting_habit_seconds{") {
		t.Error("a habit is told that nobody knows yet")
	}
}

func TestTheHabitIsInSecondsOnceItIsKnown(t *testing.T) {
	r := newRig(t)
	for range 200 {
		r.established(t, 20*time.Millisecond)
	}
	families, err := r.registry(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, f := range families {
		if f.GetName() != "smtplb_backend_greeting_habit_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			known++
			if v := m.GetGauge().GetValue(); v < 0.02 || v > 0.04 {
				t.Errorf("greetings of 20 ms are %v s", v)
			}
		}
	}
	if known < 2 {
		t.Errorf("%d habits are known", known)
	}
}

// DNS and YAML may hold any bytes; Prometheus takes UTF-8 only. One bad name
// must not hide everything.
func TestANameThatIsNoTextHidesNothing(t *testing.T) {
	r := newRig(t)
	odd := newPool(t, balancer.Config{Name: "odd\xff", Backends: []balancer.BackendConfig{{Name: "relay\xfe\"\n", Site: "\xfd", Weight: 1}}})
	others := r.Pools
	r.Pools = func() []Pool { return append(others(), Pool{Balancer: odd}) }
	r.Observe(record("odd\xff", "relay\xfe\"\n", balancer.OK))
	values := r.scrape(t)
	for _, line := range []string{`backend="relay-a"`, "pool=\"odd\uFFFD\"", "backend=\"relay\uFFFD\\\"\\n\""} {
		if !strings.Contains(values, line) {
			t.Errorf("there is no %q", line)
		}
	}
}
