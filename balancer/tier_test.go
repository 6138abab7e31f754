package balancer

type failer interface {
	Fatalf(format string, args ...any)
}

// checkTiers checks everything that the tiers promise: who is in them, with what sums, and in what order.
func checkTiers(t failer, p *Pool) {
	for i := range p.tiers {
		checkTier(t, p.tiers[i])
	}
	for i := range p.slots {
		s := p.slots[i]
		if s.listed != s.pickable() || s.asked {
			t.Fatalf("backend %d: listed %v, pickable %v, asked %v", i, s.listed, s.pickable(), s.asked)
		}
		if s.tier.priority != s.id.tier || s.tier.members[s.place] != s {
			t.Fatalf("backend %d is at place %d of tier %d", i, s.place, s.tier.priority)
		}
	}
}

func checkTier(t failer, tier *tier) {
	want := tier.pickable()
	var weight, active int64
	for _, s := range want {
		weight += s.weight
		active += s.sessions
	}
	if tier.listed != len(want) || tier.weight != weight || tier.active != active {
		t.Fatalf("tier %d: %d listed, sums %d and %d, want %d, %d and %d", tier.priority,
			tier.listed, tier.weight, tier.active, len(want), weight, active)
	}
	checkOrder(t, tier.order, want)
}

// pickable returns those of the tier that can be picked, by place, as their slots say.
func (t *tier) pickable() reference {
	all := reference{}
	for place, s := range t.members {
		if s.pickable() {
			all[place] = seat{load{s.active, s.share}, s.tag()}
		}
	}
	return all
}

// checkOrder checks that an order holds these backends and no others, in good shape.
func checkOrder(t failer, o order, want reference) {
	switch o := o.(type) {
	case row:
		for place, s := range o {
			if s != want[place] {
				t.Fatalf("place %d: %+v, want %+v", place, s, want[place])
			}
		}
	case *tree:
		checkTree(t, o, want)
	default:
		t.Fatalf("an order that no test knows: %T", o)
	}
}
