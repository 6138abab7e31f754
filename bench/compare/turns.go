package compare

import (
	"context"
	"runtime"
	"slices"
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

// order is who comes when in a burst. Of two bursts the second has the order of the
// first backwards; somebody else begins in the next two.
func (m *turnwise) order(round, burst int) []int {
	order := make([]int, len(m.all))
	for place := range order {
		order[place] = (place + round + burst/2) % len(order)
	}
	if burst%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// inTurns runs a measurement. What goes wrong with one variant is noted; it has no
// turn any more in that round, and the others go on.
func (l *lab) inTurns(ctx context.Context, m turnwise) {
	for round := range m.rounds {
		if ctx.Err() != nil {
			break
		}
		l.progress.next(time.Now(), m.seconds*float64(len(m.all)), "%s, round %d of %d", m.name, round+1, m.rounds)
		l.takeTurns(ctx, &m, round)
	}
	l.progress.end()
}

// takeTurns is one round.
func (l *lab) takeTurns(ctx context.Context, m *turnwise, round int) {
	wrong := func(err error) {
		if err != nil && ctx.Err() == nil {
			l.note("%s, round %d: %v", m.name, round+1, err)
		}
	}
	here := make([]*instance, len(m.all)) // nil: it has failed
	for k, v := range m.all {
		i, err := v.peer.start(ctx, v.site, v.cpus)
		if err != nil {
			wrong(err)
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
			wrong(m.all[k].end(here[k], err))
			here[k] = nil
		}
	}
	for k := range m.all {
		turn(k, m.warm)
	}
	for burst := range m.bursts {
		for _, k := range m.order(round, burst) {
			turn(k, func(v variant, i *instance) error { return m.burst(v, i, round, burst) })
		}
	}
	for k, i := range here {
		if i != nil {
			wrong(m.all[k].end(i, nil))
		}
	}
}
