package mail

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Receipts is what sinks have taken, of every run. The zero value is empty. Its
// methods are safe for concurrent use.
type Receipts struct {
	mu      sync.Mutex
	runs    map[uint64]*receipts
	foreign int64
}

type receipts struct {
	tally   tally
	corrupt tally
	bytes   int64
}

// Holding is what there is of one run. Numbers are sequence numbers, rising.
type Holding struct {
	Run     uint64         `json:"run,string"`
	Total   int64          `json:"total"`             // messages, each copy counted
	Bytes   int64          `json:"bytes"`             // of all of them
	Once    []Span         `json:"once,omitempty"`    // came once
	Several map[uint64]int `json:"several,omitempty"` // came more than once: how often
	Corrupt []uint64       `json:"corrupt,omitempty"` // came damaged, at least once; they count above as well
}

// Summary is a Holding in numbers.
type Summary struct {
	Run      uint64
	Total    int64 // messages, each copy counted
	Bytes    int64 // of all of them
	Distinct int64 // sequence numbers
	Several  int64 // of those, came more than once
	Corrupt  int64 // of those, came damaged
}

// Add counts a message. One without our header is foreign, and counts as that.
func (r *Receipts) Add(a Arrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !a.Known {
		r.foreign++
		return
	}
	run := r.runs[a.ID.Run]
	if run == nil {
		if r.runs == nil {
			r.runs = make(map[uint64]*receipts)
		}
		run = new(receipts)
		r.runs[a.ID.Run] = run
	}
	run.tally.add(a.ID.Seq, 1)
	run.bytes += a.Size
	if a.Corrupt {
		run.corrupt.add(a.ID.Seq, 1)
	}
}

// Foreign is the number of messages without our header.
func (r *Receipts) Foreign() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign
}

// Runs returns the runs of which there is anything, rising.
func (r *Receipts) Runs() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.runs))
}

// Summary returns what there is of a run now, in numbers: cheaper than Of.
func (r *Receipts) Summary(run uint64) Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Summary{Run: run}
	if held := r.runs[run]; held != nil {
		s.Total, s.Bytes, s.Distinct = held.tally.total, held.bytes, held.tally.distinct
		s.Several, s.Corrupt = int64(len(held.tally.more)), held.corrupt.distinct
	}
	return s
}

// Of returns what there is of a run now. Of an unknown run that is nothing.
func (r *Receipts) Of(run uint64) Holding {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := Holding{Run: run}
	held := r.runs[run]
	if held == nil {
		return h
	}
	h.Total, h.Bytes = held.tally.total, held.bytes
	h.Once = held.tally.once()
	h.Several = maps.Clone(held.tally.more)
	held.corrupt.each(func(seq uint64) { h.Corrupt = append(h.Corrupt, seq) })
	return h
}

// Reset forgets everything.
func (r *Receipts) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs, r.foreign = nil, 0
}

// MarshalJSON writes [first,last].
func (s Span) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%d,%d]", s.First, s.Last), nil
}

// UnmarshalJSON reads [first,last].
func (s *Span) UnmarshalJSON(text []byte) error {
	var ends []uint64
	if err := json.Unmarshal(text, &ends); err != nil {
		return err
	}
	if len(ends) != 2 || ends[0] > ends[1] {
		return fmt.Errorf("span %s: want [first,last], and last not below first", text)
	}
	s.First, s.Last = ends[0], ends[1]
	return nil
}
