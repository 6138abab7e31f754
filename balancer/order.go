package balancer

// order holds those of a tier's backends that can be picked, and finds the one whose turn it is. A backend is named by
// its place in the tier.
type order interface {
	// put takes the backend in, or gives it another load and tag.
	put(place int, l load, tag float64)
	// drop takes it out, if it is in.
	drop(place int)
	// first returns the one with the smallest tag among those whose load is below limit, the lower place where tags are
	// equal; -1 if there is none.
	first(limit load) int
}

// rowMax is the size up to which it costs less to look at every backend than to keep a tree of them, as measured by the
// Pick benchmarks of package bench.
const rowMax = 48

// newOrder returns an empty order for a tier of this size.
func newOrder(size int) order {
	if size <= rowMax {
		return newRow(size)
	}
	return newTree(size)
}

// load is a fraction: sessions by weight. Fractions are compared exactly, by cross multiplication; sessions and sums
// of weights stay far below 2^31, so that the products fit. The zero load is nobody's: nothing is below it, and it is
// below nothing.
type load struct {
	sessions, weight int64
}

func (l load) below(m load) bool { return l.sessions*m.weight < m.sessions*l.weight }
