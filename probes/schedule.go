package probes

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// What a Scheduler's zero fields stand for, and the bounds of its pace.
const (
	DefaultInterval     = 5 * time.Second
	DefaultFastInterval = time.Second

	// firstWithin is when every target has had its first check: at once would
	// be a burst, a whole interval too long to send mail on trust alone.
	firstWithin = time.Second

	// settledAfter results that agree, a target's state is taken as settled
	// where Fast does not know better.
	settledAfter = 3

	jitter = 0.05 // of an interval, to either side

	// moments is how many there are in an interval at which checks begin. What
	// wakes this process up, and fills cold caches, is dearer than a check: 200
	// targets at one of 10 moments are twenty together, no burst for anybody, and
	// cost a third of what they do one by one (BenchmarkTwoHundredRelays).
	moments = 10
)

// Scheduler makes one kind of check of many targets, each again and again, with
// one goroutine for each. Set the fields before Run, the targets at any time.
// The zero value has nothing to do, and no Check to do it with.
type Scheduler struct {
	// Check is made of each target: SMTP, SMTPS or TCP. Required.
	Check Func

	// Interval is the time between the checks of a target whose state is
	// settled, give or take 5 % and rounded up to the next of 10 moments of the
	// interval, which all targets have in common. 0: DefaultInterval.
	Interval time.Duration

	// FastInterval is used instead while its state is changing, from the end of
	// one check to the next, give or take and rounded likewise; no check comes
	// sooner after another than it says, less the 5 %. At most Interval. 0:
	// DefaultFastInterval.
	FastInterval time.Duration

	// Report is given each result that says something about the target: not
	// those that are inconclusive, nor of a check that was broken off by Set or
	// the end of Run. It may be called for different targets at once, for one
	// target never. Not to block for long: it holds up that target's next check.
	Report func(Target, Result)

	// Inconclusive, where set, is given those that say nothing.
	Inconclusive func(Target, Result)

	// Fast, where set, is asked after each Report whether the target's state is
	// changing: between the first failure and the one that takes it down, and
	// likewise on the way up. Without it, a state is changing until three
	// results in a row agree.
	Fast func(Target) bool

	// Rand returns numbers in [0, 1), for the jitter; its calls come one at a
	// time. nil: math/rand/v2's.
	Rand func() float64

	mu      sync.Mutex
	watches map[string]*watch // the targets by name
	seats   int               // seats given so far
	run     *run              // nil: not running
}

// run is one call of Run.
type run struct {
	ctx     context.Context
	started time.Time
	shift   float64 // where in the interval seat 0 is
	done    sync.WaitGroup
}

// watch is a target that is being checked. All but target and hurry is set
// under Scheduler.mu.
type watch struct {
	target Target
	seat   int
	hurry  chan struct{} // holds one
	stop   context.CancelFunc
}

// Set makes targets the ones to check: new ones are begun, missing ones are
// stopped, and those equal to before keep their turn. It may be called before,
// during and after Run. With an invalid target, or two of one name, nothing
// changes. A check that ends at the same moment may still be reported. Safe for
// concurrent use.
func (s *Scheduler) Set(targets ...Target) error {
	wanted := make(map[string]Target, len(targets))
	for _, t := range targets {
		if err := t.Validate(); err != nil {
			return err
		}
		if _, twice := wanted[t.Name]; twice {
			return fmt.Errorf("target %q: two have this name, want one", t.Name)
		}
		wanted[t.Name] = t
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for name, w := range s.watches {
		if t, ok := wanted[name]; !ok || t != w.target {
			w.stop()
			delete(s.watches, name)
		}
	}
	if s.watches == nil {
		s.watches = make(map[string]*watch, len(targets))
	}
	for _, t := range targets { // in their order, so that seats are given in it
		if s.watches[t.Name] != nil {
			continue
		}
		w := &watch{target: t, seat: s.seats, hurry: make(chan struct{}, 1), stop: func() {}}
		s.seats++
		s.watches[t.Name] = w
		if s.run != nil {
			s.begin(w)
		}
	}
	return nil
}

// Hurry brings the next check of the named target forward: a live session has
// failed there. It comes at once, or as soon as the last one is FastInterval
// ago, however often Hurry is called. A name that is not known, or a Scheduler
// that does not run, is none of its worries. Safe for concurrent use, and does
// not block.
func (s *Scheduler) Hurry(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[name]
	if w == nil || s.run == nil {
		return
	}
	select {
	case w.hurry <- struct{}{}:
	default: // is already to hurry
	}
}

// Run checks until ctx ends, and returns when the last check has: then nothing
// of it is left running, and nothing more is reported. It fails only where it
// cannot begin.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.Check == nil {
		return errors.New("probes: Scheduler.Check is nil: want SMTP, TCP or another Func")
	}
	s.mu.Lock()
	if s.run != nil {
		s.mu.Unlock()
		return errors.New("probes: Scheduler is running already: want one Run at a time")
	}
	r := &run{ctx: ctx, started: time.Now(), shift: s.random()}
	s.run = r
	for _, w := range s.watches {
		s.begin(w)
	}
	s.mu.Unlock()

	<-ctx.Done()
	s.mu.Lock()
	s.run = nil // before the wait: from here on Set begins no more of this run
	s.mu.Unlock()
	r.done.Wait()
	return nil
}

// begin starts w's goroutine in the present run; s.mu is held.
func (s *Scheduler) begin(w *watch) {
	ctx, cancel := context.WithCancel(s.run.ctx)
	w.stop = cancel
	r := s.run
	r.done.Go(func() {
		defer cancel()
		s.watch(ctx, r, w)
	})
}

// watch checks one target until ctx ends.
func (s *Scheduler) watch(ctx context.Context, r *run, w *watch) {
	phase := r.phase(w.seat)
	first := min(s.interval(), firstWithin)
	due := r.moment(time.Now().Add(scale(first-first/moments, phase)), first) // at most first from now
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	var rested time.Time // when the next check may come at the earliest
	var recent history
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.hurry:
			if rested.Before(due) {
				due = rested
				timer.Reset(time.Until(due))
			}
			continue
		case <-timer.C:
		}
		began := time.Now()
		result := s.Check(ctx, w.target)
		if ctx.Err() != nil {
			return // broken off, or too late to matter
		}
		fast := s.take(w.target, result, &recent)
		now := time.Now()
		rested = now.Add(s.fastInterval())
		if fast {
			due = r.moment(now.Add(s.blur(s.fastInterval())), s.fastInterval())
		} else {
			due = r.moment(s.turn(r.started, phase, began), s.interval())
			if due.Before(rested) {
				due = rested
			}
		}
		timer.Reset(time.Until(due))
	}
}

// take passes a result on, and says whether the next check is to come fast.
func (s *Scheduler) take(t Target, result Result, recent *history) bool {
	if result.Inconclusive {
		if s.Inconclusive != nil {
			s.Inconclusive(t, result)
		}
		return true // still to be found out
	}
	recent.add(result.OK)
	if s.Report != nil {
		s.Report(t, result)
	}
	if s.Fast != nil {
		return s.Fast(t)
	}
	return recent.same < settledAfter
}

// history counts how many of the last results agree.
type history struct {
	ok   bool
	same int
}

func (h *history) add(ok bool) {
	if ok != h.ok {
		h.ok, h.same = ok, 0
	}
	h.same++
}

// phase is where in the interval a seat has its turns, in [0, 1). The golden
// ratio's multiples lie evenly however many there are, so that targets that
// come later fall into the widest gaps and nobody has to move.
func (r *run) phase(seat int) float64 {
	_, phase := math.Modf(r.shift + float64(seat)/math.Phi)
	return phase
}

// moment is at, or the next of the moments of an interval after it. They are
// counted from the start of the run, so that all targets have the same.
func (r *run) moment(at time.Time, interval time.Duration) time.Time {
	apart := interval / moments
	if past := at.Sub(r.started) % max(apart, 1); past != 0 {
		return at.Add(apart - past)
	}
	return at
}

// turn is the time of the first turn that is at least half an interval after
// began. Turns are a grid, one in each interval at the target's phase, and the
// jitter is about the grid: so neither jitter, nor slow checks, nor hurried
// ones can gather the targets into a burst as time goes by.
func (s *Scheduler) turn(started time.Time, phase float64, began time.Time) time.Time {
	interval := s.interval()
	turn := started.Add(scale(interval, phase))
	if late := began.Add(interval / 2).Sub(turn); late > 0 {
		turn = turn.Add(late)
		if past := late % interval; past != 0 {
			turn = turn.Add(interval - past)
		}
	}
	return turn.Add(s.blur(interval) - interval)
}

// blur is d give or take the jitter.
func (s *Scheduler) blur(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return d + scale(d, jitter*(2*s.random()-1))
}

// random calls Rand; s.mu is held.
func (s *Scheduler) random() float64 {
	if s.Rand != nil {
		return s.Rand()
	}
	return rand.Float64()
}

func (s *Scheduler) interval() time.Duration {
	if s.Interval > 0 {
		return s.Interval
	}
	return DefaultInterval
}

func (s *Scheduler) fastInterval() time.Duration {
	if s.FastInterval > 0 {
		return min(s.FastInterval, s.interval())
	}
	return min(DefaultFastInterval, s.interval())
}

func scale(d time.Duration, by float64) time.Duration {
	return time.Duration(float64(d) * by)
}
