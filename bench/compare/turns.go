package compare

import (
	"context"
	"runtime"
	"time"
)

// turnwise is a measurement for which all variants are there at one time, freshly
// started in each round, and take turns of a fraction of a second: what disturbs
// the machine lasts longer, and meets all alike.
type turnwise struct {
	name    string
	rounds  int
	bursts  int     // how often each has its turn in a round
	seconds float64 // about, for each variant in a round
	all     []variant

	warm  func(v variant, i *instance) error // before its first turn in a round
	burst func(v variant, i *instance, round, burst int) error
}

// inTurns runs a measurement. What goes wrong with one variant is noted; it has no
// turn any more in that round, and the others go on.
func (l *lab) inTurns(ctx context.Context, m turnwise) {
	for round := range m.rounds {
		if ctx.Err() != nil {
			break
		}
		l.progress.next(time.Now(), m.seconds*float64(len(m.all)), "%s, round %d of %d", m.name, round+1, m.rounds)
		l.round(ctx, m, round)
	}
	l.progress.end()
}

func (l *lab) round(ctx context.Context, m turnwise, round int) {
	here := make([]*instance, len(m.all)) // nil: it has failed
	wrong := func(k int, err error) {
		if ctx.Err() == nil {
			l.note("%s, round %d: %s: %v", m.name, round+1, m.all[k].key, err)
		}
	}
	end := func(k int, err error) {
		i := here[k]
		here[k] = nil
		if failed := i.failure(); failed != nil {
			err = failed // says more
		}
		if stopped := i.stop(); err == nil {
			err = stopped
		}
		if err != nil {
			wrong(k, err)
		}
	}
	for k, v := range m.all {
		i, err := v.peer.start(ctx, v.site, v.cpus)
		if err != nil {
			wrong(k, err)
			continue
		}
		here[k] = i
	}
	runtime.GC() // so that each round begins with the load in the same state
	turn := func(k int, f func(variant, *instance) error) {
		if here[k] == nil || ctx.Err() != nil {
			return
		}
		if err := f(m.all[k], here[k]); err != nil {
			end(k, err)
		}
	}
	for k := range m.all {
		turn(k, m.warm)
	}
	for burst, order := range turns(m.bursts, len(m.all)) {
		for _, place := range order {
			k := (place + round) % len(m.all)
			turn(k, func(v variant, i *instance) error { return m.burst(v, i, round, burst) })
		}
	}
	for k := range m.all {
		if here[k] != nil {
			end(k, nil)
		}
	}
}
