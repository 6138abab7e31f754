package admin

import (
	"slices"
	"time"
)

// The history reaches back a quarter of an hour. It is kept whether somebody
// watches or not, so that a page that is opened now shows what has just
// happened: a snapshot every five seconds, and 1.4 KB for each backend.
const (
	historyStep  = 5 * time.Second
	historySteps = 180
)

// history is what was counted in each of the last steps. It is not safe for
// concurrent use; the zero value is empty.
type history struct {
	times ring[int64] // when each step ended, in ms since 1970
	pools map[string]*poolHistory
}

type poolHistory struct {
	warm     tally
	backends map[string]*backendHistory

	seen bool // in the step that is being added
}

type backendHistory struct {
	established, failures tally

	seen bool
}

// tally turns the totals of a counter into what it counted in each step.
type tally struct {
	total uint64 // at the last step
	steps ring[uint32]
}

// count takes in the total now. One that is less than before began anew.
func (t *tally) count(total uint64) {
	by := total
	if total >= t.total {
		by = total - t.total
	}
	t.total = total
	t.steps.add(uint32(min(by, 1<<32-1))) //nolint:gosec // just bounded
}

// add takes in the state at the end of a step. What is new has counted nothing
// yet: a backend that a reload has renamed brings old totals along. What is gone
// is forgotten.
func (h *history) add(now time.Time, pools []poolStatus) {
	h.times.add(now.UnixMilli())
	if h.pools == nil {
		h.pools = map[string]*poolHistory{}
	}
	for i := range pools {
		p := h.pools[pools[i].Name]
		if p == nil {
			p = &poolHistory{warm: tally{total: pools[i].WarmSessions}, backends: map[string]*backendHistory{}}
			h.pools[pools[i].Name] = p
		}
		p.seen = true
		p.add(&pools[i])
	}
	for name, p := range h.pools {
		if !p.seen {
			delete(h.pools, name)
		}
		p.seen = false
	}
}

func (p *poolHistory) add(st *poolStatus) {
	p.warm.count(st.WarmSessions)
	for i := range st.Tiers {
		for j := range st.Tiers[i].Backends {
			b := &st.Tiers[i].Backends[j]
			of := p.backends[b.Name]
			if of == nil {
				of = &backendHistory{established: tally{total: b.Established}, failures: tally{total: b.Failures}}
				p.backends[b.Name] = of
			}
			of.seen = true
			of.established.count(b.Established)
			of.failures.count(b.Failures)
		}
	}
	for name, b := range p.backends {
		if !b.seen {
			delete(p.backends, name)
		}
		b.seen = false
	}
}

// historyReport is a part of the history, as it is sent.
type historyReport struct {
	Times []int64             `json:"times"`
	Pools []poolHistoryReport `json:"pools"`
}

type poolHistoryReport struct {
	Name     string                 `json:"name"`
	Warm     []uint32               `json:"warm"`
	Backends []backendHistoryReport `json:"backends"`
}

type backendHistoryReport struct {
	Name        string   `json:"name"`
	Established []uint32 `json:"established"`
	Failures    []uint32 `json:"failures"`
	Median      float64  `json:"greeting_median_ms"`
}

// report is the last steps, so many at most, of the pools and backends in their
// order. medians has what is known of each backend's greetings.
func (h *history) report(steps int, pools []poolStatus, medians map[backendKey]float64) historyReport {
	r := historyReport{Times: h.times.last(steps), Pools: []poolHistoryReport{}}
	for i := range pools {
		name := pools[i].Name
		p := h.pools[name]
		if p == nil {
			continue // it came with a reload, after the last step
		}
		of := poolHistoryReport{Name: name, Warm: p.warm.steps.last(steps), Backends: []backendHistoryReport{}}
		for j := range pools[i].Tiers {
			for k := range pools[i].Tiers[j].Backends {
				backend := pools[i].Tiers[j].Backends[k].Name
				if b := p.backends[backend]; b != nil {
					of.Backends = append(of.Backends, backendHistoryReport{
						Name: backend, Established: b.established.steps.last(steps), Failures: b.failures.steps.last(steps),
						Median: medians[backendKey{name, backend}],
					})
				}
			}
		}
		r.Pools = append(r.Pools, of)
	}
	return r
}

// ring keeps the last historySteps values.
type ring[T any] struct {
	values []T
	next   int // the oldest, once it is full
}

func (r *ring[T]) add(v T) {
	if len(r.values) < historySteps {
		r.values = append(r.values, v)
		return
	}
	r.values[r.next] = v
	r.next = (r.next + 1) % historySteps
}

// last returns a copy of the n newest values, or of all, the oldest first.
func (r *ring[T]) last(n int) []T {
	all := slices.Concat(r.values[r.next:], r.values[:r.next])
	return append([]T{}, all[max(0, len(all)-n):]...)
}
