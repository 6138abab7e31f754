package sink

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a script or a word of the command
// line.
type Problem struct {
	Place string // the file, or the option with its value
	Line  int    // of the file, from 1; 0 where there is no one line
	Key   string // such as faults[2].probability; "" for the whole
	Value string // as given, shortened where it is long
	Want  string // what would be right
}

// Error gives the problem on one line: place, key, value, what would be right.
func (p Problem) Error() string {
	place := p.Place
	if p.Line > 0 {
		place += ":" + strconv.Itoa(p.Line)
	}
	parts := []string{place}
	for _, part := range []string{p.Key, p.Value, p.Want} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Problems is everything that is wrong, by place and line.
type Problems []Problem

// maxShown bounds the text of Problems: past that, a file is of another kind.
const maxShown = 100

// Error gives one problem a line, the first hundred of them.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for i, problem := range p {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more", len(p)-i))
			break
		}
		lines = append(lines, problem.Error())
	}
	return strings.Join(lines, "\n")
}

// sort keeps the order of places, and sorts what is of one place by line.
func (p Problems) sort() {
	order := make(map[string]int)
	for _, problem := range p {
		if _, known := order[problem.Place]; !known {
			order[problem.Place] = len(order)
		}
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(order[a.Place]-order[b.Place], a.Line-b.Line)
	})
}

// quote writes text from outside so that it stays short and on its line.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}

// under is a key within another, as problems name it. Either may be "". What is
// not a plain word is in quotes: it may have line ends in it.
func under(at, key string) string {
	plain := func(c rune) bool {
		return c == '_' || c == '-' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	}
	if strings.ContainsFunc(key, func(c rune) bool { return !plain(c) }) || len(key) > 64 {
		key = quote(key)
	}
	switch {
	case at == "":
		return key
	case key == "":
		return at
	default:
		return at + "." + key
	}
}
