package admin

// sameShape reports whether two states have the same pools, tiers and backends,
// so that one can be told by its changes from the other.
func sameShape(a, b *status) bool {
	if len(a.Pools) != len(b.Pools) {
		return false
	}
	for i := range a.Pools {
		p, q := &a.Pools[i], &b.Pools[i]
		if p.Name != q.Name || len(p.Tiers) != len(q.Tiers) {
			return false
		}
		for j := range p.Tiers {
			if p.Tiers[j].Tier != q.Tiers[j].Tier || !sameNames(p.Tiers[j].Backends, q.Tiers[j].Backends) {
				return false
			}
		}
	}
	return true
}

func sameNames(a, b []backendStatus) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

// changes is the state now without the backends that are as they were. The two
// have the same shape.
func changes(was, now *status) *status {
	st := *now
	st.Pools = make([]poolStatus, len(now.Pools))
	for i := range now.Pools {
		st.Pools[i] = now.Pools[i]
		st.Pools[i].Tiers = make([]tierStatus, len(now.Pools[i].Tiers))
		for j := range now.Pools[i].Tiers {
			t := now.Pools[i].Tiers[j]
			before := was.Pools[i].Tiers[j].Backends
			changed := []backendStatus{}
			for k := range t.Backends {
				if t.Backends[k] != before[k] {
					changed = append(changed, t.Backends[k])
				}
			}
			t.Backends = changed
			st.Pools[i].Tiers[j] = t
		}
	}
	return &st
}
