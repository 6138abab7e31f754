package balancer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// newBackend is one that was never there.
func (m *machine) newBackend(t *rapid.T) BackendConfig {
	id := m.model.added
	m.model.added++
	return m.vary(t, BackendConfig{Name: fmt.Sprintf("relay-%d", id), Key: fmt.Sprintf("key-%d", id)})
}

// vary gives a backend what may change about it.
func (*machine) vary(t *rapid.T, b BackendConfig) BackendConfig {
	b.Weight = rapid.OneOf(rapid.IntRange(0, 4), rapid.IntRange(0, MaxWeight)).Draw(t, "weight")
	b.Priority = rapid.IntRange(0, 2).Draw(t, "priority")
	b.MaxSessions = rapid.IntRange(0, 4).Draw(t, "max")
	return b
}

// reconfigure changes some backends, takes some out, brings some back that sessions still run on, and adds some.
func (m *machine) reconfigure(t *rapid.T) {
	var next []BackendConfig
	heard := map[string]State{}
	for i, b := range m.cfg.Backends {
		switch was := m.heard[b.Name]; rapid.IntRange(0, 5).Draw(t, "what") {
		case 0: // out
			continue
		case 1:
			b = m.vary(t, b)
			heard[b.Name] = was
		case 2:
			b.Name = fmt.Sprintf("renamed-%d-%d", m.model.backends[i].id, len(m.leases))
			heard[b.Name] = was
		default:
			heard[b.Name] = was
		}
		next = append(next, b)
	}
	for _, b := range m.model.leaving {
		if rapid.Bool().Draw(t, "back") {
			back := m.vary(t, BackendConfig{Name: fmt.Sprintf("back-%d-%d", b.id, len(m.leases)), Key: fmt.Sprintf("key-%d", b.id)})
			heard[back.Name] = b.state
			next = append(next, back)
		}
	}
	first := m.model.added // the new ones are numbered in the order of the configuration
	for range rapid.IntRange(0, 2).Draw(t, "new") {
		next = append(next, m.newBackend(t))
	}
	if len(next) == 0 {
		next = append(next, m.newBackend(t))
	}
	next = slices.Clone(rapid.Permutation(next).Draw(t, "order"))
	for i := range next {
		if fresh := m.model.known(next[i].Key) == nil; fresh {
			next[i].Name, next[i].Key = fmt.Sprintf("relay-%d", first), fmt.Sprintf("key-%d", first)
			first++
		}
	}
	m.heard, m.cfg.Backends = heard, next
	m.model.minHealthy = rapid.IntRange(0, 3).Draw(t, "min healthy")
	m.cfg.MinHealthy = m.model.minHealthy
	m.model.join(next)
	m.model.settle()
	for _, b := range m.model.backends {
		m.most[b.id] = b.active
	}
	if err := m.pool.Reconfigure(time.Time{}, m.cfg); err != nil {
		t.Fatal(err)
	}
}

func (m *model) known(key string) *modelBackend {
	for _, b := range slices.Concat(m.backends, m.leaving) {
		if key == fmt.Sprintf("key-%d", b.id) {
			return b
		}
	}
	return nil
}

// join is Reconfigure: who is known by its key keeps all but what is configured.
func (m *model) join(backends []BackendConfig) {
	tiers := map[int]*modelTier{}
	var next []*modelBackend
	for _, c := range backends {
		if tiers[c.Priority] == nil {
			if tiers[c.Priority] = m.tiers[c.Priority]; tiers[c.Priority] == nil {
				tiers[c.Priority] = &modelTier{}
			}
		}
		tier := tiers[c.Priority]
		b := m.known(c.Key)
		if b == nil {
			b = &modelBackend{}
			_, _ = fmt.Sscanf(c.Key, "key-%d", &b.id)
		}
		waited := b.weight > 0 && slices.Contains(m.backends, b)
		b.name, b.weight, b.max, b.priority = c.Name, c.Weight, c.MaxSessions, c.Priority
		before := b.stride
		switch {
		case b.weight > 0:
			b.stride = 1 / float64(b.weight)
		case before == 0:
			b.stride = 100
		}
		switch {
		case b.tier != tier:
			b.pass = tier.vtime
		case b.stride != before:
			b.pass = tier.vtime + (b.pass-tier.vtime)/before*b.stride
		}
		if !waited {
			b.pass = max(b.pass, tier.vtime)
		}
		b.tier = tier
		next = append(next, b)
	}
	gone := slices.DeleteFunc(slices.Concat(m.backends, m.leaving), func(b *modelBackend) bool {
		return b.active == 0 || slices.Contains(next, b)
	})
	m.backends, m.leaving, m.tiers = next, gone, tiers
	if tiers[m.active] == nil {
		m.active = slices.Min(slices.Collect(maps.Keys(tiers)))
	}
}
