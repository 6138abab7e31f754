package source

import (
	"math/rand/v2"
	"time"
)

// schedule tells when sessions are due, since the begin of the run. It depends
// on its arguments alone.
type schedule struct {
	rate   float64
	random *rand.Rand // nil: evenly spaced
	n      int64
	at     float64 // seconds
}

func newSchedule(rate float64, poisson bool, seed uint64) *schedule {
	s := &schedule{rate: rate}
	if poisson {
		s.random = rand.New(rand.NewPCG(seed, 0x706f6973736f6e))
	}
	return s
}

// next is the next time that a session is due; never before the one before. An
// even schedule begins with 0 and does not drift: it is n/rate, not a sum. The
// gaps of a Poisson process are exponential.
func (s *schedule) next() time.Duration {
	if s.random == nil {
		s.at = float64(s.n) / s.rate
		s.n++
	} else {
		s.at += s.random.ExpFloat64() / s.rate
	}
	return time.Duration(s.at * float64(time.Second))
}
