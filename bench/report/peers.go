package report

import (
	"slices"
	"strconv"

	"smtplb/bench/result"
)

// The peers that are not like the others: the one that has to reach the bars,
// and the way without a balancer, which is no competitor but the floor.
const (
	ours      = "smtplb"
	reference = "direct"
)

// measuredPeers are the names of the columns: the peers in their order, without
// the missing ones, then those that only cells know.
func measuredPeers(c *result.Comparison) []string {
	var names []string
	add := func(name string) {
		missing := slices.ContainsFunc(c.Peers, func(p result.Peer) bool { return p.Name == name && p.Missing != "" })
		if !missing && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, p := range c.Peers {
		add(p.Name)
	}
	for _, m := range c.Measures {
		for _, cell := range m.Cells {
			add(cell.Peer)
		}
	}
	for _, m := range c.Matrices {
		for _, row := range m.Rows {
			for _, box := range row.Cells {
				add(box.Peer)
			}
		}
	}
	return names
}

func missingPeers(c *result.Comparison) []result.Peer {
	return slices.DeleteFunc(slices.Clone(c.Peers), func(p result.Peer) bool { return p.Missing == "" })
}

// cellOf is nil where the peer was not measured.
func cellOf(m *result.Measure, peer string) *result.Cell {
	for i := range m.Cells {
		if m.Cells[i].Peer == peer && finite(m.Cells[i].Median) {
			return &m.Cells[i]
		}
	}
	return nil
}

func boxOf(r *result.Row, peer string) *result.MatrixBox {
	for i := range r.Cells {
		if r.Cells[i].Peer == peer {
			return &r.Cells[i]
		}
	}
	return nil
}

// matrixPeers are those that have a box in some row: not every way takes part
// in every matrix.
func matrixPeers(m *result.Matrix, peers []string) []string {
	return slices.DeleteFunc(slices.Clone(peers), func(name string) bool {
		return !slices.ContainsFunc(m.Rows, func(r result.Row) bool { return boxOf(&r, name) != nil })
	})
}

// best is the best median but the reference's; ok is false where there is none.
func best(m *result.Measure) (v float64, ok bool) {
	for _, c := range m.Cells {
		switch {
		case c.Peer == reference || !finite(c.Median):
		case !ok, m.More && c.Median > v, !m.More && c.Median < v:
			v, ok = c.Median, true
		}
	}
	return v, ok
}

// ratioTo is how many times the best a median is; empty where that says nothing.
func ratioTo(best, median float64) string {
	if best <= 0 || median < 0 || !finite(median/best) {
		return ""
	}
	if ratio := median / best; ratio < 9.995 {
		return strconv.FormatFloat(ratio, 'f', 2, 64) + " ×"
	}
	return figures(median/best) + " ×"
}

// extremes are the smallest and the largest sample, the median among them.
func extremes(c *result.Cell) (lo, hi float64) {
	lo, hi = c.Median, c.Median
	for _, s := range c.Samples {
		if finite(s) {
			lo, hi = min(lo, s), max(hi, s)
		}
	}
	return lo, hi
}

// judged is a bar, and what it is for.
type judged struct {
	Title string
	result.Bar
}

func bars(c *result.Comparison) []judged {
	var all []judged
	for _, m := range c.Measures {
		if m.Bar != nil {
			all = append(all, judged{m.Title, *m.Bar})
		}
	}
	for _, m := range c.Matrices {
		if m.Bar != nil {
			all = append(all, judged{m.Title, *m.Bar})
		}
	}
	return all
}

// barsState is good where every bar is met, and bad where one failed.
func barsState(all []judged) string {
	state := open
	if len(all) > 0 {
		state = good
	}
	for _, b := range all {
		switch {
		case b.Verdict.Failed():
			return bad
		case b.Verdict != result.Met:
			state = open
		}
	}
	return state
}

// barsWord sums up: "6 of 7 bars met".
func barsWord(all []judged) string {
	of := map[result.Judgment]int{}
	for _, b := range all {
		of[b.Verdict]++
	}
	met := of[result.Met]
	switch {
	case len(all) == 0:
		return "No bar was judged"
	case len(all) == 1:
		return "The one bar is " + viewBar(&all[0].Bar).Short
	case met == len(all):
		return "All " + count(int64(met)) + " bars are met"
	}
	word := count(int64(met)) + " of " + count(int64(len(all))) + " bars are met"
	for _, v := range []result.Judgment{result.OutOfReach, result.Undecided} {
		if of[v] > 0 {
			word += ", " + count(int64(of[v])) + " " + string(v)
		}
	}
	return word
}

// direction says which way is better.
func direction(more bool) string {
	if more {
		return "more is better"
	}
	return "less is better"
}
