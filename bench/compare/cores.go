package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"smtplb/bench/compare/proc"
	"smtplb/bench/result"
)

// coreCase is a number of cores for a balancer.
type coreCase struct {
	id     string // 1, 2, all
	cores  int
	each   []proc.CPUs // of each balancer: there may be two of them side by side
	load   proc.CPUs
	shared bool // the load runs on the balancers' CPUs too
}

// all are the cores of all balancers.
func (c coreCase) all() float64 { return float64(c.cores * len(c.each)) }

// loadPerCore is how many CPUs the load must have for each of the balancer's to
// keep it busy.
const loadPerCore = 2

// coreCases are those that this machine has the CPUs for. Where the load does
// not get enough of its own for two cores, it runs on the balancers'. What a
// session costs then depends on how busy the machine is, and two CPUs may well be
// one core's. So that one core has the same company as two have, it is measured
// with two balancers, a CPU each, side by side.
func coreCases(available, balancer, load proc.CPUs) []coreCase {
	shared := len(available) < 2 || len(balancer) < 2 || len(load) < 2*loadPerCore
	// The balancer's CPUs first, then whatever there is.
	order := append(slices.Clone(balancer), available.Without(balancer)...)
	counts := []int{1, 2}
	if most := len(balancer); most > 2 {
		counts = append(counts, most)
	}
	var cases []coreCase
	for k, n := range counts {
		if n > len(order) {
			continue
		}
		c := coreCase{id: fmt.Sprint(n), cores: n, each: []proc.CPUs{order[:n].Union(nil)}, load: load}
		if k == 2 {
			c.id = "all"
		}
		if c.shared = shared || len(load) < n*loadPerCore; c.shared {
			c.load = c.each[0]
		}
		if c.shared && n == 1 && len(order) > 1 {
			c.each = []proc.CPUs{order[:1], order[1:2]}
			c.load = order[:2].Union(nil)
		}
		cases = append(cases, c)
	}
	return cases
}

func (l *lab) coreCases() []coreCase {
	return coreCases(l.available, l.options.BalancerCPUs, l.options.LoadCPUs)
}

func (c coreCase) title() string {
	switch {
	case c.id == "all":
		return fmt.Sprintf("all %d cores", c.cores)
	case c.cores == 1:
		return "1 core"
	default:
		return fmt.Sprintf("%d cores", c.cores)
	}
}

// where says what runs on which CPUs.
func (c coreCase) where() string {
	if len(c.each) == 1 {
		return fmt.Sprintf("the balancer with %s on CPUs %s", workers(c.cores), c.each[0])
	}
	var cpus []string
	for _, e := range c.each {
		cpus = append(cpus, e.String())
	}
	return fmt.Sprintf("%d balancers side by side, each with %s on CPU %s, so that the machine is as busy as with one on both; what one carries",
		len(c.each), workers(c.cores), strings.Join(cpus, " and "))
}

func workers(n int) string {
	if n == 1 {
		return "one worker"
	}
	return fmt.Sprintf("%d workers", n)
}

// coreSamples are what was seen in one case.
type coreSamples struct {
	rate     *samples // sessions a second, measured
	capacity *samples // cores by CPU seconds per session
	busy     *samples // the part of the cores' time that the balancer used
}

func (l *lab) coresSeconds() float64 {
	return float64(len(l.coreCases())) * l.forProxies(min(coresRounds, l.options.Rounds), coresSample)
}

const (
	coresSample = 2.5 // seconds, about
	coresRounds = 3   // at most
)

func runCores(ctx context.Context, l *lab) error {
	relays, err := listenOn(len(l.available), plainRelays())
	if err != nil {
		return err
	}
	defer relays.close()
	rounds := min(coresRounds, l.options.Rounds)
	cases := l.coreCases()
	if len(cases) < 2 {
		l.note("cores: this machine has one CPU, so that two cores could not be measured.")
	}
	seen := map[string]coreSamples{}
	var all []variant
	of := map[string]coreCase{} // by the variant's key
	for _, c := range cases {
		seen[c.id] = coreSamples{newSamples(rounds), newSamples(rounds), newSamples(rounds)}
		for _, v := range l.proxies(relays.list) {
			v.key, v.site.Workers, v.cpus = v.peer.name+" on "+c.title(), c.cores, c.each[0]
			of[v.key] = c
			all = append(all, v)
		}
	}
	l.rounds(ctx, "cores", rounds, l.quicker(coresSample), all, func(ctx context.Context, v variant, i *instance, round int) error {
		c := of[v.key]
		return l.beside(ctx, v, i, c.each[1:], func(side []*instance) error {
			return l.onLoadCPUs(c.load, func() error { return l.saturated(ctx, v, side, c, seen[c.id], round) })
		})
	})
	for _, c := range cases {
		l.reportCores(c, seen[c.id])
	}
	if len(cases) >= 2 {
		l.reportScale(cases[0], cases[1], seen[cases[0].id], seen[cases[1].id])
	}
	return nil
}

// beside starts the same balancer on other CPUs for the length of f, which gets
// all of them.
func (l *lab) beside(ctx context.Context, v variant, first *instance, each []proc.CPUs, f func([]*instance) error) error {
	all := []*instance{first}
	for _, cpus := range each {
		next, err := v.peer.start(ctx, v.site, cpus)
		if err != nil {
			return err
		}
		defer next.stop() //nolint:errcheck,gocritic // there is one at most; what it says, the first one says too
		all = append(all, next)
	}
	return f(all)
}

// onLoadCPUs has the load on other CPUs for the length of f.
func (l *lab) onLoadCPUs(cpus proc.CPUs, f func() error) error {
	if slices.Equal(cpus, l.options.LoadCPUs) {
		return f()
	}
	undo, err := proc.PinSelf(cpus)
	if err != nil {
		return err
	}
	err = f()
	if back := undo(); err == nil {
		err = back
	}
	return err
}

// saturated runs more clients than the balancers can keep up with, if the load
// has the CPUs for that.
func (l *lab) saturated(ctx context.Context, v variant, side []*instance, c coreCase, to coreSamples, round int) error {
	cfg := clients(side[0], 0)
	for _, other := range side[1:] {
		cfg.Targets = append(cfg.Targets, clients(other, 0).Targets...)
	}
	cfg.Concurrency = saturation * int(c.all())
	if err := l.warm(ctx, cfg); err != nil {
		return err
	}
	cfg.Duration = l.amounts.cores
	var run *result.Run
	used, err := cpuOf(side, func() (err error) {
		run, err = send(ctx, cfg)
		return err
	})
	if err != nil {
		return err
	}
	l.failures("cores", v, run)
	name := v.peer.name
	to.rate.set(name, round, run.Sessions.PerS/float64(len(side)))
	to.capacity.set(name, round, float64(c.cores)*sessionsOK(run)/used.Seconds())
	to.busy.set(name, round, used.Seconds()/run.DurationS/c.all())
	return nil
}

// busyEnough is the part of its cores' time that a balancer must have used for
// the rate to be its own limit.
const busyEnough = 0.95

// limited tells whether what was measured is the limit of the peers, not of the
// load.
func (s coreSamples) limited(c coreCase, peers []*peer) bool {
	return !c.shared && !slices.ContainsFunc(peers, func(p *peer) bool { return s.busy.has(p.name) && s.busy.median(p.name) < busyEnough })
}

const derived = "Derived, since the load leaves the balancer too little of these CPUs to show it: cores, " +
	"divided by the CPU seconds per session measured with as many workers."

func (l *lab) reportCores(c coreCase, s coreSamples) {
	group := "Sessions per second"
	rate := result.Measure{
		ID: "rate_" + c.id, Title: "Sessions per second with " + c.title(), Unit: "1/s", More: true, Group: group,
		How:   fmt.Sprintf("Closed model, %d connections for each core, short sessions, %v a round; %s, the load on %s.", saturation, l.amounts.cores.Round(time.Second/10), c.where(), c.load),
		Cells: s.rate.cells(l.peers, 1),
	}
	if s.limited(c, l.peers) {
		l.measure(rate)
		return
	}
	l.measure(result.Measure{
		ID: "capacity_" + c.id, Title: "Sessions per second that " + c.title() + " could carry", Unit: "1/s", More: true,
		Group: group, How: rate.How, Note: derived, Cells: s.capacity.cells(l.peers, 1),
	})
	rate.Group = "Sessions per second, balancer and load together"
	rate.Title += ", together with the load"
	rate.How += " The machine is the limit, not the balancer."
	l.measure(rate)
}

// reportScale says what a second core brings.
func (l *lab) reportScale(one, two coreCase, first, second coreSamples) {
	a, b, caveat := first.rate, second.rate, ""
	if !first.limited(one, l.peers) || !second.limited(two, l.peers) {
		a, b = first.capacity, second.capacity
		caveat = "Of the derived rates."
	}
	scale := b.over(a)
	l.measure(result.Measure{
		ID: "scale", Title: "Sessions per second, 2 cores over 1", Unit: "x", More: true,
		How:   "The ratio of the sessions per second with 2 cores to those with 1, round by round.",
		Cells: scale.cells(l.peers, 1),
		Bar: judge(fmt.Sprintf("at least %.1f (%s)", barScale, perRound), scale.median(smtplb),
			func(got float64) bool { return got >= barScale }),
		Note: caveat,
	})
}
