package balancer

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Hedge bounds of Config.Hedge's auto.
const (
	hedgeLeast   = time.Second     // nobody is called late before
	hedgeUnknown = 8 * time.Second // for a relay whose habit is not known yet: above the 6 s of postscreen_greet_wait
	hedgeFactor  = 3               // times the 99th percentile

	habitEnough = 20   // greetings from which a habit is known
	habitRecent = 1024 // after as many, older ones count half
	habitFresh  = 16   // after as many, the percentile is looked up again
)

// habit is how long a relay's greetings take. It is a histogram of four buckets to each doubling, as in HdrHistogram, so a
// percentile is known to 25 %; it is written by several event loops without a lock, and a count that two of them lose to each
// other does not matter.
type habit struct {
	buckets [habitBuckets]atomic.Uint32
	count   atomic.Uint32 // since older ones were halved
	known   atomic.Int64  // the 99th percentile in ns; 0: not known yet
}

// habitBuckets reach from 1 ms to more than five minutes.
const habitBuckets = 80

// bucketOf returns the bucket of a duration: by its power of two in 1/4 ms and the two bits below.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0)/(250*time.Microsecond)) + 4
	log := bits.Len64(n) - 3
	return min(log*4+int(n>>log)-4, habitBuckets-1)
}

// ceilingOf is the largest duration of a bucket.
func ceilingOf(bucket int) time.Duration {
	log, rest := bucket/4, bucket%4
	return time.Duration((uint64(rest)+5)<<log-4) * 250 * time.Microsecond
}

// add takes in one greeting.
func (h *habit) add(d time.Duration) {
	h.buckets[bucketOf(d)].Add(1)
	n := h.count.Add(1)
	if n == habitEnough || n > habitEnough && n%habitFresh == 0 {
		h.known.Store(int64(h.p99()))
	}
	if n >= habitRecent {
		h.age()
	}
}

// p99 looks up the 99th percentile, as the upper end of its bucket.
func (h *habit) p99() time.Duration {
	var counts [habitBuckets]uint32
	var total uint32
	for i := range counts {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	above := total / 100 // so many may be above
	for i := habitBuckets - 1; i > 0; i-- {
		if counts[i] > above {
			return ceilingOf(i)
		}
		above -= counts[i]
	}
	return ceilingOf(0)
}

// age lets what was seen so far count half.
func (h *habit) age() {
	var total uint32
	for i := range h.buckets {
		half := h.buckets[i].Load() / 2
		h.buckets[i].Store(half)
		total += half
	}
	h.count.Store(max(total, habitEnough))
}

// forget makes the habit unknown again.
func (h *habit) forget() {
	for i := range h.buckets {
		h.buckets[i].Store(0)
	}
	h.count.Store(0)
	h.known.Store(0)
}

// patience is how long to wait for the next greeting before another relay is asked.
func (h *habit) patience() time.Duration {
	known := time.Duration(h.known.Load())
	if known == 0 {
		return hedgeUnknown
	}
	return max(hedgeFactor*known, hedgeLeast)
}
