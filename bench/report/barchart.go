package report

import (
	"cmp"
	"fmt"
	"strings"

	"smtplb/bench/result"
)

// chart is a measure drawn: a row for each peer, all x in per cent.
type chart struct {
	Title, Unit string
	How         string
	Caveats     []string
	Log         bool
	Ticks       []mark
	Rows        []chartRow
	Without     string // peers that have no number
	Bar         *barView
	Better      string // which way
}

// chartRow is one peer's bar from zero, or on a logarithmic axis, which has no
// zero, a dot; over it the samples of the rounds.
type chartRow struct {
	Peer, Class  string
	X, Width     float64
	Middle       float64
	Spread       bool // there is more than one sample
	Low, High    float64
	Dots         []float64
	Value, Ratio string
	Words        string // the samples, for those who do not see them
}

// barView is a bar, judged.
type barView struct {
	Class, Mark string
	Word, Short string // "Bar missed", "missed"
	Text, Got   string
}

func viewBar(b *result.Bar) *barView {
	if b == nil {
		return nil
	}
	v := &barView{Class: "missed", Mark: markOf(bad), Short: string(result.Missed), Text: oneLine(b.Text), Got: measured(b.Got)}
	switch b.Verdict {
	case result.NotMeasured:
		v.Short, v.Got = string(b.Verdict), none
	case result.OutOfReach, result.Undecided:
		v.Class, v.Mark, v.Short = "open", none, string(b.Verdict)
	case result.Met:
		v.Class, v.Mark, v.Short = "met", markOf(good), string(b.Verdict)
	}
	v.Word = "Bar " + v.Short
	return v
}

func chartOf(m *result.Measure, peers []string) chart {
	c := chart{
		Title: oneLine(m.Title), Unit: oneLine(m.Unit), How: visible(m.How), Better: direction(m.More), Bar: viewBar(m.Bar),
	}
	if m.Note != "" {
		c.Caveats = append(c.Caveats, visible(m.Note))
	}
	var values []float64
	for _, cell := range m.Cells {
		lo, hi := extremes(&cell)
		values = append(values, lo, hi)
	}
	axis := linearFor(values)
	if m.Log {
		if l, ok := logFor(values); ok {
			axis, c.Log = l, true
		}
	}
	c.Ticks = xMarks(axis.ticks(4, plain))
	for i := range c.Ticks {
		c.Ticks[i].Minor = i%2 == 1 && len(c.Ticks) > 3
		c.Ticks[i].Zero = c.Ticks[i].Label == "0"
	}
	top, found := best(m)
	var without []string
	for _, name := range peers {
		cell := cellOf(m, name)
		if cell == nil {
			if name != reference { // what a balancer costs cannot be asked without one
				without = append(without, oneLine(name))
			}
			continue
		}
		row := chartRow{Peer: oneLine(name), Class: peerClass(name)}
		row.place(cell, axis)
		switch {
		case found && cell.Median == top && name != reference:
			row.Ratio = "best"
		case found:
			row.Ratio = ratioTo(top, cell.Median)
		}
		if cell.Note != "" {
			c.Caveats = append(c.Caveats, row.Peer+": "+visible(cell.Note))
		}
		c.Rows = append(c.Rows, row)
	}
	if len(c.Rows) == 1 { // a question to this one alone
		c.Rows[0].Ratio = ""
		return c
	}
	c.Without = enumerate(without)
	return c
}

func (r *chartRow) place(cell *result.Cell, axis scale) {
	zero := 0.0
	if axis.log {
		zero = axis.lo
	}
	from, to := axis.at(zero), axis.at(cell.Median)
	r.X, r.Width, r.Middle = 100*min(from, to), 100*max(to-from, from-to), 100*to
	lo, hi := extremes(cell)
	r.Low, r.High, r.Spread = 100*axis.at(lo), 100*axis.at(hi), hi > lo
	r.Value = measured(cell.Median)
	var samples []string
	for _, s := range cell.Samples {
		if finite(s) {
			r.Dots = append(r.Dots, 100*axis.at(s))
			samples = append(samples, figures(s))
		}
	}
	r.Words = fmt.Sprintf("median %s", r.Value)
	if len(samples) > 0 {
		r.Words += " of " + strings.Join(samples, ", ")
	}
}

func peerClass(name string) string {
	switch name {
	case ours:
		return "us"
	case reference:
		return "reference"
	}
	return "competitor"
}

// chartGroup is what is drawn together.
type chartGroup struct {
	Name   string
	Charts []chart
}

// chartGroups keeps the order in which groups first come.
func chartGroups(c *result.Comparison, peers []string) []chartGroup {
	var groups []chartGroup
	index := map[string]int{}
	for i := range c.Measures {
		m := &c.Measures[i]
		at, known := index[m.Group]
		if !known {
			at = len(groups)
			index[m.Group] = at
			groups = append(groups, chartGroup{Name: cmp.Or(capital(oneLine(m.Group)), "Other measures")})
		}
		groups[at].Charts = append(groups[at].Charts, chartOf(m, peers))
	}
	return groups
}
