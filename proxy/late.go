package proxy

import (
	"sync/atomic"
	"time"
)

// lateFrom is what a loop may be late without a word: of mail nobody would
// notice, and the kernel rounds a timer up by a millisecond.
const lateFrom = 5 * time.Millisecond

// Lateness is how often event loops came round late, and by how much: because a
// turn took so long, or because the machine did not run a loop when it was due.
// Sessions of that loop waited meanwhile. What is late by less than 5 ms is not
// counted.
type Lateness struct {
	Times  int64                   // in all
	Sum    time.Duration           // of all
	Within map[time.Duration]int64 // times that it was at most so much
}

// lateness counts for all loops. It is written only by a loop that is late.
type lateness struct {
	sum   atomic.Int64
	times [numLateBounds + 1]atomic.Int64 // by the first bound that holds; the last: none does
}

const numLateBounds = 9

func lateBounds() [numLateBounds]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms, time.Second, 2500 * ms, 5 * time.Second}
}

func (c *lateness) add(by time.Duration) {
	bounds := lateBounds()
	i := 0
	for i < len(bounds) && by > bounds[i] {
		i++
	}
	c.times[i].Add(1)
	c.sum.Add(int64(by))
}

func (c *lateness) read() Lateness {
	l := Lateness{Sum: time.Duration(c.sum.Load()), Within: map[time.Duration]int64{}}
	for i, bound := range lateBounds() {
		l.Times += c.times[i].Load()
		l.Within[bound] = l.Times
	}
	l.Times += c.times[numLateBounds].Load()
	return l
}

// overdue counts that the loop came round so much later than it was due, if that is
// worth a word: the loop that is not pays for a comparison.
func (l *loop) overdue(by time.Duration) {
	if by > lateFrom {
		l.server.counts.late.add(by)
	}
}
