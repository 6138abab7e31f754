package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"smtplb/balancer"
)

// small is a fleet that passes its day in a blink.
func small() Config {
	c := Default()
	c.Balancers, c.Relays, c.Sessions = 12, 96, 3000
	return c
}

func mustRun(t *testing.T, c Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func asJSON(t *testing.T, r *Report) string {
	t.Helper()
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSameSeedSameReportOnAnyNumberOfCPUs(t *testing.T) {
	c := small()
	c.Balancers, c.Relays, c.Sessions, c.RelayFaults = 8, 64, 1500, 0.5
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	want := asJSON(t, mustRun(t, c))
	for _, cpus := range []int{2, 16} {
		runtime.GOMAXPROCS(cpus)
		if got := asJSON(t, mustRun(t, c)); got != want {
			t.Errorf("with %d CPUs: another report:\n%s\nwith one:\n%s", cpus, got, want)
		}
	}
	c.Seed++
	if asJSON(t, mustRun(t, c)) == want {
		t.Error("another seed, the same report")
	}
}

// The relays of equal weight get equal numbers of sessions, and with nothing wrong no session is refused, retried or sent to the
// standby, but those that keep it warm.
func TestNothingWrongNothingLost(t *testing.T) {
	for _, keepWarm := range []float64{0, 0.1} {
		c := small()
		c.Weights, c.RelayFaults, c.FailFor, c.KeepWarm = 1, 0, 0, keepWarm
		r := mustRun(t, c)
		s := r.Sessions
		if s.Failed != 0 || s.Attempts != s.Total || s.MostAsked != 1 || s.Hedged != 0 {
			t.Errorf("failed %d, %d attempts for %d sessions, most asked %d, %d hedges; want none failed and one attempt each",
				s.Failed, s.Attempts, s.Total, s.MostAsked, s.Hedged)
		}
		want := float64(c.Balancers * c.Sessions)
		if off := math.Abs(float64(s.Total) - want); off > 5*math.Sqrt(want) {
			t.Errorf("%d sessions, want about %.0f", s.Total, want)
		}
		rows, notes := 1, 1
		if keepWarm > 0 {
			rows, notes = 2, 0
		}
		if len(r.Shares) != rows || r.Shares[0].Tier != 0 || r.Shares[0].Balancers != c.Balancers {
			t.Fatalf("shares %+v: want the own site's at every balancer, and %d rows", r.Shares, rows)
		}
		// The balancer's promise is 2 % at its worst, and a few sessions where lengths differ as here.
		for _, e := range r.Shares {
			if e.Share.Worst > 0.02 || e.Count.Worst > 16 || e.Count.Worst == 0 {
				t.Errorf("tier %d: share error %+v, in sessions %+v: want some, but below 2 %% and 16 sessions", e.Tier, e.Share, e.Count)
			}
		}
		wantExactWarmth(t, r, keepWarm)
		if r.Shift != (Shift{}) || r.Failback != (Failback{}) || r.Failure != (Failure{}) {
			t.Errorf("shift %+v, failback %+v, failure %+v: want none", r.Shift, r.Failback, r.Failure)
		}
		if len(r.Notes) != notes {
			t.Errorf("notes %q: want %d, that no share is kept on the standby", r.Notes, notes)
		}
	}
}

// wantExactWarmth wants the standby's share as configured, give or take a session.
func wantExactWarmth(t *testing.T, r *Report, keepWarm float64) {
	t.Helper()
	w := r.Warm
	if w.Sessions != r.Sessions.Total || w.Helped != 0 || w.Configured != keepWarm {
		t.Errorf("warm share %+v: want it of all %d sessions, and none helped out", w, r.Sessions.Total)
	}
	const day, window = 1.0 / 1000, 1.0 / warmWindow // a session of each
	if w.Error.Worst > day || w.Window.Worst > window+1e-9 || w.Windows == 0 || (w.Share == 0) != (keepWarm == 0) {
		t.Errorf("warm share %+v: want it off by one session at most", w)
	}
}

// Where weights are all that differs between relays, the busiest is what the weights make it.
func TestWeightsAreFollowed(t *testing.T) {
	c := small()
	c.Weights, c.RelayFaults, c.FailFor = 1000, 0, 0
	run := newRun(&c)
	if err := run.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, l := range run.ledgers {
		own := l.tierOf(healthy, 0)
		total, weight := float64(own.sessions()), 0.0
		for _, w := range l.weight[:len(own.got)] {
			weight += w
		}
		for j, got := range own.got {
			fair := total * l.weight[j] / weight
			if math.Abs(own.fair[j]-fair) > 1e-6*total {
				t.Errorf("balancer %d, relay %d of weight %.0f: owed %.3f, want %.3f", i, j, l.weight[j], own.fair[j], fair)
			}
			if math.Abs(float64(got)-fair) > 0.02*total {
				t.Errorf("balancer %d, relay %d of weight %.0f: got %d, want %.1f", i, j, l.weight[j], got, fair)
			}
		}
	}
}

// A site failure costs nobody a session while the other site is up, however it fails: by the time that checks alone need, nobody
// sends there, and all return when checks have seen it and the failback delay has passed.
func TestSiteFailureCostsNoSession(t *testing.T) {
	const (
		turn = 1.1 * 5 // the longest wait for a check: a turn, and the jitter of both ends
		fast = 1.05
	)
	tests := []struct {
		as   balancer.Outcome
		fall float64 // seconds: the first check, then two fast ones
		rise float64 // the first good check, then a fast one
	}{
		{balancer.Refused, turn + 2*fast, turn + fast},
		{balancer.Greeting4xx, turn + 2*fast, turn + fast},
		{balancer.ConnectTimeout, turn + 5 + 2*(fast+5), turn + 5 + fast},
		{balancer.GreetingTimeout, turn + 15 + 2*(fast+15), turn + 15 + fast},
	}
	for _, test := range tests {
		t.Run(test.as.String(), func(t *testing.T) {
			c := small()
			c.Sessions, c.RelayFaults, c.FailAs = 6000, 0, test.as
			run := newRun(&c)
			if err := run.all(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := run.report()
			if r.Sessions.Failed != 0 {
				t.Errorf("%d sessions found no relay", r.Sessions.Failed)
			}
			if r.Sessions.RetriesAway == 0 || r.Warm.Helped == 0 {
				t.Error("no session met a failed relay: nothing was tested")
			}
			s, f := r.Shift, r.Failback
			if s.Balancers != 6 || s.Unmoved != 0 || s.AllDown.Worst > test.fall || s.LastAsked.Worst > s.AllDown.Worst || s.LastAsked.Worst == 0 {
				t.Errorf("shift %+v: want all 6 balancers within %.1f s, and no session to the site after that", s, test.fall)
			}
			if s.Left.P50 == 0 || s.Left.Worst > s.AllDown.Worst || s.Changes != 2 {
				t.Errorf("shift %+v: want each to move to the standby and back once", s)
			}
			delay := failbackDelay.Seconds()
			if f.Balancers != 6 || f.NotBack != 0 || f.AllBack.Worst > test.rise {
				t.Errorf("failback %+v: want all relays back at 6 balancers within %.1f s", f, test.rise)
			}
			if f.Returned.P50 < delay || f.Returned.Worst > delay+test.rise+turn || f.LastStandby.Worst > f.Returned.Worst {
				t.Errorf("failback %+v: want sessions back %.0f to %.1f s later, and none to the standby after that", f, delay, delay+test.rise+turn)
			}
			for i, l := range run.ledgers {
				own, standby := l.tierOf(failing, 0).sessions(), l.tierOf(failing, 1).sessions()
				if failed := run.fleet.plans[i].site == failedSite; failed && (own != 0 || standby == 0) || !failed && (own == 0 || standby != 0) {
					t.Errorf("balancer %d, site failed: %v; while it was: %d sessions at its own site, %d at the standby", i, failed, own, standby)
				}
			}
		})
	}
}

// What relays got and what they were owed are the same sessions.
func TestNothingIsCountedTwice(t *testing.T) {
	c := small()
	c.RelayFaults = 0.5
	run := newRun(&c)
	if err := run.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	var counted int64
	for i, l := range run.ledgers {
		for p := range phases {
			for tier := range tiers {
				count, fair := l.tierOf(p, tier), 0.0
				for _, x := range count.fair {
					fair += x
				}
				counted += count.sessions()
				if math.Abs(fair-float64(count.sessions())) > 1e-3 {
					t.Errorf("balancer %d, %s, tier %d: %d sessions, owed %.3f", i, p, tier, count.sessions(), fair)
				}
			}
		}
	}
	if total := run.report().Sessions.Total; counted != total {
		t.Errorf("%d sessions in the ledgers, %d in the report", counted, total)
	}
	var got, owed float64
	for i := range run.loads.got {
		got += float64(run.loads.got[i])
		owed += float64(run.loads.owed[i])
	}
	if got == 0 || math.Abs(got-owed) > 1e-3*got {
		t.Errorf("the relays' load is %.0f, what they were owed %.0f: want the same", got, owed)
	}
}

// A server runs twenty sessions, however much mail it has.
func TestServersRunNoMoreThanTwenty(t *testing.T) {
	c := small()
	c.Balancers, c.Relays, c.Sessions, c.FailFor, c.RelayFaults = 2, 4, 100000, 0, 0
	run := newRun(&c)
	if err := run.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	most := 0.0
	for b := range buckets {
		running := 0.0
		for i := range run.fleet.relays {
			running += sessionsAt(run.loads.got, i, b)
		}
		most = max(most, running)
	}
	want := float64(connectionsPerServer * run.report().Fleet.Servers)
	if most < 0.99*want || most > 1.001*want {
		t.Errorf("%.1f sessions ran at the busiest minute, want %.0f: twenty of each server", most, want)
	}
}

// Where no relay answers at all, each server asks once, reads a 421, and asks again after a minute: as Exchange does.
func TestOutageParksTheServers(t *testing.T) {
	c := small()
	c.FailFor, c.RelayFaults = 0, 0
	c.Balancers, c.Relays, c.Sessions = 2, 8, 50000
	const from, long = 10 * time.Hour, 30 * time.Minute
	run := newRun(&c)
	for i := range run.fleet.relays {
		run.fleet.relays[i].faults = []fault{{from, from + long, balancer.Refused}}
	}
	if err := run.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := run.report()
	perServer := float64(r.Sessions.Failed) / float64(r.Fleet.Servers)
	if minutes := long.Minutes(); perServer < minutes-2 || perServer > minutes+1 {
		t.Errorf("%.1f sessions of each server found no relay in %.0f minutes: want one a minute", perServer, minutes)
	}
	if r.Sessions.FailedDown == 0 || r.Sessions.FailedAll == 0 || r.Sessions.FailedLate != 0 {
		t.Errorf("%+v: want some that tried each relay, then some that found none up", r.Sessions)
	}
	want := float64(c.Balancers * c.Sessions)
	if off := math.Abs(float64(r.Sessions.Total) - want); off > 5*math.Sqrt(want) {
		t.Errorf("%d sessions in the end, want about %.0f: what was parked must be sent", r.Sessions.Total, want)
	}
}

// Where every relay is silent, some sessions have asked more than eight, two at a time, when the 60 s of session_setup are over.
func TestSilentRelaysUseUpASessionsTime(t *testing.T) {
	c := small()
	c.FailFor, c.RelayFaults = 0, 0
	c.Balancers, c.Relays, c.Sessions = 2, 24, 50000
	run := newRun(&c)
	for i := range run.fleet.relays {
		run.fleet.relays[i].faults = []fault{{10 * time.Hour, 10*time.Hour + 10*time.Minute, balancer.GreetingTimeout}}
	}
	if err := run.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := run.report().Sessions; s.MostAsked <= 8 || s.FailedLate == 0 || s.Hedged == 0 {
		t.Errorf("%+v: want some out of time, after more than eight relays", s)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Run(ctx, small()); !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("report %v, error %v: want none, canceled", r, err)
	}
}

func TestRunRefusesABadConfig(t *testing.T) {
	if _, err := Run(t.Context(), Config{}); err == nil {
		t.Error("the zero Config is run")
	}
}

// BenchmarkDay is a default balancer's day, alone, with so many relays at each site.
func BenchmarkDay(b *testing.B) {
	for _, relays := range []int{5, 30, 300} {
		b.Run(fmt.Sprintf("relays=%d", relays), func(b *testing.B) {
			c := Default()
			c.Balancers, c.Relays, c.Sharing = 2, 2*relays, 1
			f := newFleet(&c)
			sessions := int64(0)
			for b.Loop() {
				d, err := newDay(&c, f, 0)
				if err != nil {
					b.Fatal(err)
				}
				d.run()
				for _, n := range d.result.sessions {
					sessions += n
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sessions), "ns/session")
		})
	}
}
