package mail

import (
	"maps"
	"math/bits"
	"slices"
)

// Span is a range of sequence numbers, both ends included. In JSON it is
// [first,last].
type Span struct{ First, Last uint64 }

// tally counts by sequence number. Most numbers of a run have the count 1,
// which takes a bit; the others stand in a map. The zero value is empty.
type tally struct {
	pages    map[uint64]*page // by seq/pageSize
	more     map[uint64]int   // counts from 2 on; their bits are set as well
	total    int64            // of all counts
	distinct int64            // numbers that have one
}

const pageSize = 1024

type page [pageSize / 64]uint64

func (t *tally) count(seq uint64) int {
	p := t.pages[seq/pageSize]
	if p == nil || p[seq%pageSize/64]>>(seq%64)&1 == 0 {
		return 0
	}
	return max(t.more[seq], 1)
}

func (t *tally) add(seq uint64, n int) {
	if n <= 0 {
		return
	}
	if t.pages == nil {
		t.pages = make(map[uint64]*page)
	}
	p := t.pages[seq/pageSize]
	if p == nil {
		p = new(page)
		t.pages[seq/pageSize] = p
	}
	word, bit := &p[seq%pageSize/64], uint64(1)<<(seq%64)
	t.total += int64(n)
	if *word&bit == 0 {
		*word |= bit
		t.distinct++
		if n == 1 {
			return
		}
	} else {
		n += max(t.more[seq], 1)
	}
	if t.more == nil {
		t.more = make(map[uint64]int)
	}
	t.more[seq] = n
}

// each calls f with every number that has a count, rising.
func (t *tally) each(f func(seq uint64)) {
	for _, key := range slices.Sorted(maps.Keys(t.pages)) {
		for i, word := range t.pages[key] {
			for ; word != 0; word &= word - 1 {
				f(key*pageSize + uint64(i)*64 + uint64(bits.TrailingZeros64(word)))
			}
		}
	}
}

// once returns the numbers with the count 1 as spans, rising.
func (t *tally) once() []Span {
	var spans []Span
	t.each(func(seq uint64) {
		switch last := len(spans) - 1; {
		case t.more[seq] > 1:
		case last >= 0 && spans[last].Last+1 == seq:
			spans[last].Last = seq
		default:
			spans = append(spans, Span{seq, seq})
		}
	})
	return spans
}
