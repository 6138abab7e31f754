package balancer

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// orders are all there are; each must do whatever newOrder is used for, at any size.
var orders = map[string]func(size int) order{"row": newRow, "tree": newTree}

// reference is an order as its comment says it, without a thought for speed.
type reference map[int]seat

func (r reference) first(limit load) int {
	best := -1
	for place, s := range r {
		if s.sessions*limit.weight >= limit.sessions*s.weight {
			continue
		}
		if best < 0 || s.tag < r[best].tag || s.tag == r[best].tag && place < best {
			best = place
		}
	}
	return best
}

// orderMachine gives an order and the reference the same backends.
type orderMachine struct {
	order order
	want  reference
	size  int
}

func (m *orderMachine) place(t *rapid.T) int { return rapid.IntRange(0, m.size-1).Draw(t, "place") }

// Few weights, loads and tags, so that many are equal.
func (m *orderMachine) put(t *rapid.T) {
	place := m.place(t)
	weight := rapid.SampledFrom([]int64{1, 2, 3, MaxWeight}).Draw(t, "weight")
	s := seat{load{rapid.Int64Range(0, 4).Draw(t, "sessions"), weight}, float64(rapid.IntRange(0, 8).Draw(t, "tag"))}
	if old, in := m.want[place]; in && rapid.Bool().Draw(t, "same tag") {
		s.tag = old.tag
	}
	m.want[place] = s
	m.order.put(place, s.load, s.tag)
}

func (m *orderMachine) drop(t *rapid.T) {
	place := m.place(t)
	delete(m.want, place)
	m.order.drop(place)
}

func (m *orderMachine) first(t *rapid.T) {
	limit := load{rapid.Int64Range(0, 12).Draw(t, "sessions"), rapid.Int64Range(1, 4).Draw(t, "weight")}
	if got, want := m.order.first(limit), m.want.first(limit); got != want {
		t.Fatalf("first below %v: %d, want %d of %v", limit, got, want, m.want)
	}
}

func (m *orderMachine) check(t *rapid.T) { checkOrder(t, m.order, m.want) }

func TestEveryOrderFindsTheFirstBelowTheLimit(t *testing.T) {
	for name, newOrder := range orders {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				size := rapid.OneOf(rapid.IntRange(1, 10), rapid.IntRange(1, 200)).Draw(t, "size")
				m := &orderMachine{order: newOrder(size), want: reference{}, size: size}
				actions := map[string]func(*rapid.T){
					"put": m.put, "put again": m.put, "drop": m.drop, "first": m.first, "": m.check,
				}
				for range 5 { // long enough to fill up
					t.Repeat(actions)
				}
			})
		})
	}
}

func TestOrderSuitsTheSizeOfTheTier(t *testing.T) {
	for _, size := range []int{1, 2, rowMax, rowMax + 1, 10000} {
		_, isRow := newOrder(size).(row)
		if isRow != (size <= rowMax) {
			t.Errorf("%d backends: a row: %v", size, isRow)
		}
	}
}

func TestLoadsAreComparedExactly(t *testing.T) {
	tests := []struct {
		a, b  load
		below bool
	}{
		{load{0, 1}, load{0, 1000}, false},
		{load{1, 3}, load{1, 3}, false},
		{load{1, 3}, load{2, 6}, false},
		{load{333, 1000}, load{1, 3}, true},
		{load{1, 3}, load{333, 1000}, false},
		{load{1 << 30, 1<<30 + 1}, load{1<<30 + 1, 1<<30 + 2}, true}, // equal as float64 of 32 bits of fraction
		{load{}, load{1, 1}, false},                                  // nobody's
		{load{0, 1}, load{}, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.a, tt.b), func(t *testing.T) {
			if got := tt.a.below(tt.b); got != tt.below {
				t.Errorf("below: %v, want %v", got, tt.below)
			}
		})
	}
}
