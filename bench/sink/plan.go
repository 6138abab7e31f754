package sink

import (
	"sync/atomic"
	"time"
)

// armed is a fault in force. Safe for concurrent use.
type armed struct {
	Fault
	schedule schedule
	seed     uint64
	drawn    atomic.Uint64 // how often it could have struck
	left     atomic.Int64  // of Times
	injected atomic.Int64  // how often it did
	begun    atomic.Int64  // at connect: how often it came on
}

// plan is a set of faults in force, from start on. It is immutable but for the
// counts in its faults.
type plan struct {
	start  time.Time
	all    []*armed   // in the script's order
	relays [][]*armed // by relay, those that concern it, in the script's order
	points []map[Point][]*armed
}

// newPlan arms faults that have been checked.
func newPlan(faults []Fault, relays []Relay, seed uint64, start time.Time) *plan {
	p := &plan{start: start, relays: make([][]*armed, len(relays)), points: make([]map[Point][]*armed, len(relays))}
	for i, f := range faults {
		a := &armed{
			Fault:    f,
			schedule: schedule{f.At, f.For, f.Every},
			seed:     mix(seed + uint64(i)),
		}
		a.left.Store(f.Times)
		p.all = append(p.all, a)
		for r, relay := range relays {
			if f.Relay == "" || f.Relay == relay.Name {
				p.relays[r] = append(p.relays[r], a)
			}
		}
	}
	for r, own := range p.relays {
		for _, a := range own {
			where := []Point{a.Point}
			if a.Point == PointCommand {
				where = commands()
			}
			if p.points[r] == nil {
				p.points[r] = make(map[Point][]*armed)
			}
			for _, point := range where {
				p.points[r][point] = append(p.points[r][point], a)
			}
		}
	}
	return p
}

// draw returns the fault that strikes now at a point of a relay, or nil.
func (p *plan) draw(relay int, point Point, now func() time.Time) *armed {
	here := p.points[relay]
	if here == nil {
		return nil
	}
	candidates := here[point]
	if len(candidates) == 0 {
		return nil
	}
	t := now().Sub(p.start)
	for _, a := range candidates {
		if a.schedule.on(t) && a.strikes() {
			return a
		}
	}
	return nil
}

// strikes decides by lot. What the n-th lot says depends on the seed and n
// alone, so that among the first n there are always as many.
func (a *armed) strikes() bool {
	if a.Probability != 0 && a.Probability != 1 {
		lot := mix(a.seed + a.drawn.Add(1)*0x9E3779B97F4A7C15)
		if float64(lot>>11)/(1<<53) >= a.Probability {
			return false
		}
	}
	return a.Times == 0 || a.left.Add(-1) >= 0
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood, "Fast
// splittable pseudorandom number generators", 2014).
func mix(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// state returns the fault at connect that holds for a relay at t, or nil, and
// when that changes next.
func (p *plan) state(relay int, t time.Duration) (state *armed, next time.Duration) {
	next = never
	if p.points[relay] == nil {
		return nil, next
	}
	for _, a := range p.points[relay][PointConnect] {
		next = min(next, a.schedule.next(t))
		if state == nil && a.schedule.on(t) {
			state = a
		}
	}
	return state, next
}
