package probes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// desk is a Scheduler whose checks are a test's, and a record of when they
// were made. It is for bubbles of testing/synctest, where time is exact.
type desk struct {
	Scheduler
	began time.Time
	end   func() // ends Run and waits for it

	mu      sync.Mutex
	at      map[string][]time.Duration // begin of each check, since the start
	reports map[string]int
	ok      bool          // what checks find
	lasting time.Duration // how long they take
}

func newDesk(names ...string) *desk {
	d := &desk{at: map[string][]time.Duration{}, reports: map[string]int{}, ok: true}
	d.Check = d.check
	d.Report = func(t Target, _ Result) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.reports[t.Name]++
	}
	d.Fast = func(Target) bool { return false }
	d.Rand = func() float64 { return 0.5 } // no jitter; the grid begins in mid-interval
	if err := d.Set(named(names...)...); err != nil {
		panic(err)
	}
	return d
}

func named(names ...string) []Target {
	targets := make([]Target, 0, len(names))
	for _, name := range names {
		targets = append(targets, Target{Name: name, Address: "192.0.2.1:25"})
	}
	return targets
}

func (d *desk) check(ctx context.Context, t Target) Result {
	d.mu.Lock()
	d.at[t.Name] = append(d.at[t.Name], time.Since(d.began))
	r, lasting := Result{OK: d.ok}, d.lasting
	d.mu.Unlock()
	if lasting > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(lasting):
		}
	}
	return r
}

// run runs d for a while in the background; what it left is read after end.
func (d *desk) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	d.began = time.Now()
	go func() { ended <- d.Run(ctx) }()
	d.end = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
}

func (d *desk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// seen is when name's checks began, so far.
func (d *desk) seen(name string) []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.at[name])
}

func many(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("relay-%03d", i)
	}
	return names
}

// busiest is the most checks that began within any span of that width.
func (d *desk) busiest(from, to, width time.Duration) int {
	var all []time.Duration
	for name := range d.at {
		for _, at := range d.seen(name) {
			if at >= from && at < to {
				all = append(all, at)
			}
		}
	}
	slices.Sort(all)
	most := 0
	for i, first := 0, 0; i < len(all); i++ {
		for all[i]-all[first] >= width {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestTwoHundredRelaysMakeNoBurst(t *testing.T) {
	for name, random := range map[string]func() float64{
		"without jitter": func() float64 { return 0.5 },
		"with jitter":    rand.New(rand.NewPCG(1, 2)).Float64,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				names := many(200)
				d := newDesk(names...)
				d.Rand = random
				d.run(t)
				advance(10 * time.Minute)
				d.end()
				for _, name := range names {
					if at := d.seen(name); at[0] > firstWithin {
						t.Errorf("%s: first check after %v, want within %v", name, at[0], firstWithin)
					}
				}
				// At each of the 10 moments of an interval, evenly, there are 20.
				if n := d.busiest(0, firstWithin, 50*time.Millisecond); n > 23 {
					t.Errorf("%d first checks within 50ms", n)
				}
				most := 23 // which is as evenly as the golden ratio has them
				if name == "with jitter" {
					most = 37 // four standard deviations above 20
				}
				for _, width := range []time.Duration{50 * time.Millisecond, 250 * time.Millisecond} {
					if n := d.busiest(firstWithin, 10*time.Minute, width); n > most {
						t.Errorf("%d checks within %v, want %d at most", n, width, most)
					}
				}
			})
		})
	}
}

func TestChecksComeEachIntervalGiveOrTakeFivePercent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		d.Rand = rand.New(rand.NewPCG(3, 4)).Float64
		d.run(t)
		advance(time.Hour)
		d.end()
		at := d.seen("relay-a")[1:]
		if n := len(at); n < 719 || n > 721 {
			t.Errorf("%d checks in an hour, want 720", n)
		}
		var early, late int
		grid := at[0].Round(time.Millisecond)
		for i, a := range at {
			off := a - grid - time.Duration(i)*DefaultInterval
			if off < -500*time.Millisecond || off > 500*time.Millisecond {
				t.Fatalf("check %d is off its turn by %v relative to the first, want 10%% at most: drifted", i, off)
			}
			if off < 0 {
				early++
			} else {
				late++
			}
		}
		if early == 0 || late == 0 {
			t.Errorf("%d early, %d late: no jitter to both sides", early, late)
		}
	})
}

func TestChangingStateIsCheckedFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		var changing bool
		d.Fast = func(Target) bool { d.mu.Lock(); defer d.mu.Unlock(); return changing }
		d.run(t)
		advance(20 * time.Second)
		d.set(func() { changing = true })
		advance(10 * time.Second)
		d.set(func() { changing = false })
		advance(20 * time.Second)
		d.end()
		at := d.seen("relay-a")
		count := func(from, to time.Duration) (n int) {
			for _, a := range at {
				if a >= from && a < to {
					n++
				}
			}
			return n
		}
		if n := count(5*time.Second, 20*time.Second); n != 3 {
			t.Errorf("%d checks in 15s while settled, want 3: %v", n, at)
		}
		if n := count(25*time.Second, 30*time.Second); n != 5 {
			t.Errorf("%d checks in 5s while changing, want 5: %v", n, at)
		}
		if n := count(35*time.Second, 50*time.Second); n != 3 {
			t.Errorf("%d checks in 15s settled again, want 3: %v", n, at)
		}
	})
}

func TestWithoutAdviceAStateSettlesAfterThreeThatAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		d.Fast = nil
		d.run(t)
		advance(time.Minute)
		d.set(func() { d.ok = false })
		advance(time.Minute)
		d.end()
		var gaps []time.Duration
		at := d.seen("relay-a")
		for i := range at[1:] {
			gaps = append(gaps, at[i+1]-at[i])
		}
		if fast := []int{0, 1}; gaps[fast[0]] != time.Second || gaps[fast[1]] != time.Second || gaps[2] <= time.Second {
			t.Errorf("gaps %v, want two of 1s at first", gaps[:4])
		}
		failed := slices.IndexFunc(at, func(a time.Duration) bool { return a >= time.Minute })
		if g := gaps[failed : failed+4]; g[0] != time.Second || g[1] != time.Second || g[2] <= time.Second || g[3] != DefaultInterval {
			t.Errorf("gaps %v after the first failure, want two of 1s, then the grid again", g)
		}
	})
}

func TestSlowRelayIsNotAskedWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fast := range []bool{true, false} {
			d := newDesk("relay-a")
			d.lasting = DefaultTimeout
			d.Fast = func(Target) bool { return fast }
			d.run(t)
			advance(10 * time.Minute)
			d.end()
			at := d.seen("relay-a")
			if len(at) < 25 {
				t.Errorf("fast: %v: %d checks, want them to go on", fast, len(at))
			}
			for i := range at[1:] {
				if rest := at[i+1] - at[i] - d.lasting; rest < DefaultFastInterval {
					t.Fatalf("fast: %v: %v of rest, want %v at least", fast, rest, DefaultFastInterval)
				}
			}
		}
	})
}

func TestLiveFailureBringsTheNextCheckForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a", "relay-b")
		d.Interval = time.Minute
		d.run(t)
		advance(10 * time.Second)
		before, other := d.seen("relay-a"), d.seen("relay-b")
		d.Hurry("relay-a")
		d.Hurry("nobody")
		synctest.Wait()
		after := d.seen("relay-a")
		if len(after) != len(before)+1 || after[len(before)] != 10*time.Second {
			t.Errorf("checks %v, want one more at 10s", after)
		}
		d.Hurry("relay-a") // too soon for another: it waits for its rest
		advance(time.Second)
		synctest.Wait()
		if again := d.seen("relay-a"); len(again) != len(after)+1 || again[len(after)] != 11*time.Second {
			t.Errorf("checks %v, want one more at 11s", again)
		}
		if got := d.seen("relay-b"); len(got) != len(other) {
			t.Errorf("relay-b was hurried too: %v", got)
		}
		d.end()
	})
}

func TestStormOfLiveFailuresIsNoStormOfChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		d.lasting = 100 * time.Millisecond
		d.run(t)
		for range 1000 {
			d.Hurry("relay-a")
			advance(10 * time.Millisecond)
		}
		d.end()
		at := d.seen("relay-a")
		if len(at) < 9 || len(at) > 11 {
			t.Errorf("%d checks in 10s, want one each 1.1s", len(at))
		}
		for i := range at[1:] {
			if rest := at[i+1] - at[i] - d.lasting; rest < DefaultFastInterval {
				t.Errorf("%v of rest, want %v at least", rest, DefaultFastInterval)
			}
		}
	})
}

func TestHurryDuringACheckIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		d.Interval, d.lasting = time.Hour, 10*time.Second
		d.run(t)
		advance(5 * time.Second) // the first check is under way
		d.Hurry("relay-a")
		advance(10 * time.Second)
		d.end()
		at := d.seen("relay-a")
		if len(at) != 2 || at[1] != at[0]+11*time.Second {
			t.Errorf("checks at %v, want a second one, a rest after the first", at)
		}
	})
}

func TestRunEndsItsChecksAndReportsNoneOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(many(20)...)
		d.lasting = time.Hour
		d.run(t)
		advance(2 * time.Second) // all are in their first check
		stopped := time.Now()
		d.end()
		if took := time.Since(stopped); took != 0 {
			t.Errorf("Run returned after %v, want at once", took)
		}
		if len(d.at) != 20 || len(d.reports) != 0 {
			t.Errorf("%d checks, %d reported, want 20 and none", len(d.at), len(d.reports))
		}
		advance(time.Hour)
		if n := len(d.seen("relay-000")); n != 1 {
			t.Errorf("%d checks, want none after Run", n-1)
		}
	})
}

func TestReloadDisturbsOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stays := newDesk("stays", "changes", "goes")
		still := newDesk("stays")
		stays.run(t)
		still.run(t)
		advance(30 * time.Second)
		synctest.Wait()
		gone := len(stays.seen("goes"))
		changed := Target{Name: "changes", Address: "192.0.2.2:25"}
		if err := stays.Set(append(named("stays", "new"), changed)...); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		if n := len(stays.seen("new")); n != 1 {
			t.Errorf("%d checks of the new one in a second, want 1", n)
		}
		if at := stays.seen("changes"); at[len(at)-1] < 30*time.Second {
			t.Errorf("checks at %v, want one of the new address within a second", at)
		}
		advance(time.Minute)
		stays.end()
		still.end()
		if n := len(stays.seen("goes")); n != gone {
			t.Errorf("%d checks of one that is gone", n-gone)
		}
		if got, want := stays.seen("stays"), still.seen("stays"); !slices.Equal(got, want) {
			t.Errorf("checks at %v, want %v as without the reload", got, want)
		}
	})
}

func TestBadReloadChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		d.run(t)
		for want, targets := range map[string][]Target{
			"two have this name": named("relay-b", "relay-b"),
			"want IP:port":       {{Name: "relay-b"}},
		} {
			if err := d.Set(targets...); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "relay-b") {
				t.Errorf("got %v, want %q about relay-b", err, want)
			}
		}
		advance(20 * time.Second)
		d.end()
		if n := len(d.seen("relay-a")); n < 4 || len(d.at) != 1 {
			t.Errorf("checks %v, want relay-a's alone to go on", d.at)
		}
	})
}

func TestOurOwnTroublesAreNotReportedAgainstARelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		d.Check = func(context.Context, Target) Result {
			return Result{Inconclusive: true, Err: errors.New("too many open files")}
		}
		var told int
		d.Inconclusive = func(Target, Result) { told++ }
		d.run(t)
		advance(10*time.Second + time.Millisecond)
		d.end()
		if told < 10 || len(d.reports) != 0 {
			t.Errorf("%d inconclusive, %v reported, want one each second and none", told, d.reports)
		}
	})
}

func TestSchedulerRunsAgainAfterItWasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk("relay-a")
		d.Hurry("relay-a") // does not run: nothing to hurry
		for range 2 {
			d.run(t)
			if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "running already") {
				t.Errorf("a second Run beside the first: got %v, want an error", err)
			}
			advance(time.Second)
			d.end()
		}
		if n := len(d.seen("relay-a")); n != 2 {
			t.Errorf("%d checks, want one in each run", n)
		}
	})
}

func TestSchedulerWithoutACheckSaysSo(t *testing.T) {
	var s Scheduler
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Check is nil") {
		t.Errorf("got %v, want the missing field named", err)
	}
}
