package report

import (
	"math"
	"slices"

	"smtplb/bench/result"
)

// mostBuckets is how many points a plot over time has: more than its column has
// room for, on a wide screen, would only be noise.
const mostBuckets = 180

// longest is no limit for a run, but for what a damaged file may say: 30 years.
const longest = 1e9

// bucket is one or several seconds of a run in a row, one point of a plot.
type bucket struct {
	from, to                   float64 // seconds since the start
	sessions, messages, volume rate    // volume in MB
	failures                   int64
	open                       int64 // the most at the end of a second
	// The median of the seconds' medians, and the worst second's p99: percentiles
	// of percentiles, as the samples are not kept. NaN where there was none.
	greetingP50, greetingP99 float64
	messageP50, messageP99   float64
}

// rate is what happened in a second: on average, in the slowest and in the
// fastest second of a bucket.
type rate struct{ mean, low, high float64 }

// timeline groups the seconds of a run into at most most buckets of equal,
// round length. What a run ends with may be shorter than a second: less than
// half of one is counted to the second before, as a rate over so short a time
// says nothing.
func timeline(seconds []result.Second, most int) (buckets []bucket, each int) {
	pieces := piecesOf(seconds)
	each = roundSeconds((len(pieces) + most - 1) / max(most, 1))
	for group := range slices.Chunk(pieces, each) {
		buckets = append(buckets, merge(group))
	}
	return buckets, each
}

// roundSeconds is the next number of seconds that divides a minute or an hour
// evenly, so that the edges of buckets are round times.
func roundSeconds(n int) int {
	for _, round := range []int{1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800} {
		if n <= round {
			return round
		}
	}
	return (n + 3599) / 3600 * 3600
}

// piece is a second with its beginning.
type piece struct {
	from float64
	result.Second
}

func (p piece) length() float64 { return p.AtS - p.from }

// piecesOf drops seconds without a proper time and merges a short last one.
func piecesOf(seconds []result.Second) []piece {
	var pieces []piece
	from := 0.0
	for _, s := range seconds {
		if !finite(s.AtS) || s.AtS <= from || s.AtS > longest {
			continue
		}
		pieces = append(pieces, piece{from, s})
		from = s.AtS
	}
	n := len(pieces)
	if n < 2 || pieces[n-1].length() >= 0.5 {
		return pieces
	}
	before, last := &pieces[n-2], pieces[n-1]
	before.AtS, before.Open = last.AtS, last.Open
	before.Sessions += last.Sessions
	before.Messages += last.Messages
	before.Bytes += last.Bytes
	before.Failures += last.Failures
	before.GreetingP99 = math.Max(before.GreetingP99, last.GreetingP99)
	before.MessageP99 = math.Max(before.MessageP99, last.MessageP99)
	return pieces[:n-1]
}

// merge makes one bucket of pieces, at least one, that follow each other.
func merge(pieces []piece) bucket {
	b := bucket{
		from:     pieces[0].from,
		to:       pieces[len(pieces)-1].AtS,
		sessions: rateOf(pieces, func(s result.Second) float64 { return float64(s.Sessions) }),
		messages: rateOf(pieces, func(s result.Second) float64 { return float64(s.Messages) }),
		volume:   rateOf(pieces, func(s result.Second) float64 { return float64(s.Bytes) / 1e6 }),
	}
	for _, p := range pieces {
		b.failures += p.Failures
		b.open = max(b.open, p.Open)
	}
	b.greetingP50 = middle(came(pieces, func(s result.Second) float64 { return s.GreetingP50 }))
	b.greetingP99 = largest(came(pieces, func(s result.Second) float64 { return s.GreetingP99 }))
	b.messageP50 = middle(came(pieces, func(s result.Second) float64 { return s.MessageP50 }))
	b.messageP99 = largest(came(pieces, func(s result.Second) float64 { return s.MessageP99 }))
	return b
}

func rateOf(pieces []piece, of func(result.Second) float64) rate {
	r := rate{low: math.Inf(1)}
	for _, p := range pieces {
		n := of(p.Second)
		r.mean += n
		r.low, r.high = math.Min(r.low, n/p.length()), math.Max(r.high, n/p.length())
	}
	r.mean /= pieces[len(pieces)-1].AtS - pieces[0].from
	return r
}

// came are the values that are there: a latency of 0 means none came.
func came(pieces []piece, of func(result.Second) float64) []float64 {
	var values []float64
	for _, p := range pieces {
		if v := of(p.Second); finite(v) && v > 0 {
			values = append(values, v)
		}
	}
	return values
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func largest(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return slices.Max(values)
}
