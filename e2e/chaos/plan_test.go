package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is what goes wrong, as the table in docs/reliability.md calls it.
type kind string

const (
	// At a relay.
	killed      kind = "relay killed, started again"
	hung        kind = "relay hangs, goes on"
	greets421   kind = "relay greets 421"
	greets554   kind = "relay greets 554"
	silent      kind = "relay accepts and stays silent"
	drips       kind = "relay greets byte by byte"
	resets      kind = "relay accepts and resets"
	closes      kind = "relay accepts and closes"
	refuses     kind = "relay answers messages 451"
	resetsAtDot kind = "relay resets after a message's end"
	linkCut     kind = "link to a relay cut, restored"
	linkLoss    kind = "packets to and from a relay lost"
	drained     kind = "relay drained, enabled"
	removed     kind = "reload: relay removed, added again"

	// At several.
	siteDown kind = "all relays of the first site killed"
	allDown  kind = "all relays killed"

	// At the balancer.
	reweighed   kind = "reload: other weights"
	broken      kind = "reload: a file with mistakes"
	upgraded    kind = "upgrade"
	descriptors kind = "descriptor limit lowered"
	memory      kind = "memory limit lowered"
	crowd       kind = "more idle clients than descriptors"

	// At the clients.
	clientCut  kind = "link of the clients cut, restored"
	clientLoss kind = "packets to and from clients lost"
	clientCuts kind = "clients reset their sessions"
	garbage    kind = "clients that send garbage"
)

// fault is one thing that goes wrong.
type fault struct {
	at, length time.Duration // since the beginning; the length is 0 where it is done at once
	kind       kind
	relay      int // by number; -1: not a single relay's
	arg        int // packets of a thousand that are lost; what weights are made of
}

func (f fault) end() time.Duration { return f.at + f.length }

func (f fault) String() string {
	text := string(f.kind)
	if f.relay >= 0 {
		text = relays()[f.relay].name + ": " + text
	}
	if f.kind == linkLoss || f.kind == clientLoss {
		text += fmt.Sprintf(" (%.1f %%)", float64(f.arg)/10)
	}
	return fmt.Sprintf("%s for %v", text, f.length)
}

// place is where a fault is: at most one fault of a place is on at one time.
type place int

const (
	atRelay place = iota
	atBalancer
	atClientLink
	atClients
	atGarbage
)

// rule is how faults of a kind may be.
type rule struct {
	kind             kind
	place            place
	shortest, longer time.Duration
	least, most      int // of arg
}

// rules lists every kind, in the order of the constants.
func rules() []rule {
	const s = time.Second
	return []rule{
		{killed, atRelay, s, 5 * s, 0, 0},
		{hung, atRelay, s, 6 * s, 0, 0},
		{greets421, atRelay, s, 5 * s, 0, 0},
		{greets554, atRelay, s, 5 * s, 0, 0},
		{silent, atRelay, s, 5 * s, 0, 0},
		{drips, atRelay, s, 5 * s, 0, 0},
		{resets, atRelay, s, 5 * s, 0, 0},
		{closes, atRelay, s, 5 * s, 0, 0},
		{refuses, atRelay, s, 4 * s, 0, 0},
		{resetsAtDot, atRelay, s, 4 * s, 0, 0},
		{linkCut, atRelay, s, 6 * s, 0, 0},
		{linkLoss, atRelay, 3 * s, 8 * s, 10, 100},
		{drained, atRelay, s, 5 * s, 0, 0},
		{removed, atRelay, s, 5 * s, 0, 0},
		{siteDown, atRelay, 2 * s, 4 * s, 0, 0},
		{allDown, atRelay, s, 3 * s, 0, 0},
		{reweighed, atBalancer, 0, 0, 0, 1 << 20},
		{broken, atBalancer, 0, 0, 0, 0},
		{upgraded, atBalancer, 0, 0, 0, 0},
		{descriptors, atBalancer, s, 3 * s, 0, 0},
		{memory, atBalancer, 2 * s, 5 * s, 0, 0},
		{crowd, atBalancer, s, 3 * s, 0, 0},
		{clientCut, atClientLink, 500 * time.Millisecond, 2 * s, 0, 0},
		{clientLoss, atClientLink, 3 * s, 8 * s, 10, 50},
		{clientCuts, atClients, 2 * s, 5 * s, 0, 0},
		{garbage, atGarbage, 2 * s, 6 * s, 0, 0},
	}
}

func ruleOf(k kind) rule {
	all := rules()
	return all[slices.IndexFunc(all, func(r rule) bool { return r.kind == k })]
}

// several are the relays that a fault is at; of most faults that is one or none.
func (f fault) several() (numbers []int) {
	for i, r := range relays() {
		if f.relay == i || f.kind == allDown || f.kind == siteDown && r.priority == 0 {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// The bounds of a plan.
const (
	headroom  = time.Second            // before the first fault, and after the last
	rest      = time.Second            // between two faults of one place
	recovery  = 8 * time.Second        // from the end of a relay's fault until it is surely in use again
	leastGap  = 200 * time.Millisecond // from a fault to the next one, where there is room
	mostGap   = 1200 * time.Millisecond
	step      = 250 * time.Millisecond
	lookAhead = 10 * time.Second // so far a fault may be put off before the next ones wait for it
)

// newPlan returns the faults of a seed, in the order of their beginnings. It is
// a function of its arguments alone. Every fault is over before length is. Some relay
// of each site is whole at any time, and was for the time of recovery, but
// where a kind says that all are down. Each kind comes once before any comes twice, but
// where it has no room. There is no upgrade in the last third: the process of then is the
// one of which it can be seen whether it grows.
func newPlan(seed uint64, length time.Duration) []fault {
	random := rand.New(rand.NewPCG(seed, 0))
	var plan []fault
	all := rules()
	var deck []int
	for now := headroom; now < length-headroom; now += between(random, leastGap, mostGap) {
		if len(deck) == 0 {
			deck = random.Perm(len(all))
		}
		r := all[deck[0]]
		deck = deck[1:]
		f := fault{kind: r.kind, relay: -1, length: between(random, r.shortest, r.longer).Round(time.Millisecond)}
		f.arg = r.least + random.IntN(r.most-r.least+1)
		last := length - headroom
		if r.kind == upgraded {
			last = length * 2 / 3
		}
		first := random.IntN(len(relays()))
		if !put(&plan, f, now, last, first) {
			continue
		}
		now = max(now, plan[len(plan)-1].at-lookAhead)
	}
	slices.SortStableFunc(plan, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return plan
}

// put adds the fault as soon from now on as it fits, at the first relay, counted
// from one of them on, at which it does.
func put(plan *[]fault, f fault, now, last time.Duration, first int) bool {
	recent := slices.DeleteFunc(slices.Clone(*plan), func(other fault) bool { return other.end()+recovery+rest < now })
	numbers := []int{-1}
	if ruleOf(f.kind).place == atRelay && f.kind != siteDown && f.kind != allDown {
		numbers = numbers[:0]
		for i := range relays() {
			numbers = append(numbers, (first+i)%len(relays()))
		}
	}
	for f.at = now; f.end() <= last; f.at += step {
		for _, f.relay = range numbers {
			if fits(recent, f) {
				*plan = append(*plan, f)
				return true
			}
		}
	}
	return false
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)+1))
}

// fits tells whether a fault may be in a plan beside the others.
func fits(plan []fault, f fault) bool {
	mine := f.several()
	near := slices.DeleteFunc(slices.Clone(plan), func(other fault) bool { return !overlap(f, other, rest) })
	for _, other := range near {
		if clash(f.kind, other.kind) {
			return false
		}
		if slices.ContainsFunc(other.several(), func(n int) bool { return slices.Contains(mine, n) }) {
			return false
		}
	}
	if len(mine) == 0 {
		return true
	}
	return leavesWhole(plan, f)
}

// clash tells whether faults of two kinds must not meet. They are at one place, a
// relay being removed by a reload, which is the balancer's. Or clients that vanish
// with a reset meet a link that loses it: then the program has their sessions until
// it asks whether they are alive, which is longer than any fault here.
func clash(a, b kind) bool {
	at := func(k kind) place { return choose(k == removed, atBalancer, ruleOf(k).place) }
	vanish := func(k kind) bool { return k == clientCuts || k == crowd || k == garbage }
	return at(a) == at(b) && at(a) != atRelay ||
		vanish(a) && at(b) == atClientLink || vanish(b) && at(a) == atClientLink
}

// leavesWhole tells whether some relay of each site is whole all the time that the
// fault is on and until its relay is in use again, unless it takes the whole site:
// then all are whole before, and no other relay is ill.
func leavesWhole(plan []fault, f fault) bool {
	ill := map[int]bool{}
	for _, n := range f.several() {
		ill[n] = true
	}
	for _, other := range plan {
		if len(other.several()) == 0 || !overlap(f, other, recovery) {
			continue
		}
		if len(other.several()) > 1 || len(f.several()) > 1 {
			return false
		}
		for _, n := range other.several() {
			ill[n] = true
		}
	}
	if len(f.several()) > 1 {
		return true
	}
	whole := map[int]bool{}
	for i, r := range relays() {
		whole[r.priority] = whole[r.priority] || !ill[i]
	}
	return whole[0] && whole[1]
}

// overlap tells whether less than the time lies between two faults.
func overlap(a, b fault, apart time.Duration) bool {
	return a.at < b.end()+apart && b.at < a.end()+apart
}
