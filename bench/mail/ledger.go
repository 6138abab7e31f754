package mail

import (
	"slices"
	"sync"

	"smtplb/bench/result"
)

// listed is how many sequence numbers a Verdict names of each kind.
const listed = 100

// Ledger is what a source knows of the messages of its run. The zero value is
// empty. Its methods are safe for concurrent use.
//
// Each try counts by itself: a message that was tried again after its reply was
// lost may be unsure once and accepted once. A message that was refused, or not
// sent to its end, is not told to the Ledger: it is as if never sent.
type Ledger struct {
	mu               sync.Mutex
	accepted, unsure tally
	last             uint64 // the highest number there is
}

// Accepted notes that a message got its 2xx: it must be there.
func (l *Ledger) Accepted(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted.add(seq, 1)
	l.last = max(l.last, seq)
}

// Unsure notes that the connection broke after the content and before its reply
// (RFC 1047): the message may be there or not.
func (l *Ledger) Unsure(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsure.add(seq, 1)
	l.last = max(l.last, seq)
}

// Compare holds the ledger against what the sinks hold of its run, all of them
// together. A message is lost if it is there less often than it was accepted,
// duplicated if more often than it was accepted or unsure, unexpected if it is
// there but neither; corrupted is one of which any copy was damaged.
func (l *Ledger) Compare(holdings ...Holding) result.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	there, beyond := l.gather(holdings)
	v := result.Verdict{Accepted: l.accepted.total, Unsure: l.unsure.total}

	var sent tally // each number once
	note := func(seq uint64) {
		if sent.count(seq) == 0 {
			sent.add(seq, 1)
		}
	}
	l.accepted.each(note)
	l.unsure.each(note)
	sent.each(func(seq uint64) {
		accepted := l.accepted.count(seq)
		switch n := there.count(seq); {
		case n < accepted:
			v.Lost++
			v.LostSeqs = list(v.LostSeqs, seq)
		case n > accepted+l.unsure.count(seq):
			v.Duplicated++
			v.DupSeqs = list(v.DupSeqs, seq)
		}
		if there.count(seq) > 0 {
			v.Delivered++
		}
	})

	var corrupt tally
	for _, h := range holdings {
		for _, seq := range h.Corrupt {
			if corrupt.count(seq) == 0 {
				corrupt.add(seq, 1)
			}
		}
	}
	v.Corrupted = corrupt.total
	corrupt.each(func(seq uint64) { v.BadSeqs = list(v.BadSeqs, seq) })

	there.each(func(seq uint64) {
		// The number of a damaged message may be what was damaged.
		if sent.count(seq) == 0 && corrupt.count(seq) == 0 {
			v.Unexpected++
			v.OddSeqs = list(v.OddSeqs, seq)
		}
	})
	for _, span := range beyond {
		l.unexpected(&v, span, &corrupt)
	}
	return v
}

// gather adds up the holdings. Numbers above any that the ledger knows are
// returned as spans, rising and apart, for there may be no end of them.
func (l *Ledger) gather(holdings []Holding) (there tally, beyond []Span) {
	take := func(s Span, times int) {
		if s.Last > l.last {
			beyond = append(beyond, Span{max(s.First, l.last+1), s.Last})
			if s.First > l.last {
				return
			}
			s.Last = l.last
		}
		for seq := s.First; ; seq++ {
			there.add(seq, times)
			if seq >= s.Last {
				return
			}
		}
	}
	for _, h := range holdings {
		for _, s := range h.Once {
			take(s, 1)
		}
		for seq, times := range h.Several {
			take(Span{seq, seq}, times)
		}
	}
	return there, merge(beyond)
}

// merge sorts spans and joins those that overlap or touch.
func merge(spans []Span) []Span {
	slices.SortFunc(spans, func(a, b Span) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	var merged []Span
	for _, s := range spans {
		if last := len(merged) - 1; last >= 0 && s.First-1 <= merged[last].Last {
			merged[last].Last = max(merged[last].Last, s.Last)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// unexpected counts a span of numbers that the ledger does not know.
func (l *Ledger) unexpected(v *result.Verdict, s Span, corrupt *tally) {
	v.Unexpected += int64(min(s.Last-s.First, 1<<62) + 1)
	corrupt.each(func(seq uint64) {
		if s.First <= seq && seq <= s.Last {
			v.Unexpected--
		}
	})
	for seq := s.First; len(v.OddSeqs) < listed; seq++ {
		if corrupt.count(seq) == 0 {
			v.OddSeqs = list(v.OddSeqs, seq)
		}
		if seq >= s.Last {
			return
		}
	}
}

func list(seqs []uint64, seq uint64) []uint64 {
	if len(seqs) < listed {
		seqs = append(seqs, seq)
	}
	return seqs
}
