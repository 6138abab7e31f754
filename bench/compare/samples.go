package compare

import (
	"math"
	"math/rand/v2"
	"slices"

	"smtplb/bench/result"
)

// samples are the numbers of one measure: of each peer one for each round, NaN
// where there is none.
type samples struct {
	rounds int
	block  int // so many, one after the other, are of one start and have much in common
	of     map[string][]float64
}

func newSamples(rounds int) *samples {
	return &samples{rounds: rounds, block: 1, of: map[string][]float64{}}
}

// set notes what a peer reached in a round.
func (s *samples) set(peer string, round int, value float64) {
	if s.of[peer] == nil {
		s.of[peer] = slices.Repeat([]float64{math.NaN()}, s.rounds)
	}
	s.of[peer][round] = value
}

// has tells whether the peer has a number in any round.
func (s *samples) has(peer string) bool { return len(numbers(s.of[peer])) > 0 }

// median is that of the peer's rounds; NaN where there are none.
func (s *samples) median(peer string) float64 { return median(s.of[peer]) }

// ratio is the median of smtplb's numbers divided by those that a rival has of
// the same round. What disturbs the machine for longer than a round disturbs
// both.
func (s *samples) ratio(rival string) float64 { return s.between(smtplb, rival) }

// between is the same of any two.
func (s *samples) between(peer, rival string) float64 { return median(s.ratios(peer, rival)) }

// ratios are those of each round that has both.
func (s *samples) ratios(peer, rival string) []float64 {
	return numbers(s.paired(peer, rival, func(mine, theirs float64) float64 { return mine / theirs }))
}

// differences are those of each round; NaN where one is missing.
func (s *samples) differences(peer, rival string) []float64 {
	return s.paired(peer, rival, func(mine, theirs float64) float64 { return mine - theirs })
}

func (s *samples) paired(peer, rival string, of func(mine, theirs float64) float64) []float64 {
	var all []float64
	theirs := s.of[rival]
	for round, mine := range s.of[peer] {
		if theirs != nil {
			all = append(all, of(mine, theirs[round]))
		}
	}
	return all
}

// interval is where the median of all is in 95 of 100 cases, by the percentile
// bootstrap (Efron, 1979): as many blocks are drawn as there are, any of them any
// number of times. NaN of none. It is the same each time.
func interval(all []float64, block int) (low, high float64) {
	const cases = 4000
	blocks := slices.Collect(slices.Chunk(all, block))
	if len(numbers(all)) == 0 {
		return math.NaN(), math.NaN()
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	var found, drawn []float64
	for range cases {
		drawn = drawn[:0]
		for range blocks {
			drawn = append(drawn, blocks[random.IntN(len(blocks))]...)
		}
		if m := median(drawn); !math.IsNaN(m) {
			found = append(found, m)
		}
	}
	slices.Sort(found)
	return found[len(found)/40], found[len(found)-1-len(found)/40]
}

// over divides by other samples, peer by peer and round by round.
func (s *samples) over(other *samples) *samples {
	c := newSamples(s.rounds)
	for peer, mine := range s.of {
		for round := range mine {
			if theirs := other.of[peer]; theirs != nil {
				c.set(peer, round, mine[round]/theirs[round])
			}
		}
	}
	return c
}

// above takes base from every number, and leaves one peer out.
func (s *samples) above(base float64, without string) *samples {
	c := newSamples(s.rounds)
	c.block = s.block
	for peer, all := range s.of {
		for round, value := range all {
			if peer != without {
				c.set(peer, round, value-base)
			}
		}
	}
	return c
}

// cells are what a report shows, in the order of the peers, each number times
// scale. A peer without any has no cell.
func (s *samples) cells(peers []*peer, scale float64) []result.Cell {
	var cells []result.Cell
	for _, p := range peers {
		all := numbers(s.of[p.name])
		if len(all) == 0 {
			continue
		}
		for i := range all {
			all[i] *= scale
		}
		cells = append(cells, result.Cell{Peer: p.name, Median: median(all), Samples: all})
	}
	return cells
}

// numbers leaves out those that are none. What is returned is a copy.
func numbers(all []float64) []float64 {
	var finite []float64
	for _, x := range all {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			finite = append(finite, x)
		}
	}
	return finite
}

// median is the middle one, or the mean of the middle two; NaN of none.
func median(all []float64) float64 {
	sorted := numbers(all)
	slices.Sort(sorted)
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
