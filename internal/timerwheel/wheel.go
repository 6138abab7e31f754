// Package timerwheel keeps one coarse deadline for each of many small integer
// ids: sessions in an event loop. Setting, moving and clearing a deadline are
// O(1) and allocate nothing once the wheel has seen the highest id, so that a
// session that changes state ten times costs ten pointer swaps and no timer of
// the runtime.
//
//	w := timerwheel.New(50*time.Millisecond, 0)
//	w.Set(id, now+int64(5*time.Second))
//	...
//	w.Advance(now, func(id int32) { ... })
//
// A deadline fires in the first Advance at or after it, rounded up to the
// granularity, never early. The wheel has one level: a deadline further away
// than one turn is passed over once a turn, which is cheaper than a second
// level for deadlines of minutes. Design after Varghese and Lauck, "Hashed and
// Hierarchical Timing Wheels" (1987), scheme 6.
//
// A Wheel belongs to one goroutine.
package timerwheel

import (
	"math/bits"
	"time"
)

const (
	slots  = 1024 // a power of two, so that a tick's slot is a mask away
	firing = slots
	none   = -1
)

// Wheel holds the deadlines. Times are nanoseconds on any clock that does not
// go backwards; the caller chooses its origin.
type Wheel struct {
	granularity int64
	tick        int64 // the last tick that Advance has handled
	armed       int
	heads       [slots + 1]int32 // list heads; the last is the list being fired
	occupied    [slots / 64]uint64
	nodes       []node
}

// node is the entry of one id. list is the index into heads of the list that
// holds it, or none.
type node struct {
	due        int64 // in ticks
	prev, next int32
	list       int32
}

// New returns an empty wheel whose first moment is now, in nanoseconds.
func New(granularity time.Duration, now int64) *Wheel {
	w := &Wheel{granularity: int64(granularity)}
	w.tick = now / w.granularity
	for i := range w.heads {
		w.heads[i] = none
	}
	return w
}

// Len is the number of ids with a deadline.
func (w *Wheel) Len() int { return w.armed }

// Set gives id the deadline at, in nanoseconds, in place of the one it had.
func (w *Wheel) Set(id int32, at int64) {
	for int(id) >= len(w.nodes) {
		w.nodes = append(w.nodes, node{list: none})
	}
	w.Clear(id)
	due := (at + w.granularity - 1) / w.granularity
	// The current tick has been handled already: what is due goes to the next.
	w.link(id, max(due, w.tick+1))
	w.armed++
}

// Clear takes id's deadline away, if it has one.
func (w *Wheel) Clear(id int32) {
	if int(id) >= len(w.nodes) || w.nodes[id].list == none {
		return
	}
	w.unlink(id)
	w.armed--
}

// Next is when Advance should be called, in nanoseconds: no deadline fires
// before it. ok is false when there is none. It can be early, by a deadline that
// lies a turn or more ahead.
func (w *Wheel) Next() (at int64, ok bool) {
	if w.armed == 0 {
		return 0, false
	}
	first := w.tick + 1
	for i := int64(0); i < slots; {
		s := (first + i) & (slots - 1)
		rest := w.occupied[s/64] >> (s % 64)
		if rest != 0 {
			return (first + i + int64(bits.TrailingZeros64(rest))) * w.granularity, true
		}
		i += 64 - s%64
	}
	return (first + slots) * w.granularity, true
}

// Advance moves the wheel to now and calls fire for each id whose deadline has
// come; the id has no deadline any more when fire is called. fire may set and
// clear deadlines, its own too.
func (w *Wheel) Advance(now int64, fire func(id int32)) {
	to := now / w.granularity
	if to <= w.tick {
		return
	}
	from := max(w.tick+1, to-slots+1) // one turn passes every slot
	w.tick = to
	for t := from; t <= to && w.armed > 0; t++ {
		w.fireSlot(int32(t&(slots-1)), fire)
	}
}

// fireSlot empties one slot. Its nodes move to the firing list first, so that
// what fire sets meanwhile lands in the slot anew and is not met twice.
func (w *Wheel) fireSlot(slot int32, fire func(id int32)) {
	if w.heads[slot] == none {
		return
	}
	for id := w.heads[slot]; id != none; id = w.nodes[id].next {
		w.nodes[id].list = firing
	}
	w.heads[firing], w.heads[slot] = w.heads[slot], none
	w.occupied[slot/64] &^= 1 << (slot % 64)
	for id := w.heads[firing]; id != none; id = w.heads[firing] {
		due := w.nodes[id].due
		w.unlink(id)
		if due > w.tick {
			w.link(id, due)
			continue
		}
		w.armed--
		fire(id)
	}
}

func (w *Wheel) link(id int32, due int64) {
	slot := int32(due & (slots - 1))
	n := &w.nodes[id]
	*n = node{due: due, prev: none, next: w.heads[slot], list: slot}
	if n.next != none {
		w.nodes[n.next].prev = id
	}
	w.heads[slot] = id
	w.occupied[slot/64] |= 1 << (slot % 64)
}

func (w *Wheel) unlink(id int32) {
	n := &w.nodes[id]
	if n.prev != none {
		w.nodes[n.prev].next = n.next
	} else {
		w.heads[n.list] = n.next
	}
	if n.next != none {
		w.nodes[n.next].prev = n.prev
	}
	if n.list != firing && w.heads[n.list] == none {
		w.occupied[n.list/64] &^= 1 << (n.list % 64)
	}
	n.list = none
}
