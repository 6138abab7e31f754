package sim

import (
	"math"
	"time"

	"smtplb/balancer"
)

// watch is the checks of one relay by one balancer, at the pace of probes.Scheduler: a grid of turns while the relay's state
// is in no doubt, fast while it is, and hurried by a session that failed.
//
// Of the checks in a day nearly all find a relay well that was well before and that failed no session since. Such a check
// changes nothing in the pool, so while a relay is settled like that its watch sleeps: a failed session wakes it, and so does
// the start of the relay's fault, and any change in the pool, which a check may be the first to see the end of. All of them
// find it at the turn where it would have been.
type watch struct {
	key     uint64        // of its jitter
	phase   time.Duration // where in the interval its turns are
	due     time.Duration // the next check; while asleep the one after the last that was made
	rested  time.Duration // when the next check may come at the earliest
	began   time.Duration // the check under way, or the last one
	running bool
	asleep  bool
	hurry   bool // a session failed while a check was under way

	outcome balancer.Outcome // of the check under way
}

const jitter = 0.05 // of an interval, to either side

// newWatch is a watch of a relay that was well all of yesterday. Seats are the relays' indexes: as in the scheduler, the golden
// ratio spreads them over the interval.
func newWatch(seed, stream uint64, seat int, shift float64) watch {
	_, phase := math.Modf(shift + float64(seat)/math.Phi)
	w := watch{
		key:   mix(mix(seed^mix(stream)) + uint64(seat)),
		phase: time.Duration(phase * float64(probeInterval)), asleep: true,
		rested: -fastInterval,
	}
	w.due = w.turn(0)
	return w
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of x decides about every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// blur is within 5 % of the interval about 0, and the same whenever it is asked for the same thing.
func (w *watch) blur(interval time.Duration, what uint64) time.Duration {
	unit := float64(mix(w.key^what)>>11) / (1 << 53)
	return time.Duration(jitter * (2*unit - 1) * float64(interval))
}

// turn is the time of the nth check of a settled relay.
func (w *watch) turn(n int) time.Duration {
	return w.phase + time.Duration(n)*probeInterval + w.blur(probeInterval, uint64(n))
}

// turnAfter is the first turn whose place in the grid is at least half an interval after a check that began then.
func (w *watch) turnAfter(began time.Duration) time.Duration {
	n := math.Ceil(float64(began+probeInterval/2-w.phase) / float64(probeInterval))
	return w.turn(max(int(n), 0))
}

// wake ends the sleep: the checks that were not made were passed. It is time for the first that is not past.
func (w *watch) wake(at time.Duration) {
	if w.due < at {
		n := max(int((at-w.phase)/probeInterval)-1, 0)
		for w.turn(n) < at {
			n++
		}
		w.due = w.turn(n)
		w.began = w.turn(n - 1)
		w.rested = w.began + fastInterval
	}
	w.asleep = false
}

// hasten brings the next check forward, as far as rest allows. If one is under way, that one ends first.
func (w *watch) hasten(at time.Duration) {
	if w.running {
		w.hurry = true
		return
	}
	if w.rested < w.due {
		w.due = max(w.rested, at)
	}
}

// result plans the next check when one is over; doubtful: after it the relay's state may change with the next ones. settled:
// that can wait for its turn.
func (w *watch) result(at time.Duration, doubtful bool) (settled bool) {
	w.running = false
	w.rested = at + fastInterval
	if doubtful {
		w.due = at + fastInterval + w.blur(fastInterval, mix(uint64(at)))
	} else {
		w.due = max(w.turnAfter(w.began), w.rested)
	}
	if w.hurry {
		w.hurry = false
		w.hasten(at)
		return false
	}
	return !doubtful
}
