package sim

import (
	"slices"
	"time"
)

// loads is the whole fleet's load by relay and bucket, in hundredths of a second of sessions: whole numbers, so that the sum
// does not depend on the order in which days are added. One number holds 700,000 sessions at once for a bucket, more than
// MaxBalancers' servers can have.
type loads struct {
	got  []uint32 // what the relays carried
	owed []uint32 // what weight alone would have given them
}

const loadUnit = 0.01 // seconds

func newLoads(relays int) *loads {
	return &loads{got: make([]uint32, relays*buckets), owed: make([]uint32, relays*buckets)}
}

// add adds one balancer's day.
func (l *loads) add(p *plan, day *ledger) {
	for i, number := range p.pool {
		at := int(number) * buckets
		sum(l.got[at:at+buckets], day.load[i])
		sum(l.owed[at:at+buckets], day.owed[i])
	}
}

func sum(to []uint32, seconds []float64) {
	for b, s := range seconds {
		to[b] += uint32(s/loadUnit + 0.5)
	}
}

// sessionsAt is how many sessions a relay ran in a bucket, on average over its time.
func sessionsAt(load []uint32, relay, b int) float64 {
	return float64(load[relay*buckets+b]) * loadUnit / bucket.Seconds()
}

// busy is how many sessions a relay must run by its site's mean for its load to be compared with it. Below, a relay with one
// session too many is "twice the mean", and says nothing.
const busy = 2

// imbalances are the loads of relays in one phase, each bucket apart.
type imbalances struct {
	toMean  []float64 // a relay's load by weight, as a multiple of that of all relays of its site that work
	perfect []float64 // the same of the loads that weight alone would give
	toOwed  []float64 // a relay's load, as a multiple of what weight alone would give
	worst   peak      // where toMean is highest
}

// peak is a place and a time.
type peak struct {
	relay int
	at    time.Duration
	value float64
}

// imbalance compares all relays, in each bucket, with the mean of their site. A relay that fails at any time of a bucket is not
// counted in it, neither as one of its site nor by itself.
func (l *loads) imbalance(c *Config, relays []relay) [phases]imbalances {
	var found [phases]imbalances
	got, weight := make([]float64, c.Sites), make([]float64, c.Sites)
	for b := range buckets {
		from, to := time.Duration(b)*bucket, time.Duration(b+1)*bucket
		clear(got)
		clear(weight)
		for i := range relays {
			if r := &relays[i]; !failsWithin(r.faults, from, to) {
				got[r.site] += sessionsAt(l.got, i, b)
				weight[r.site] += float64(r.weight)
			}
		}
		in := &found[c.phaseAt(from)]
		for i := range relays {
			r := &relays[i]
			mean := float64(r.weight) * got[r.site] / weight[r.site]
			if failsWithin(r.faults, from, to) || mean < busy {
				continue
			}
			in.compare(peak{i, from, sessionsAt(l.got, i, b) / mean}, sessionsAt(l.owed, i, b)/mean)
		}
	}
	return found
}

func (m *imbalances) compare(toMean peak, perfect float64) {
	m.toMean = append(m.toMean, toMean.value)
	m.perfect = append(m.perfect, perfect)
	if perfect > 0 {
		m.toOwed = append(m.toOwed, toMean.value/perfect)
	}
	if toMean.value > m.worst.value {
		m.worst = toMean
	}
}

func failsWithin(faults []fault, from, to time.Duration) bool {
	return slices.ContainsFunc(faults, func(f fault) bool { return f.from < to && f.to > from })
}
