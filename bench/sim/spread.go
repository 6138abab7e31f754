package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"smtplb/balancer"
)

// SpreadConfig describes balancers that share one address and the same relays: routers send each session to any of them by
// its hash (ECMP), and none knows what the others do. It is run for each number of balancers and of sessions, on the same
// mail. One balancer is the standard: least connections over all sessions.
type SpreadConfig struct {
	Balancers []int // each 1 to MaxSpread
	Sessions  []int // that run at once, on average; each 1 to MaxSpreadSessions
	Relays    int   // 2 to MaxSpread
	Weights   int   // a relay's weight is 1 to this, each about as often; up to balancer.MaxWeight
	For       time.Duration
	Seed      uint64 // same config, same report
}

// The most that a SpreadConfig may ask for.
const (
	MaxSpread         = 1000
	MaxSpreadSessions = 100_000
)

// DefaultSpread is what docs/ecmp.md shows.
func DefaultSpread() SpreadConfig {
	return SpreadConfig{Balancers: []int{1, 3, 10, 100}, Sessions: []int{60, 600, 6000}, Relays: 20, Weights: 5, For: time.Hour, Seed: 1}
}

// Check returns every mistake, joined; nil: there is none.
func (c *SpreadConfig) Check() error {
	var errs []error
	within := func(name string, got, low, high int) {
		if got < low || got > high {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", name, got, low, high))
		}
	}
	if len(c.Balancers) == 0 || len(c.Sessions) == 0 {
		errs = append(errs, errors.New("balancers and sessions: want one number or more of each"))
	}
	for _, n := range c.Balancers {
		within("balancers", n, 1, MaxSpread)
	}
	for _, n := range c.Sessions {
		within("sessions", n, 1, MaxSpreadSessions)
	}
	within("relays", c.Relays, 2, MaxSpread)
	within("weights", c.Weights, 1, balancer.MaxWeight)
	if c.For < time.Minute || c.For > wholeDay {
		errs = append(errs, fmt.Errorf("for %s: want 1m to %s", c.For, wholeDay))
	}
	return errors.Join(errs...)
}

// SpreadCase is what came of one number of balancers and of sessions.
type SpreadCase struct {
	Balancers int   `json:"balancers"`
	Sessions  int   `json:"sessions"`
	Begun     int64 `json:"begun"`

	// In each second: how many sessions the busiest relay runs, by its weight, as a multiple of the mean, and how many it has
	// too many.
	Worst  Spread `json:"worst"`
	Excess Spread `json:"excess"`
	// Of each session: the load of its relay, by weight, as a multiple of the mean, when it begins. This is what senders see.
	Seen Spread `json:"seen"`
	// Over the whole time: by what part of all sessions the relay is off its share that is furthest off.
	ShareError float64 `json:"share_error"`
	// In each second: how many sessions the busiest balancer runs, as a multiple of the mean.
	Busiest Spread `json:"busiest"`
	// How many sessions asked a relay that began to refuse, in its first half minute: each balancer has to find out.
	AskedFailed int64 `json:"asked_failed"`
}

// SpreadReport is all cases, by sessions and then by balancers.
type SpreadReport struct {
	Relays  int          `json:"relays"`
	Weights int          `json:"weights"`
	Seconds float64      `json:"seconds"`
	Seed    uint64       `json:"seed"`
	Cases   []SpreadCase `json:"cases"`
}

// RunSpread runs every case. The report is the same for the same config, however many CPUs there are.
func RunSpread(ctx context.Context, cfg SpreadConfig) (*SpreadReport, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	report := &SpreadReport{Relays: cfg.Relays, Weights: cfg.Weights, Seconds: cfg.For.Seconds(), Seed: cfg.Seed}
	for _, sessions := range cfg.Sessions {
		for _, balancers := range cfg.Balancers {
			report.Cases = append(report.Cases, SpreadCase{Balancers: balancers, Sessions: sessions})
		}
	}
	var next atomic.Int64
	errs := make([]error, min(runtime.GOMAXPROCS(0), len(report.Cases)))
	var done sync.WaitGroup
	for i := range errs {
		done.Go(func() {
			for errs[i] == nil {
				at := int(next.Add(1)) - 1
				if at >= len(report.Cases) {
					return
				}
				errs[i] = cfg.run(ctx, &report.Cases[at])
			}
		})
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return report, nil
}

// spreading is one case while it runs.
type spreading struct {
	c    *SpreadCase
	rng  *rand.Rand // the mail's: the same for any number of balancers
	at   time.Duration
	rate float64 // sessions a second

	pools   []*balancer.Pool
	byPool  []int // sessions that run
	weights []float64
	weight  float64 // of all relays
	running []int   // by relay
	total   int
	got     []int64 // sessions begun, by relay, while it is measured

	leases []balancer.Lease
	pool   []int32 // of each lease
	free   []int32
	events queue

	worst, excess, seen, busiest []float64
}

// The mail flows for spreadWarmUp before anything is measured; when all is measured a relay fails.
const (
	spreadWarmUp = 5 * time.Minute
	spreadFails  = 30 * time.Second // no balancer gives it another try before
)

// spreadStream keeps the random numbers apart from those of a fleet.
const spreadStream = 1 << 62

func (c *SpreadConfig) run(ctx context.Context, result *SpreadCase) error {
	s := &spreading{
		c: result, rng: rand.New(rand.NewPCG(c.Seed, spreadStream+uint64(result.Sessions))),
		rate: float64(result.Sessions) / meanLength().Seconds(), byPool: make([]int, result.Balancers),
		running: make([]int, c.Relays), got: make([]int64, c.Relays),
	}
	for i := range c.Relays {
		w := 1 + i%c.Weights
		s.weights, s.weight = append(s.weights, float64(w)), s.weight+float64(w)
	}
	for range result.Balancers {
		p, err := s.newPool()
		if err != nil {
			return err
		}
		s.pools = append(s.pools, p)
	}
	end := spreadWarmUp + c.For
	if err := s.until(ctx, spreadWarmUp, -1); err != nil {
		return err
	}
	s.got = make([]int64, c.Relays)
	for s.at < end {
		if err := s.until(ctx, min(s.at+time.Second, end), -1); err != nil {
			return err
		}
		s.sample()
	}
	s.result()
	// The one that gets most mail.
	failed := slices.Index(s.weights, slices.Max(s.weights))
	return s.until(ctx, end+spreadFails, failed)
}

// meanLength is that of a session: the mean number of messages, each of the mean of its lognormal time.
func meanLength() time.Duration {
	message := messageMedian * math.Exp(messageSigma*messageSigma/2)
	return time.Duration((1 + messagesPerConnection) / 2.0 * message * float64(time.Second))
}

// newPool is one as the product has it by default.
func (s *spreading) newPool() (*balancer.Pool, error) {
	cfg := balancer.Config{
		Name: "outbound", Rise: probeRise, Fall: probeFall,
		Failures: passiveFailures, Eject: passiveEject, MaxEject: passiveMaxEject,
		MinHealthy: minHealthy, FailbackDelay: failbackDelay, SlowStart: slowStart,
	}
	for i, w := range s.weights {
		cfg.Backends = append(cfg.Backends, balancer.BackendConfig{Name: fmt.Sprintf("relay-%d", i+1), Weight: int(w)})
	}
	return balancer.New(cfg)
}

func (s *spreading) now() time.Time { return time.Unix(0, 0).Add(s.at) }

// until lets mail flow until a time, with one relay that refuses; -1: none does.
func (s *spreading) until(ctx context.Context, end time.Duration, failed int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		// A process without memory may be looked at from any time on.
		arrival := s.at + time.Duration(s.rng.ExpFloat64()/s.rate*float64(time.Second))
		for {
			at, waiting := s.events.next()
			if !waiting || at > min(arrival, end) {
				break
			}
			e := s.events.pop()
			s.at = e.at
			s.ends(e.who)
		}
		if arrival > end {
			s.at = end
			return nil
		}
		s.at = arrival
		if err := s.begin(failed); err != nil {
			return err
		}
	}
}

// begin has a session come to the balancer of its hash, and find its relay there.
func (s *spreading) begin(failed int) error {
	hash, length := s.rng.Uint64(), sessionLength(s.rng)
	to := int(hash % uint64(len(s.pools)))
	var tried []int
	for {
		lease, err := s.pools[to].Acquire(s.now(), tried)
		if err != nil {
			return err // there is a second relay, and it is up
		}
		relay := lease.Backend().ID()
		if relay == failed {
			s.c.AskedFailed++
			lease.Fail(s.now(), balancer.Refused)
			tried = append(tried, relay)
			continue
		}
		lease.Established(s.now(), 0)
		s.byPool[to]++
		s.running[relay]++
		s.total++
		s.got[relay]++
		if s.at > spreadWarmUp && failed < 0 {
			s.seen = append(s.seen, s.load(relay))
		}
		s.keep(lease, to, length)
		return nil
	}
}

// keep has a session run on.
func (s *spreading) keep(lease balancer.Lease, pool int, length time.Duration) {
	if len(s.free) == 0 {
		s.free = append(s.free, int32(len(s.leases)))
		s.leases, s.pool = append(s.leases, balancer.Lease{}), append(s.pool, 0)
	}
	who := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.leases[who], s.pool[who] = lease, int32(pool)
	s.events.push(s.at+length, sessionEnds, int(who))
}

func (s *spreading) ends(who int32) {
	lease := &s.leases[who]
	s.byPool[s.pool[who]]--
	s.running[lease.Backend().ID()]--
	s.total--
	lease.Release(s.now())
	s.free = append(s.free, who)
}

// load is a relay's, by weight, as a multiple of the mean.
func (s *spreading) load(relay int) float64 {
	return float64(s.running[relay]) * s.weight / (s.weights[relay] * float64(s.total))
}

func (s *spreading) sample() {
	if s.total == 0 {
		return
	}
	worst, excess := 0.0, 0.0
	for i := range s.running {
		worst = max(worst, s.load(i))
		excess = max(excess, float64(s.running[i])-s.weights[i]/s.weight*float64(s.total))
	}
	s.worst, s.excess = append(s.worst, worst), append(s.excess, excess)
	s.busiest = append(s.busiest, float64(slices.Max(s.byPool))*float64(len(s.byPool))/float64(s.total))
}

func (s *spreading) result() {
	c := s.c
	for _, n := range s.got {
		c.Begun += n
	}
	for i, n := range s.got {
		c.ShareError = max(c.ShareError, math.Abs(float64(n)/float64(max(c.Begun, 1))-s.weights[i]/s.weight))
	}
	c.Worst, c.Excess, c.Seen, c.Busiest = spreadOf(s.worst), spreadOf(s.excess), spreadOf(s.seen), spreadOf(s.busiest)
	s.worst, s.excess, s.seen, s.busiest = nil, nil, nil, nil
}
