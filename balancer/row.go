package balancer

import "math"

// row is an order without any structure: first looks at each backend. They lie side by side in memory, so that ten
// cost hardly more than two.
type row []seat

// seat is a backend's part of a row; zero while it is not in.
type seat struct {
	load
	tag float64
}

func newRow(size int) order { return make(row, size) }

func (r row) put(place int, l load, tag float64) { r[place] = seat{l, tag} }

func (r row) drop(place int) { r[place] = seat{} }

func (r row) first(limit load) int {
	place, least := -1, math.Inf(1)
	for i := range r {
		if s := &r[i]; s.tag < least && s.below(limit) {
			place, least = i, s.tag
		}
	}
	return place
}
