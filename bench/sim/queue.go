package sim

import "time"

// eventKind is what happens at an event's time; who says to whom.
type eventKind uint8

const (
	sessionEnds   eventKind = iota // who: the session
	sessionLooks                   // who: the session, if it still waits for this moment
	serverRetries                  // who: the server
	relayFails                     // who: the relay's index in the pool
	probeDue                       // who: the relay's index in the pool
	probeFails                     // who: the relay's index in the pool
)

type event struct {
	at   time.Duration
	seq  uint32 // of events at the same time the one that was pushed first comes first
	kind eventKind
	who  int32
}

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.seq < f.seq
}

// queue is the events to come: a binary heap. It is container/heap without the interface, whose boxing would cost more than
// the choice of a relay does.
type queue struct {
	heap []event
	seq  uint32
}

// next returns the time of the first event; false: there is none.
func (q *queue) next() (time.Duration, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

func (q *queue) push(at time.Duration, kind eventKind, who int) {
	q.seq++
	q.heap = append(q.heap, event{at, q.seq, kind, int32(who)})
	h, i := q.heap, len(q.heap)-1
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// pop takes the first event out. There must be one.
func (q *queue) pop() event {
	h := q.heap
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	q.heap = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && h[child+1].before(&h[child]) {
			child++
		}
		if !h[child].before(&h[i]) {
			return first
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
