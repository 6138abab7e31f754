package resolve

import (
	"slices"
	"time"
)

// Known is what was found last under a query: what one process leaves to the next,
// as plain values.
type Known struct {
	Query    Query
	Answered time.Time // see Status
	Targets  []Target
}

// Known returns what was found last, of the queries under which something was.
func (w *Watcher) Known() []Known {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Known
	for _, n := range w.names {
		if len(n.records) == 0 {
			continue
		}
		k := Known{Query: n.query, Answered: n.answered, Targets: slices.Clone(n.targets)}
		for i := range k.Targets {
			k.Targets[i].Missing4, k.Targets[i].Missing6 = nil, nil
		}
		all = append(all, k)
	}
	return all
}

// Learn takes what another process has found for found, of those queries under
// which nothing is known yet. They are due at once all the same; where they fail it
// is used on.
func (w *Watcher) Learn(known []Known) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range known {
		n := w.add([]Query{k.Query})[0]
		if len(n.records) > 0 {
			continue
		}
		records, _ := recordsOf(k.Targets, w.Refuse)
		if len(records) > 0 {
			n.targets, n.records, n.answered = k.Targets, records, k.Answered
		}
	}
}
