package sim

import (
	"math"
	"slices"
	"time"
)

// Spread is a set of numbers by its middle, what all but one in a hundred stay below, and the worst. All are 0 where there is
// none.
type Spread struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Worst float64 `json:"worst"`
}

// spreadOf sorts the values, and reads the percentiles as nearest ranks.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	rank := func(percent int) float64 { return values[(len(values)*percent+99)/100-1] }
	return Spread{rank(50), rank(99), values[len(values)-1]}
}

// tierCount is one tier of one balancer in one phase: what its relays got, and what weight alone would have given them.
type tierCount struct {
	got  []int64
	fair []float64
}

// tierOf picks a tier out of a ledger.
func (l *ledger) tierOf(p phase, tier int) tierCount {
	var c tierCount
	for i := range l.tier {
		if l.tier[i] == tier {
			c.got = append(c.got, l.got[p][i])
			c.fair = append(c.fair, l.fair[p][i])
		}
	}
	return c
}

// sessions is how many the tier got.
func (c tierCount) sessions() (total int64) {
	for _, n := range c.got {
		total += n
	}
	return total
}

// furthestOff is by how many sessions the relay is off that is furthest off.
func (c tierCount) furthestOff() (off float64) {
	for i := range c.got {
		off = max(off, math.Abs(float64(c.got[i])-c.fair[i]))
	}
	return off
}

// enough is how many sessions must be counted before their shares say anything.
const enough = 100

// shareErrors are the balancers' errors in one tier and phase.
type shareErrors struct {
	sessions int64     // of all balancers that count
	share    []float64 // the furthest relay's error as a part of its tier's sessions, by balancer
	count    []float64 // the same in sessions
	few      int       // balancers with sessions, but not enough to count
}

func (e *shareErrors) add(c tierCount) {
	total := c.sessions()
	if total < enough {
		if total > 0 {
			e.few++
		}
		return
	}
	off := c.furthestOff()
	e.sessions += total
	e.share = append(e.share, off/float64(total))
	e.count = append(e.count, off)
}

// relayErrors are by what part of what weight alone would give them relays got too much or too little, over all balancers.
func relayErrors(got []int64, fair []float64) (errs []float64, few int) {
	for i := range got {
		if fair[i] < enough {
			few++
			continue
		}
		errs = append(errs, math.Abs(float64(got[i])-fair[i])/fair[i])
	}
	return errs, few
}

// warmErrors are by how much each balancer's share for the standby is off the configured one. Balancers with too few sessions
// are left out.
func warmErrors(configured float64, days []warmth) (errs []float64) {
	for _, w := range days {
		if w.sessions >= enough {
			errs = append(errs, math.Abs(share(w.kept, w.sessions)-configured))
		}
	}
	return errs
}

// share is part/whole, 0 of nothing.
func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// secondsOf are the times of what happened, a balancer each; what never did is left out.
func secondsOf(all []moves, what func(*moves) time.Duration) (seconds []float64) {
	for i := range all {
		if at := what(&all[i]); at != never {
			seconds = append(seconds, at.Seconds())
		}
	}
	return seconds
}
