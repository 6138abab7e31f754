package sim

import (
	"math"

	"smtplb/balancer"
)

// warmth is how much of a balancer's mail went to the standby though that was not needed. Only sessions that might have
// gone there to keep it warm count: those that began while their own site was in use and a relay of the standby was up, and
// that found a relay.
type warmth struct {
	sessions int64
	kept     int64   // of those, carried by the standby to keep it warm
	helped   int64   // of those, carried by it because relays of their own site had failed them
	window   float64 // of warmWindow of them in a row, by how much the share was off at worst
	windows  int64   // so many such rows there were
}

// warmWindow is over how many sessions in a row the share is to be right, not only over the day.
const warmWindow = 200

// What became of a session that might have kept the standby warm.
const (
	warmOpen = iota // it found no relay, or none yet
	warmHome        // not given to the standby for warmth's sake
	warmAway        // so given, and carried

	notWarmable = -1
)

// tiering hears that new sessions go to another tier.
func (d *day) tiering(c balancer.TierChange) {
	d.tier = c.To
	d.result.moves.tiered(d.at, c.To)
}

// warmNext gives a session that begins its place among those that might keep the standby warm, if it is one of them.
func (d *day) warmNext() int {
	if d.tier != 0 || d.ledger.usable[1] == 0 {
		return notWarmable
	}
	d.warmth = append(d.warmth, warmOpen)
	return len(d.warmth) - 1
}

// warmEnds notes that such a session found a relay.
func (d *day) warmEnds(place int, kept bool) {
	d.warmth[place] = warmHome
	if kept {
		d.warmth[place] = warmAway
	}
}

// count adds the day up. The sessions are in the order in which the balancer chose for them, whatever their relays took.
func (w *warmth) count(fates []uint8, configured float64) {
	var last [warmWindow]bool
	in := 0 // how many of last are kept
	for _, fate := range fates {
		if fate == warmOpen {
			continue
		}
		kept, place := fate == warmAway, w.sessions%warmWindow
		w.sessions++
		if last[place] {
			in--
		}
		last[place] = kept
		if kept {
			in++
			w.kept++
		}
		if w.sessions >= warmWindow {
			w.windows++
			w.window = max(w.window, math.Abs(float64(in)/warmWindow-configured))
		}
	}
}
