package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// What Exchange does: MaxPerDomainOutboundConnections, SmtpMaxMessagesPerConnection, and the first glitch retry, which holds
// up the whole queue after a session that got nowhere.
const (
	connectionsPerServer  = 20
	messagesPerConnection = 20
	glitchRetry           = time.Minute
)

// A message's time is lognormal: half of them take less than the median, a few take minutes. The mean is 2.5 s.
const (
	messageMedian = 1.5 // seconds
	messageSigma  = 1.0
)

// hourly is how much mail there is in each hour of the day, relative to the others: an office's, with a lunch.
func hourly() [24]float64 {
	return [24]float64{
		0.25, 0.2, 0.2, 0.2, 0.25, 0.4, 0.9, 1.8, 2.6, 3.0, 2.9, 2.6,
		2.0, 2.4, 2.7, 2.6, 2.2, 1.5, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3,
	}
}

// arrivals are the times at which a balancer's servers have a session to make: a Poisson process whose rate changes every
// hour.
type arrivals struct {
	rng  *rand.Rand
	rate [24]float64 // a second, by hour
	at   time.Duration
}

func newArrivals(rng *rand.Rand, sessions float64) *arrivals {
	a := &arrivals{rng: rng, rate: hourly()}
	sum := 0.0
	for _, r := range a.rate {
		sum += r
	}
	for h := range a.rate {
		a.rate[h] *= sessions / sum / time.Hour.Seconds()
	}
	return a
}

// next returns the time of the next arrival; false: there is none today.
func (a *arrivals) next() (time.Duration, bool) {
	need := a.rng.ExpFloat64() // in sessions
	for a.at < wholeDay {
		hour := int(a.at / time.Hour)
		end := time.Duration(hour+1) * time.Hour
		have := a.rate[hour] * (end - a.at).Seconds()
		if need < have {
			a.at += time.Duration(need / a.rate[hour] * float64(time.Second))
			return min(a.at, wholeDay-1), true
		}
		need -= have
		a.at = end
	}
	return 0, false
}

// sessionLength draws how long a session lasts once a relay has greeted: 1 to 20 messages, each number as likely.
func sessionLength(rng *rand.Rand) time.Duration {
	seconds := 0.0
	for range 1 + rng.IntN(messagesPerConnection) {
		seconds += messageMedian * math.Exp(messageSigma*rng.NormFloat64())
	}
	return time.Duration(seconds * float64(time.Second))
}

// server is one Exchange server: how many sessions it runs, and those it would run if it had fewer.
type server struct {
	running int
	waiting []time.Duration // the sessions' lengths, the oldest first
	parked  time.Duration   // it begins none before this time
}

// ready reports whether the server may begin a session now.
func (s *server) ready(at time.Duration) bool {
	return s.running < connectionsPerServer && at >= s.parked
}
