package compare

import (
	"context"
	"fmt"
	"math"
	"time"

	"smtplb/bench/result"
)

// latencyStage is a step of a session whose latency is measured.
type latencyStage struct{ name, title string }

func latencyStages() []latencyStage {
	return []latencyStage{
		{"greeting", "until the greeting"},
		{"session", "of a whole session"},
	}
}

// percentile is one of those that are reported.
type percentile struct {
	id, name string
	of       func(result.Latency) float64
	bar      bool
}

func percentiles() []percentile {
	return []percentile{
		{"p50", "p50", func(l result.Latency) float64 { return l.P50MS }, false},
		{"p99", "p99", func(l result.Latency) float64 { return l.P99MS }, true},
		{"p999", "p99.9", func(l result.Latency) float64 { return l.P999MS }, false},
	}
}

func (l *lab) latencySeconds() float64 {
	return float64(l.options.Rounds*len(l.wanted((*peer).compared)))*l.latencyVisit() + l.quicker(3)
}

// latencyBursts are how many samples are taken of a peer in a round: what disturbs
// the machine for some milliseconds is all that a p99 sees of its sample, and most
// short samples meet none of it.
func (l *lab) latencyBursts() int {
	if l.options.Quick {
		return 1
	}
	return 8
}

// latencyVisit is about how long a peer has in a round, in seconds.
func (l *lab) latencyVisit() float64 {
	return l.quicker(amountsOf(false).latency.Seconds()*float64(l.latencyBursts()+1) + 0.7)
}

// mostWaiting sessions may be open at one time: at half load a fraction of that.
// A peer that is overrun is not waited for.
const mostWaiting = 2000

// runLatency has sessions begin at the same rate with every peer, whatever
// they take. What a peer adds is what it has beyond the direct way.
func runLatency(ctx context.Context, l *lab) error {
	relays, err := listen(plainRelays())
	if err != nil {
		return err
	}
	defer relays.close()
	reference, full, err := l.saturate(ctx, relays.list)
	if err != nil {
		return err
	}
	rate := math.Round(full / 2)

	bursts := l.latencyBursts()
	total := map[string]*samples{} // by stage and percentile
	for _, st := range latencyStages() {
		for _, p := range percentiles() {
			total[st.name+p.id] = newSamples(l.options.Rounds * bursts)
			total[st.name+p.id].block = bursts
		}
	}
	visit := func(i *instance) (*result.Run, error) {
		cfg := clients(i, 0)
		cfg.Rate, cfg.Duration, cfg.MaxOpen = rate, l.amounts.latency, mostWaiting
		return send(ctx, cfg)
	}
	l.inTurns(ctx, turnwise{
		name: "latency", rounds: l.options.Rounds, bursts: bursts, seconds: l.latencyVisit(),
		all: l.variants(l.site(relays.list), (*peer).compared),
		// A program that has only just been started meets its memory for the first time.
		warm: func(_ variant, i *instance) error {
			_, err := visit(i)
			return err
		},
		burst: func(v variant, i *instance, round, burst int) error {
			run, err := visit(i)
			if err != nil {
				return err
			}
			l.failures("latency", v, run)
			for _, st := range latencyStages() {
				latency, err := latencyOf(run, st.name)
				if err != nil {
					return err
				}
				for _, p := range percentiles() {
					total[st.name+p.id].set(v.key, round*bursts+burst, p.of(latency))
				}
			}
			return nil
		},
	})

	how := fmt.Sprintf("Open model, %.0f sessions a second, which is half of what %s reached on these CPUs with %d connections in the closed model; short sessions, %d times %v a round, in turn, after a warm-up. Latencies count from when a session was due.",
		rate, reference, saturation, bursts, l.amounts.latency)
	for _, st := range latencyStages() {
		for _, p := range percentiles() {
			l.added(st, p, total[st.name+p.id], how)
		}
	}
	return nil
}

// added reports what each peer adds to a latency, against the median of the
// direct way.
func (l *lab) added(st latencyStage, p percentile, total *samples, how string) {
	if !total.has(direct) {
		if st == latencyStages()[0] && p.id == "p50" {
			l.note("latency: the direct way was not measured, so that nothing can be said of what is added.")
		}
		return
	}
	added := total.above(total.median(direct), direct)
	m := result.Measure{
		ID:    fmt.Sprintf("latency_%s_%s", st.name, p.id),
		Title: fmt.Sprintf("Added latency %s, %s", st.title, p.name),
		Unit:  "ms", Group: "Added latency " + st.title,
		How:   fmt.Sprintf("%s Without a balancer: %.3f ms.", how, total.median(direct)),
		Cells: added.cells(l.peers, 1),
	}
	if p.bar && added.has(haproxy) {
		m.Bar = notAbove(added, haproxy, "what smtplb adds, less what haproxy adds", m.Unit)
	} else if p.bar {
		m.Note = "No bar: haproxy was not measured."
	}
	l.measure(m)
}

const saturation = 50 // connections that keep a balancer, or the load, busy

// saturate finds what one balancer carries in the closed model: HAProxy, or who
// is there in its place.
func (l *lab) saturate(ctx context.Context, relays []relay) (name string, perSecond float64, err error) {
	var p *peer
	for _, name := range []string{haproxy, nginx, smtplb, iocopy} {
		if p = l.peer(name); p != nil {
			break
		}
	}
	l.progress.next(time.Now(), l.quicker(3), "latency: what is half load? %s", p.name)
	v := variant{p.name, p, l.site(relays), l.options.BalancerCPUs[:1]}
	err = l.one(ctx, v, func(i *instance) error {
		cfg := clients(i, 0)
		cfg.Concurrency = saturation
		if err := l.warm(ctx, cfg); err != nil {
			return err
		}
		cfg.Duration = l.amounts.cores
		run, err := send(ctx, cfg)
		if err != nil {
			return err
		}
		l.failures("latency", v, run)
		perSecond = run.Sessions.PerS
		return nil
	})
	l.progress.end()
	return p.name, perSecond, err
}
