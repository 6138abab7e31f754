package chaos

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPlanKeepsItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		length := time.Duration(rapid.Int64Range(0, int64(2*time.Minute)).Draw(t, "length"))
		plan := newPlan(seed, length)
		if !slices.Equal(plan, newPlan(seed, length)) {
			t.Fatal("the same seed gives another plan")
		}
		if most := int(length/leastGap) + 1; len(plan) > most {
			t.Fatalf("%d faults, want at most %d", len(plan), most)
		}
		for i, f := range plan {
			keepsBounds(t, f, length)
			for _, other := range plan[:i] {
				if other.at > f.at {
					t.Fatalf("%v at %v stands after %v at %v", f, f.at, other, other.at)
				}
				if clash(f.kind, other.kind) && overlap(f, other, rest) {
					t.Fatalf("%v at %v and %v at %v are too near", f, f.at, other, other.at)
				}
			}
		}
		for _, f := range plan { // where something begins the number of the ill can rise, nowhere else
			someWhole(t, plan, f.at)
		}
	})
}

func keepsBounds(t *rapid.T, f fault, length time.Duration) {
	r := ruleOf(f.kind)
	switch {
	case f.at < headroom || f.end() > length-headroom:
		t.Fatalf("%v at %v is not within %v", f, f.at, length)
	case f.length < r.shortest || f.length > r.longer || f.arg < r.least || f.arg > r.most:
		t.Fatalf("%v with %d is out of its bounds", f, f.arg)
	case (f.relay >= 0) != (r.place == atRelay && f.kind != siteDown && f.kind != allDown):
		t.Fatalf("%v at relay %d", f, f.relay)
	case f.kind == upgraded && f.at > length*2/3:
		t.Fatalf("%v at %v of %v", f, f.at, length)
	}
}

// someWhole: at a time each relay has one fault at most, and each site has a relay
// that is whole and has been, unless all of it is to be down.
func someWhole(t *rapid.T, plan []fault, now time.Duration) {
	faults, ill := map[int]int{}, map[int]bool{}
	excused := map[int]bool{}
	for _, f := range plan {
		for _, n := range f.several() {
			if f.at <= now && now <= f.end() {
				faults[n]++
			}
			if f.at <= now && now <= f.end()+recovery {
				ill[n] = true
				excused[relays()[n].priority] = excused[relays()[n].priority] || f.kind == allDown || f.kind == siteDown
			}
		}
	}
	whole := map[int]bool{}
	for i, r := range relays() {
		if faults[i] > 1 {
			t.Fatalf("at %v %s has %d faults", now, r.name, faults[i])
		}
		whole[r.priority] = whole[r.priority] || !ill[i]
	}
	for _, site := range []int{0, 1} {
		if !whole[site] && !excused[site] {
			t.Fatalf("at %v no relay of tier %d is whole", now, site)
		}
	}
}

// Two minutes have room for everything, and another seed does it another way.
func TestPlanHasEveryKind(t *testing.T) {
	for seed := range uint64(40) {
		plan := newPlan(seed, 2*time.Minute)
		counts := map[kind]int{}
		for _, f := range plan {
			counts[f.kind]++
		}
		for _, r := range rules() {
			if counts[r.kind] == 0 {
				t.Errorf("seed %d: no %s in %d faults of %d kinds", seed, r.kind, len(plan), len(counts))
			}
		}
		if slices.Equal(plan, newPlan(seed+1, 2*time.Minute)) {
			t.Errorf("seeds %d and %d have one plan", seed, seed+1)
		}
	}
}

// The rules above are worth what this shows.
func TestTwoFaultsThatDoNotGoTogether(t *testing.T) {
	const s = time.Second
	at := func(k kind, relay int, from, length time.Duration) fault {
		return fault{kind: k, relay: relay, at: from, length: length}
	}
	for _, test := range []struct {
		name string
		plan []fault
		f    fault
		want bool
	}{
		{"two relays of a site", []fault{at(killed, 0, 0, s)}, at(silent, 1, 0, s), true},
		{"one relay twice", []fault{at(killed, 0, 0, s)}, at(silent, 0, s, s), false},
		{"one relay, one after the other", []fault{at(killed, 0, 0, s)}, at(silent, 0, 3*s, s), true},
		{"all of the first site", []fault{at(killed, 0, 0, s), at(hung, 1, 0, s)}, at(silent, 2, 0, s), false},
		{"the last one before the others are well", []fault{at(killed, 0, 0, s), at(hung, 1, 0, s)}, at(silent, 2, 8*s, s), false},
		{"the last one when the others are well", []fault{at(killed, 0, 0, s), at(hung, 1, 0, s)}, at(silent, 2, 10*s, s), true},
		{"both of the second site", []fault{at(killed, 3, 0, s)}, at(silent, 4, 0, s), false},
		{"a site beside a relay", []fault{at(killed, 3, 0, s)}, at(siteDown, -1, 0, s), false},
		{"a relay beside a site", []fault{at(siteDown, -1, 0, s)}, at(killed, 3, 0, s), false},
		{"an upgrade within a reload", []fault{at(reweighed, -1, 0, 0)}, at(upgraded, -1, 0, 0), false},
		{"an upgrade within a removal", []fault{at(removed, 0, 0, 3*s)}, at(upgraded, -1, s, 0), false},
		{"an upgrade while a relay is down", []fault{at(killed, 0, 0, s)}, at(upgraded, -1, 0, 0), true},
		{"clients that vanish where packets do", []fault{at(clientCuts, -1, 0, s)}, at(clientLoss, -1, 0, s), false},
		{"two things at the clients", []fault{at(clientCuts, -1, 0, s), at(killed, 0, 0, s)}, at(garbage, -1, 0, s), true},
	} {
		if got := fits(test.plan, test.f); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
