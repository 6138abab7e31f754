package report

import (
	"fmt"
	"io"
	"strings"

	"smtplb/bench/result"
)

// WriteComparison writes the page of smtpbench compare as HTML. It may have
// been interrupted, and peers may be missing; the page says so. The only errors
// are w's.
func WriteComparison(w io.Writer, c *result.Comparison) error {
	return write(w, "comparison.html", comparisonPage(c))
}

// comparisonView is what comparison.html shows, in its order.
type comparisonView struct {
	heading
	Verdict   finding
	Bars      []barRow
	Missing   []result.Peer
	Groups    []chartGroup
	Reference string
	Matrices  []matrixView
	Peers     []result.Peer
	Machine   []result.Setting
	Notes     []string
	Foot      string
}

// barRow is a line of the table of bars.
type barRow struct {
	Title string
	*barView
}

func comparisonPage(c *result.Comparison) comparisonView {
	peers := measuredPeers(c)
	all := bars(c)
	view := comparisonView{
		heading:  comparisonHeading(c, peers),
		Verdict:  finding{barsState(all), barsWord(all), ""},
		Missing:  shownPeers(missingPeers(c)),
		Groups:   chartGroups(c, peers),
		Matrices: matrixViews(c, peers),
		Peers:    shownPeers(c.Peers),
		Machine:  machine(c.Machine),
		Notes:    shownNotes(c.Notes),
		Foot:     foot(c.Version, c.Started),
	}
	titles := map[result.Judgment][]string{}
	for _, b := range all {
		view.Bars = append(view.Bars, barRow{oneLine(b.Title), viewBar(&b.Bar)})
		titles[b.Verdict] = append(titles[b.Verdict], oneLine(b.Title))
	}
	var unmet []string
	for _, v := range []result.Judgment{result.Missed, result.NotMeasured, result.OutOfReach, result.Undecided} {
		if len(titles[v]) > 0 {
			word := string(v)
			unmet = append(unmet, strings.ToUpper(word[:1])+word[1:]+": "+strings.Join(titles[v], "; ")+".")
		}
	}
	view.Verdict.Text = strings.Join(unmet, " ")
	for _, p := range peers {
		if p == reference {
			view.Reference = reference
		}
	}
	return view
}

func comparisonHeading(c *result.Comparison, peers []string) heading {
	h := heading{Product: "smtpbench compare", Title: "Nothing was measured"}
	if len(peers) > 0 {
		h.Title = oneLine(peers[0])
	}
	if len(peers) > 1 {
		h.Title += " beside " + oneLine(enumerate(peers[1:]))
	}
	h.Lead = fmt.Sprintf("%s, %s altogether. A number is the median of the rounds; the small circles are the rounds.",
		counted(int64(c.Rounds), "round", "rounds"), span(c.TookS))
	if !c.Complete {
		h.Alert = "Interrupted after " + span(c.TookS) + ": this is what there was until then."
	}
	return h
}

func shownPeers(peers []result.Peer) []result.Peer {
	shown := make([]result.Peer, 0, len(peers))
	for _, p := range peers {
		q := result.Peer{Name: oneLine(p.Name), Version: oneLine(p.Version), Missing: visible(p.Missing)}
		for _, f := range p.Config {
			q.Config = append(q.Config, result.ConfigFile{Name: oneLine(f.Name), Text: strings.TrimRight(visible(f.Text), "\n")})
		}
		shown = append(shown, q)
	}
	return shown
}

// machine lists what is known of it.
func machine(m result.Machine) []result.Setting {
	var known []result.Setting
	add := func(name, value string) {
		if value != "" {
			known = append(known, result.Setting{Name: name, Value: oneLine(value)})
		}
	}
	add("kernel", m.Kernel)
	add("CPU", m.CPU)
	if m.CPUs > 0 {
		add("CPUs", count(int64(m.CPUs)))
	}
	add("the balancer's CPUs", m.BalancerCPUs)
	add("the load's CPUs", m.LoadCPUs)
	return known
}

// matrixView is a matrix as a table.
type matrixView struct {
	Title, How, Case string
	Peers            []string
	Rows             []matrixRow
	Bar              *barView
}

type matrixRow struct {
	Case  string
	Boxes []matrixBox
}

// matrixBox has a state of none where the peer was not measured.
type matrixBox struct{ State, Mark, Word, Text string }

func matrixViews(c *result.Comparison, peers []string) []matrixView {
	views := make([]matrixView, 0, len(c.Matrices))
	for i := range c.Matrices {
		m := &c.Matrices[i]
		names := matrixPeers(m, peers)
		v := matrixView{Title: oneLine(m.Title), How: visible(m.How), Case: oneLine(m.Case), Bar: viewBar(m.Bar)}
		for _, name := range names {
			v.Peers = append(v.Peers, oneLine(name))
		}
		for j := range m.Rows {
			row := matrixRow{Case: oneLine(m.Rows[j].Case)}
			for _, name := range names {
				row.Boxes = append(row.Boxes, viewBox(boxOf(&m.Rows[j], name)))
			}
			v.Rows = append(v.Rows, row)
		}
		views = append(views, v)
	}
	return views
}

func viewBox(b *result.MatrixBox) matrixBox {
	switch {
	case b == nil:
		return matrixBox{"none", "", "not measured", none}
	case b.Good:
		return matrixBox{good, markOf(good), "good", visible(b.Text)}
	default:
		return matrixBox{bad, markOf(bad), "bad", visible(b.Text)}
	}
}
