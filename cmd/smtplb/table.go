package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// style is how text for people is written.
type style struct {
	color bool // never the only carrier of a meaning
	width int  // of the terminal; 0: unknown
}

// styleOf looks at where the output goes. There is colour on a terminal only, and
// none where NO_COLOR is set (no-color.org) or the terminal knows none.
func styleOf(out io.Writer, environ []string) style {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return style{}
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		width = 0
	}
	return style{color: variable(environ, "NO_COLOR") == "" && variable(environ, "TERM") != "dumb", width: width}
}

// variable is the value of an environment variable, "" if it is not set.
func variable(environ []string, name string) string {
	value := ""
	for _, v := range environ {
		if text, ok := strings.CutPrefix(v, name+"="); ok {
			value = text // the last one counts
		}
	}
	return value
}

// The colours, as terminals know them.
const (
	plain  = ""
	green  = "32"
	yellow = "33"
	red    = "31"
)

func (s style) paint(color, text string) string {
	if !s.color || color == plain || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// table is columns of text, each as wide as its widest cell.
type table struct {
	columns []column
	rows    [][]string
}

// column has a head. Its numbers stand to the right.
type column struct {
	head  string
	right bool
	color func(text string) string // of a cell; nil: plain
}

// add appends a row. What would move the cursor of a terminal is taken out: some
// texts are the words of relays.
func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = harmless(fmt.Sprint(c))
	}
	t.rows = append(t.rows, row)
}

func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// harmlessLines is harmless for what may have several lines: an error has in it
// what others sent.
func harmlessLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = harmless(lines[i])
	}
	return strings.Join(lines, "\n")
}

// String is the table without colours.
func (t *table) String() string { return t.text(style{}) }

// text is the table; lines are cut at the width of the terminal.
func (t *table) text(s style) string {
	heads := make([]string, len(t.columns))
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		heads[i] = c.head
		widths[i] = utf8.RuneCountInString(c.head)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	t.line(&b, style{width: s.width}, heads, widths)
	for _, row := range t.rows {
		t.line(&b, s, row, widths)
	}
	return b.String()
}

const gap = "  "

func (t *table) line(b *strings.Builder, s style, cells []string, widths []int) {
	room := s.width // of the terminal, that is left
	last := len(cells) - 1
	for last > 0 && cells[last] == "" {
		last--
	}
	for i, text := range cells[:last+1] {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
		before, after := "", pad
		if t.columns[i].right {
			before, after = pad, ""
		}
		if i == last {
			after = ""
			text = cut(text, room-len(before), s.width > 0)
		}
		color := plain
		if t.columns[i].color != nil {
			color = t.columns[i].color(text)
		}
		b.WriteString(before + s.paint(color, text) + after)
		if i < last {
			b.WriteString(gap)
		}
		room -= widths[i] + len(gap)
	}
	b.WriteString("\n")
}

// cut shortens a text to the room that there is, down to a few letters.
func cut(text string, room int, limited bool) string {
	const least = 8
	runes := []rune(text)
	room = max(room, least)
	if !limited || len(runes) <= room {
		return text
	}
	return string(runes[:room-1]) + "…"
}

// lasting is a time as people say it, in its two largest units.
func lasting(seconds float64) string {
	d := time.Duration(max(seconds, 0) * float64(time.Second)).Truncate(time.Second)
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

// sized is a number of bytes as people say it.
func sized(n int64) string {
	const step = 1000
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/step, 0
	for ; value >= step-0.05 && unit < 3; unit++ { // what would be written 1000.0
		value /= step
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGT"[unit])
}
