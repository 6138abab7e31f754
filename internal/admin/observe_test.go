package admin

import (
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"smtplb/balancer"
	"smtplb/proxy"
)

// record is what is left of a session that asked backend; OK: it was greeted in
// 20 ms.
func record(pool, backend string, outcomes ...balancer.Outcome) *proxy.Record {
	r := &proxy.Record{Pool: pool}
	for _, o := range outcomes {
		r.Attempts = append(r.Attempts, proxy.Attempt{Backend: backend, Outcome: o})
		if o == balancer.OK {
			r.Backend, r.GreetingCode, r.Greeting = backend, 220, 20*time.Millisecond
		}
	}
	return r
}

func TestEverySessionIsCountedByOutcome(t *testing.T) {
	r := newRig(t)
	r.Observe(record("outbound", "relay-b", balancer.Greeting4xx))
	session := record("outbound", "relay-a", balancer.Refused, balancer.OK)
	session.Attempts[0].Backend = "relay-b"
	r.Observe(session)
	r.Observe(record("outbound", "relay-a", balancer.OK))
	tcp := record("outbound", "relay-a", balancer.OK)
	tcp.GreetingCode = 0 // nobody greets on port 465
	r.Observe(tcp)
	r.Observe(&proxy.Record{End: proxy.Denied})
	r.Observe(record("outbound", "relay-a", 200)) // no such outcome
	values := r.scrape(t)
	for _, line := range []string{
		`smtplb_backend_attempts_total{backend="relay-a",outcome="ok",pool="outbound"} 3`,
		`smtplb_backend_attempts_total{backend="relay-a",outcome="refused",pool="outbound"} 0`,
		`smtplb_backend_attempts_total{backend="relay-b",outcome="refused",pool="outbound"} 1`,
		`smtplb_backend_attempts_total{backend="relay-b",outcome="greeting_4xx",pool="outbound"} 1`,
		`smtplb_backend_attempts_total{backend="relay-dr",outcome="ok",pool="outbound"} 0`, // from the first scrape on
		`smtplb_backend_greeting_seconds_count{backend="relay-a",pool="outbound"} 2`,
		`smtplb_backend_greeting_seconds_sum{backend="relay-a",pool="outbound"} 0.04`,
		`smtplb_backend_greeting_seconds_bucket{backend="relay-a",pool="outbound",le="0.01"} 0`,
		`smtplb_backend_greeting_seconds_bucket{backend="relay-a",pool="outbound",le="0.025"} 2`,
		`smtplb_backend_greeting_seconds_count{backend="relay-b",pool="outbound"} 0`,
	} {
		if !strings.Contains(values, line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
	if n := strings.Count(values, "smtplb_backend_attempts_total{"); n != 5*10 {
		t.Errorf("%d series of attempts, want 50", n)
	}
}

func TestOutcomesAreAllThere(t *testing.T) {
	if lastOutcome.String() == "unknown" || (lastOutcome+1).String() != "unknown" {
		t.Errorf("%v is not the last outcome", lastOutcome)
	}
	if proxy.Shut.String() == "unknown" || (proxy.Shut+1).String() != "unknown" {
		t.Errorf("%v is not the last end", proxy.Shut)
	}
	if balancer.Disabled.String() == "unknown" || (balancer.Disabled+1).String() != "unknown" {
		t.Errorf("%v is not the last state", balancer.Disabled)
	}
}

func TestTheHistogramIsFineToo(t *testing.T) {
	r := newRig(t)
	registry := r.registry(t)
	r.Observe(record("outbound", "relay-a", balancer.OK))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var found *dto.Histogram
	for _, f := range families {
		if f.GetName() == "smtplb_backend_greeting_seconds" {
			for _, m := range f.GetMetric() {
				if m.GetHistogram().GetSampleCount() > 0 {
					found = m.GetHistogram()
				}
			}
		}
	}
	if found == nil || len(found.GetBucket()) == 0 || len(found.GetPositiveSpan()) == 0 {
		t.Errorf("not both kinds of buckets: %v", found)
	}
}

func TestABackendThatIsGoneIsForgotten(t *testing.T) {
	r := newRig(t)
	pools := r.Pools()
	r.Pools = func() []Pool { return pools }
	registry := r.registry(t)
	attempts := func() (of map[string]float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		of = map[string]float64{}
		for _, f := range families {
			if f.GetName() == "smtplb_backend_attempts_total" {
				for _, m := range f.GetMetric() {
					for _, l := range m.GetLabel() {
						if l.GetName() == "backend" {
							of[l.GetValue()] += m.GetCounter().GetValue()
						}
					}
				}
			}
		}
		return of
	}
	r.Observe(record("outbound", "relay-a", balancer.OK))
	r.Observe(record("bulk", "farm/10.0.0.1", balancer.OK))
	if got := attempts(); len(got) != 5 || got["relay-a"] != 1 || got["farm/10.0.0.1"] != 1 {
		t.Errorf("at first: %v", got)
	}
	pools = pools[:1]
	r.Observe(record("bulk", "farm/10.0.0.1", balancer.OK)) // it ran on meanwhile
	r.Observe(record("outbound", "relay-a", balancer.OK))
	if got := attempts(); len(got) != 3 || got["relay-a"] != 2 {
		t.Errorf("after the pool went: %v", got)
	}
	r.Observe(record("bulk", "farm/10.0.0.1", balancer.OK))
	if got := attempts(); len(got) != 3 {
		t.Errorf("one that is gone came back: %v", got)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	r := newRig(t)
	session := record("outbound", "relay-a", balancer.Refused, balancer.OK)
	r.Observe(session)
	if n := testing.AllocsPerRun(1000, func() { r.Observe(session) }); n != 0 {
		t.Errorf("%v allocations for a session", n)
	}
}

func TestLoopsMayObserveWhileOthersScrape(t *testing.T) {
	const loops, sessions = 4, 200
	r := newRig(t)
	registry := r.registry(t)
	var running sync.WaitGroup
	for range loops {
		running.Go(func() {
			for range sessions {
				r.Observe(record("outbound", "relay-a", balancer.OK))
				r.Observe(record("bulk", "[::1]:25", balancer.Closed))
			}
		})
	}
	running.Go(func() {
		for range 20 {
			if _, err := registry.Gather(); err != nil {
				t.Error(err)
			}
		}
	})
	running.Wait()
	values := r.scrape(t)
	for _, line := range []string{`backend="relay-a",outcome="ok",pool="outbound"} 800`, `backend="[::1]:25",outcome="closed",pool="bulk"} 800`} {
		if !strings.Contains(values, line+"\n") {
			t.Errorf("sessions were lost: there is no %s", line)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	var s Server
	session := record("outbound", "relay-a", balancer.OK)
	b.ReportAllocs()
	for b.Loop() {
		s.Observe(session)
	}
}
