package report

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"smtplb/bench/result"
)

// Markdown is what smtpbench compare prints: the measures with a column for
// each peer and whether its bar was met, the matrices, and what is missing or
// must be known. The columns are aligned, so that it reads as well in a terminal
// as where Markdown is rendered.
func Markdown(c *result.Comparison) string {
	var b strings.Builder
	peers := measuredPeers(c)
	all := bars(c)
	fmt.Fprintf(&b, "# smtpbench compare: %s\n\n", strings.ToLower(barsWord(all)[:1])+barsWord(all)[1:])
	if !c.Complete {
		fmt.Fprintf(&b, "**Interrupted after %s: this is what there was until then.**\n\n", span(c.TookS))
	}
	fmt.Fprintf(&b, "%s; %s, medians; %s.\n", escape(foot(c.Version, c.Started)), counted(int64(c.Rounds), "round", "rounds"), span(c.TookS))
	if m := machineLine(c.Machine); m != "" {
		fmt.Fprintf(&b, "%s.\n", m)
	}
	if len(c.Measures) > 0 {
		b.WriteString("\n" + measureTable(c.Measures, peers))
	}
	for i := range c.Matrices {
		writeMatrix(&b, &c.Matrices[i], peers)
	}
	writeList(&b, "Versions", versions(c))
	writeList(&b, "Not measured", missingLines(c))
	writeList(&b, "Caveats", caveats(c))
	return b.String()
}

func machineLine(m result.Machine) string {
	var parts []string
	for _, s := range machine(m) {
		switch s.Name {
		case "kernel", "CPU":
			parts = append(parts, escape(s.Value))
		case "CPUs":
			parts = append(parts, s.Value+" CPUs")
		default:
			parts = append(parts, s.Name+" "+escape(s.Value))
		}
	}
	return strings.Join(parts, ", ")
}

func measureTable(measures []result.Measure, peers []string) string {
	t := grid{head: []string{"measure", "unit", "better"}, right: make([]bool, 3), ragged: true}
	for _, name := range peers {
		t.head = append(t.head, escape(name))
		t.right = append(t.right, true)
	}
	t.head = append(t.head, "spread", "met", "here", "bar")
	t.right = append(t.right, true, false, true, false)
	for i := range measures {
		m := &measures[i]
		better := "less"
		if m.More {
			better = "more"
		}
		row := []string{escape(m.Title), escape(m.Unit), better}
		for _, name := range peers {
			number := none
			if cell := cellOf(m, name); cell != nil {
				number = measured(cell.Median)
			}
			row = append(row, number)
		}
		t.rows = append(t.rows, append(append(row, spread(m)), barCells(m.Bar)...))
	}
	return t.String()
}

// barCells are whether a bar was met, what there is, and the bar.
func barCells(b *result.Bar) []string {
	if b == nil {
		return []string{"", "", ""}
	}
	v := viewBar(b)
	return []string{v.Mark + " " + v.Short, v.Got, escape(b.Text)}
}

// spread is the widest distance between the samples of a peer, of its median:
// differences below it are noise.
func spread(m *result.Measure) string {
	widest, rounds := 0.0, 0
	for i := range m.Cells {
		c := &m.Cells[i]
		lo, hi := extremes(c)
		if relative := (hi - lo) / math.Abs(c.Median); finite(relative) {
			widest, rounds = max(widest, relative), max(rounds, len(c.Samples))
		}
	}
	if rounds < 2 {
		return none
	}
	if widest > 0 && widest < 0.005 {
		return "< 1 %"
	}
	return fmt.Sprintf("%.0f %%", 100*widest)
}

func writeMatrix(b *strings.Builder, m *result.Matrix, peers []string) {
	fmt.Fprintf(b, "\n## %s\n\n", escape(m.Title))
	if m.How != "" {
		fmt.Fprintf(b, "%s\n\n", escape(m.How))
	}
	names := matrixPeers(m, peers)
	t := grid{head: []string{escape(m.Case)}, right: make([]bool, 1+len(names))}
	for _, name := range names {
		t.head = append(t.head, escape(name))
	}
	for i := range m.Rows {
		row := []string{escape(m.Rows[i].Case)}
		for _, name := range names {
			text := none
			if box := boxOf(&m.Rows[i], name); box != nil {
				v := viewBox(box)
				text = v.Mark + " " + escape(v.Text)
			}
			row = append(row, text)
		}
		t.rows = append(t.rows, row)
	}
	b.WriteString(t.String())
	if m.Bar != nil {
		v := viewBar(m.Bar)
		fmt.Fprintf(b, "\n%s %s: %s; here %s.\n", v.Mark, v.Word, escape(m.Bar.Text), v.Got)
	}
}

func writeList(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	for _, l := range lines {
		fmt.Fprintf(b, "- %s\n", l)
	}
}

func versions(c *result.Comparison) []string {
	var lines []string
	for _, p := range c.Peers {
		if p.Missing == "" && p.Version != "" {
			lines = append(lines, escape(p.Name)+": "+escape(p.Version))
		}
	}
	return lines
}

func missingLines(c *result.Comparison) []string {
	var lines []string
	for _, p := range missingPeers(c) {
		lines = append(lines, escape(p.Name)+": "+escape(p.Missing))
	}
	return lines
}

func caveats(c *result.Comparison) []string {
	var lines []string
	for _, m := range c.Measures {
		if m.Note != "" {
			lines = append(lines, escape(m.Title)+": "+escape(m.Note))
		}
		for _, cell := range m.Cells {
			if cell.Note != "" {
				lines = append(lines, escape(m.Title)+", "+escape(cell.Peer)+": "+escape(cell.Note))
			}
		}
	}
	for _, n := range c.Notes {
		lines = append(lines, escape(n))
	}
	return lines
}

// escape keeps a text in its cell and in its line: what Markdown or a terminal
// would take for more than words is written out.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", `\<`, "`", "\\`", "*", `\*`, "[", `\[`).Replace(oneLine(s))
}

// grid is a table of Markdown.
type grid struct {
	head   []string
	right  []bool // by column: aligned to the right
	ragged bool   // the last column, of long texts, is not padded
	rows   [][]string
}

func (g grid) String() string {
	widths := make([]int, len(g.head))
	for _, row := range append([][]string{g.head}, g.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	if g.ragged {
		widths[len(widths)-1] = 3
	}
	var b strings.Builder
	g.write(&b, g.head, widths)
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
		if g.right[i] {
			rule[i] = rule[i][1:] + ":"
		}
	}
	g.write(&b, rule, widths)
	for _, row := range g.rows {
		g.write(&b, row, widths)
	}
	return b.String()
}

func (g grid) write(b *strings.Builder, row []string, widths []int) {
	for i, cell := range row {
		pad := strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(cell), 0))
		if g.right[i] {
			cell = pad + cell
		} else {
			cell += pad
		}
		b.WriteString("| " + cell + " ")
	}
	b.WriteString("|\n")
}
