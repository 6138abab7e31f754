package sim

import "time"

// bucket is the grain of time in which loads are told apart.
const (
	bucket  = time.Minute
	buckets = int(wholeDay / bucket)
)

const tiers = 2 // its own site, the standby

// ledger counts what each relay of one pool was given, beside what it would have been given by weight alone: had every session
// been divided among the relays of its tier that the balancer held for up at the time, each part by weight. In that measure a
// relay is owed nothing for the time it was down, and the others are owed its part.
//
// A session adds 1/W to its tier's virtual count, W being the weight that is up; a relay's fair count grows by its weight
// times that. So it need be worked out only when something comes up, goes down, or is read.
type ledger struct {
	weight []float64 // by index in the pool, as all slices of this length
	tier   []int
	up     []bool
	usable [tiers]float64 // the weight that is up

	phase   phase
	virtual [tiers]float64   // sessions by weight since the last settle
	spread  [tiers][]float64 // session seconds by weight since then, by bucket
	from    int              // the buckets of spread that are not zero
	until   int

	got  [phases][]int64   // sessions
	fair [phases][]float64 // sessions
	load [][]float64       // session seconds, by relay and bucket
	owed [][]float64       // the fair part of all load, likewise
}

func newLedger(weight []float64, tier []int) *ledger {
	l := &ledger{weight: weight, tier: tier, up: make([]bool, len(weight)), from: buckets}
	for t := range l.spread {
		l.spread[t] = make([]float64, buckets)
	}
	for p := range l.got {
		l.got[p] = make([]int64, len(weight))
		l.fair[p] = make([]float64, len(weight))
	}
	for i := range weight {
		l.load = append(l.load, make([]float64, buckets))
		l.owed = append(l.owed, make([]float64, buckets))
		l.up[i] = true
		l.usable[tier[i]] += weight[i]
	}
	return l
}

// turn notes that a relay went down or came up.
func (l *ledger) turn(index int, up bool) {
	if l.up[index] == up {
		return
	}
	l.settle()
	l.up[index] = up
	// Summed anew, not added to: rounding must not leave a weight where nothing is up.
	t := l.tier[index]
	l.usable[t] = 0
	for i := range l.up {
		if l.up[i] && l.tier[i] == t {
			l.usable[t] += l.weight[i]
		}
	}
}

// session notes a session that a relay greeted well, and how long it lasts. What of it is after midnight is left out.
func (l *ledger) session(p phase, at time.Duration, index int, length time.Duration) {
	if p != l.phase {
		l.settle()
		l.phase = p
	}
	l.got[p][index]++
	t := l.tier[index]
	alone := !l.up[index] // went down while it was asked: nobody else has a claim to this session
	if alone {
		l.fair[p][index]++
	} else {
		l.virtual[t] += 1 / l.usable[t]
	}
	end := min(at+length, wholeDay)
	for at < end {
		b := int(at / bucket)
		edge := min(time.Duration(b+1)*bucket, end)
		seconds := (edge - at).Seconds()
		l.load[index][b] += seconds
		if alone {
			l.owed[index][b] += seconds
		} else {
			l.spread[t][b] += seconds / l.usable[t]
			l.from, l.until = min(l.from, b), max(l.until, b+1)
		}
		at = edge
	}
}

// settle gives each relay its fair part of the sessions since the last time.
func (l *ledger) settle() {
	for i, w := range l.weight {
		if !l.up[i] {
			continue
		}
		l.fair[l.phase][i] += w * l.virtual[l.tier[i]]
		spread := l.spread[l.tier[i]]
		for b := l.from; b < l.until; b++ {
			l.owed[i][b] += w * spread[b]
		}
	}
	for t := range l.spread {
		l.virtual[t] = 0
		if l.from < l.until {
			clear(l.spread[t][l.from:l.until])
		}
	}
	l.from, l.until = buckets, 0
}

// forgetLoads lets go of what has been added to the fleet's.
func (l *ledger) forgetLoads() {
	l.load, l.owed, l.spread = nil, nil, [tiers][]float64{}
}
