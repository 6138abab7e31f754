package sim

import (
	"math/rand/v2"
	"time"

	"smtplb/balancer"
)

// The product's defaults, by which probes, attempts and sessions are timed.
const (
	connectTimeout  = 5 * time.Second  // timeouts.connect
	greetingTimeout = 15 * time.Second // timeouts.greeting, probe.timeout
	sessionSetup    = 60 * time.Second // timeouts.session_setup

	probeInterval = 5 * time.Second
	fastInterval  = time.Second
	probeRise     = 2
	probeFall     = 3

	passiveFailures = 3
	passiveEject    = 30 * time.Second
	passiveMaxEject = 5 * time.Minute

	minHealthy    = 1
	failbackDelay = 2 * time.Minute
	slowStart     = 30 * time.Second
)

// fault is a time in which a relay serves no new session and passes no probe. Sessions under way go on.
type fault struct {
	from, to time.Duration // of the day; to is after it
	outcome  balancer.Outcome
}

// takes is how long it takes to see that a relay fails so, for a session and for a probe alike. What does not wait for a
// timeout is immediate here: a millisecond or less. A session that is asking another relay meanwhile need not wait for it.
func takes(o balancer.Outcome) time.Duration {
	switch o {
	case balancer.ConnectTimeout:
		return connectTimeout
	case balancer.GreetingTimeout:
		return greetingTimeout
	default:
		return 0
	}
}

// verdictOf is what a check that ends so says of the relay. A greeting of 4xx is taken for the usual one, 421.
func verdictOf(o balancer.Outcome) balancer.Verdict {
	switch o {
	case balancer.OK:
		return balancer.VerdictGood
	case balancer.Greeting4xx:
		return balancer.VerdictBusy
	default:
		return balancer.VerdictFailed
	}
}

// faultAt returns the fault of the day that holds at this time; nil: the relay is well. There are one or two.
func faultAt(faults []fault, at time.Duration) *fault {
	for i := range faults {
		if at >= faults[i].from && at < faults[i].to {
			return &faults[i]
		}
	}
	return nil
}

// drawFaults decides what befalls one relay.
func (c *Config) drawFaults(rng *rand.Rand, site int) []fault {
	var faults []fault
	if site == failedSite && c.FailFor > 0 {
		faults = append(faults, fault{c.FailAt, c.FailAt + c.FailFor, c.FailAs})
	}
	// Drawn whether or not it is used, so that other Configs' relays are otherwise the same.
	own := rng.Float64() < c.RelayFaults
	from := time.Duration(rng.Float64() * float64(wholeDay))
	long := 30*time.Second + time.Duration(rng.Float64()*float64(30*time.Minute-30*time.Second))
	outcome := balancer.Refused + balancer.Outcome(rng.IntN(int(balancer.NotSMTP)))
	apart := c.FailFor == 0 || from+long < c.FailAt || from >= c.FailAt+c.FailFor+settling
	if own && apart {
		faults = append(faults, fault{from, from + long, outcome})
	}
	return faults
}
