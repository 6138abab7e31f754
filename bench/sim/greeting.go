package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// A relay's greetings take a lognormal time: it looks up the client's name and asks a block list or two before it says
// anything, quickly at one relay and slowly at another. Half of a relay's greetings stay below its median, 1 in 100 takes 2.5
// times as long.
const (
	greetingLeast = 0.02 // seconds: the median of the quickest relay
	greetingMost  = 0.5  // and of the slowest
	greetingSigma = 0.4
)

// greetingStream keeps these random numbers apart from those of the mail, which must not depend on who is asked.
const greetingStream = 1 << 62

// greetings are the relays' of one balancer's pool.
type greetings struct {
	rng    *rand.Rand
	median []float64 // seconds, by index in the pool
}

func newGreetings(seed uint64, number int, p *plan) *greetings {
	g := &greetings{rng: rand.New(rand.NewPCG(seed, greetingStream|uint64(number)))}
	for _, relay := range p.pool {
		g.median = append(g.median, medianGreeting(seed, int(relay)))
	}
	return g
}

// medianGreeting is a relay's, the same for every balancer: each between the least and the most as likely, on a
// logarithmic scale.
func medianGreeting(seed uint64, relay int) float64 {
	unit := float64(mix(mix(seed^greetingStream)+uint64(relay))>>11) / (1 << 53)
	return greetingLeast * math.Pow(greetingMost/greetingLeast, unit)
}

// draw is how long the next greeting of a relay takes.
func (g *greetings) draw(index int) time.Duration {
	return time.Duration(g.median[index] * math.Exp(greetingSigma*g.rng.NormFloat64()) * float64(time.Second))
}
