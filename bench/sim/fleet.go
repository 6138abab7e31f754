package sim

import (
	"fmt"
	"math/rand/v2"

	"smtplb/balancer"
)

// failedSite is the one that fails.
const failedSite = 0

// relay is one of the fleet.
type relay struct {
	site   int
	weight int
	faults []fault
}

// plan is one balancer: where it stands, whose mail it takes and between whom it chooses.
type plan struct {
	site     int
	servers  int     // Exchange servers that send through it
	sessions float64 // of the day, on average
	pool     []int32 // its relays, by their number in the fleet: those of its site, then the standby's
	local    int     // how many of pool are of its site
}

// fleet is what a Config describes: the same one whenever it is asked.
type fleet struct {
	relays []relay
	plans  []plan
}

const (
	maxServers     = 4 // of one balancer; 1 to this, each as likely
	standbySharing = 3 // pools that hold a relay as one of their own, for each that holds it as standby
)

// fleetStream keeps the fleet's random numbers apart from the balancers', whose streams are their numbers.
const fleetStream = 1 << 63

func newFleet(c *Config) *fleet {
	rng := rand.New(rand.NewPCG(c.Seed, fleetStream))
	f := &fleet{relays: make([]relay, c.Relays), plans: make([]plan, c.Balancers)}
	for i := range f.relays {
		site := i % c.Sites
		weight := 1 + rng.IntN(c.Weights)
		f.relays[i] = relay{site, weight, c.drawFaults(rng, site)}
	}
	servers := 0
	for i := range f.plans {
		f.plans[i] = plan{site: i % c.Sites, servers: 1 + rng.IntN(maxServers)}
		servers += f.plans[i].servers
	}
	for i := range f.plans {
		f.plans[i].sessions = float64(c.Sessions*c.Balancers) * float64(f.plans[i].servers) / float64(servers)
	}
	for site := range c.Sites {
		own, next := newDeck(rng, f.relays, site), newDeck(rng, f.relays, (site+1)%c.Sites)
		f.deal(site, own, c.Sharing)
		for i := range f.plans {
			if f.plans[i].site == site {
				f.plans[i].local = len(f.plans[i].pool)
			}
		}
		f.deal(site, next, max(1, c.Sharing/standbySharing))
	}
	return f
}

// deal gives each balancer of a site relays, as many as its servers' part of the mail, so that each relay of the deck comes to
// be in about as many pools as sharing says.
func (f *fleet) deal(site int, d *deck, sharing int) {
	servers := 0
	for i := range f.plans {
		if f.plans[i].site == site {
			servers += f.plans[i].servers
		}
	}
	hands := len(d.cards) * sharing
	before, dealt := 0, 0
	for i := range f.plans {
		p := &f.plans[i]
		if p.site != site {
			continue
		}
		before += p.servers
		hand := hands*before/servers - dealt // rounded so that the sum is hands
		dealt += hand
		p.pool = append(p.pool, d.deal(min(max(hand, 1), len(d.cards)))...)
	}
}

// deck is the relays of one site, in an order of chance, dealt again and again.
type deck struct {
	rng   *rand.Rand
	cards []int32
	next  int
}

func newDeck(rng *rand.Rand, relays []relay, site int) *deck {
	d := &deck{rng: rng}
	for i := range relays {
		if relays[i].site == site {
			d.cards = append(d.cards, int32(i))
		}
	}
	d.next = len(d.cards)
	return d
}

// deal returns n different cards, at most as many as there are. Every card is dealt once before any is dealt again, but that
// one which the hand holds already waits for the next hand.
func (d *deck) deal(n int) []int32 {
	hand := make([]int32, 0, n)
	held := make(map[int32]bool, n)
	for len(hand) < n {
		if d.next == len(d.cards) {
			d.rng.Shuffle(len(d.cards), func(i, j int) { d.cards[i], d.cards[j] = d.cards[j], d.cards[i] })
			d.next = 0
		}
		// There is one: all that were dealt since the shuffle are in the hand, and the hand is not the whole deck.
		take := d.next
		for held[d.cards[take]] {
			take++
		}
		d.cards[d.next], d.cards[take] = d.cards[take], d.cards[d.next]
		hand = append(hand, d.cards[d.next])
		held[d.cards[d.next]] = true
		d.next++
	}
	return hand
}

// news is who hears of what happens in a pool. Relays are named by their index in it.
type news struct {
	change     func(index int, c balancer.Change)
	tierChange func(balancer.TierChange)
	failure    func(index int)
}

// newPool makes the plan's pool, configured as the product is by default, but for the share of the standby.
func (f *fleet) newPool(p *plan, keepWarm float64, tell news) (*balancer.Pool, error) {
	cfg := balancer.Config{
		Name: "outbound", Rise: probeRise, Fall: probeFall,
		Failures: passiveFailures, Eject: passiveEject, MaxEject: passiveMaxEject,
		MinHealthy: minHealthy, FailbackDelay: failbackDelay, SlowStart: slowStart,
		Warm:         balancer.Warm{Share: keepWarm},
		OnTierChange: tell.tierChange,
		OnFailure:    func(b *balancer.Backend, _ balancer.Outcome) { tell.failure(b.ID()) },
	}
	index := make(map[string]int, len(p.pool))
	for i, number := range p.pool {
		r := &f.relays[number]
		name := fmt.Sprintf("relay-%d", number)
		index[name] = i
		tier := 0
		if i >= p.local {
			tier = 1
		}
		cfg.Backends = append(cfg.Backends, balancer.BackendConfig{
			Name: name, Site: siteName(r.site), Weight: r.weight, Priority: tier,
		})
	}
	cfg.OnChange = func(c balancer.Change) { tell.change(index[c.Backend], c) }
	return balancer.New(cfg)
}

func siteName(site int) string { return fmt.Sprintf("site-%d", site+1) }
