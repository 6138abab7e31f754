package balancer

import (
	"sync/atomic"
	"time"
)

// Warm is what the next tier down is given while it is not needed, so that its addresses have a reputation on the day
// they are. The zero value gives it nothing.
type Warm struct {
	Share       float64 // of new sessions, 0 to 1
	MinPerHour  int     // sessions an hour at least, as far as that is at most every second session; 0: none
	MaxSessions int     // running ones at most; 0: no limit
}

// warming is how the sessions that keep the next tier warm are chosen: by error diffusion, as a printer makes grey of
// black dots. Each new session adds Share to what is owed; when a whole session is owed, one goes to the standby and pays it.
// So of any n sessions Share*n went there, give or take one, at any concurrency. What does not reach a relay is owed
// still.
type warming struct {
	Warm
	quota   quota         // of MaxSessions
	room    int64         // that it leaves
	tier    int           // to keep warm, by index; -1: none
	owed    float64       // sessions
	active  int           // running ones
	next    time.Time     // when one is due for MinPerHour's sake
	skipped bool          // the session before was not one of them
	spare   int           // sessions that do not go there, after one that failed
	total   atomic.Uint64 // that were established
}

const (
	owedMost  = 2  // a standby that was away is not paid back with a burst
	owedLeast = -1 // nor does a floor that was met at night keep it from the share of the day
)

// wanted tells whether the new session should go to the warm tier, and counts it among the new ones.
func (w *warming) wanted(now time.Time) bool {
	if w.Share == 0 && w.MinPerHour == 0 {
		return false
	}
	w.owed = min(w.owed+w.Share, owedMost)
	if w.tier < 0 || int64(w.active) >= w.room {
		w.owed = min(w.owed, 1)
		return false
	}
	if w.spare > 0 {
		w.spare--
		return false
	}
	if w.owed >= 1-tiny {
		return true
	}
	if w.MinPerHour > 0 && w.skipped && !now.Before(w.next) {
		return true
	}
	w.skipped = true
	return false
}

// give counts a session that was given to the warm tier.
func (w *warming) give(now time.Time, balancers int) {
	w.owed = max(w.owed-1, owedLeast)
	w.active++
	w.skipped = false
	if w.MinPerHour == 0 {
		return
	}
	// From when it was due, not from now: else it would always be a little late. But no debt is kept of a quiet hour.
	gap := w.gap()
	w.next = w.next.Add(gap)
	if w.next.Before(now) {
		w.next = now.Add(gap)
	}
	if latest := now.Add(w.ahead(balancers)); w.next.After(latest) {
		w.next = latest
	}
}

// refund takes back one that did not reach its relay: it is owed still, but the next ones are spared. A standby that is ill, and
// not yet known to be, must not be met by every session; trying it at twice the pace makes up for every second attempt.
func (w *warming) refund() {
	w.owed = min(w.owed+1, owedMost)
	w.spare = w.sparing()
	if w.MinPerHour > 0 {
		w.next = w.next.Add(-w.gap())
	}
}

// gap is the time from one session to the next that MinPerHour, above 0, asks for.
func (w *Warm) gap() time.Duration { return time.Hour / time.Duration(w.MinPerHour) }

// sparing is how many sessions are spared after one that failed.
func (w *warming) sparing() int {
	if w.Share > 0 {
		return int(0.5 / w.Share)
	}
	return 1
}
