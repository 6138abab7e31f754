package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration, or, as a warning,
// rarely meant.
type Problem struct {
	// File is the name of the file, as given to Load or Parse.
	File string

	// Line is the line in the file, from 1; 0 where there is no one line.
	Line int

	// Variable is the environment variable that gave the value; it then stands
	// in place of File and Line.
	Variable string

	// Key is the path of the key, such as pools[0].backends[1].weight; "" for
	// the whole file.
	Key string

	// Value is the value given, quoted where it is text, shortened where it is
	// long; "" where none was given.
	Value string

	// Want says what would be right.
	Want string
}

// String gives the problem on one line: place, key, value, what would be right.
func (p Problem) String() string {
	place := p.File
	switch {
	case p.Variable != "":
		place = "environment: " + onItsLine(p.Variable)
	case p.Line > 0:
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

// onItsLine is a name as it stands, or quoted where it has more than plain
// characters in it.
func onItsLine(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// Error is String, so that a Problem can be an error of its own.
func (p Problem) Error() string { return p.String() }

// Errors is everything wrong with one configuration, sorted by line; what came
// from the environment stands last.
type Errors []Problem

// maxShown bounds the text of Errors: past that, a file is of another kind.
const maxShown = 100

// Error gives one problem a line, the first hundred of them.
func (e Errors) Error() string {
	var b strings.Builder
	for i, p := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == maxShown {
			fmt.Fprintf(&b, "%s: and %d more", p.File, len(e)-i)
			break
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Unwrap gives each problem to errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, p := range e {
		all[i] = p
	}
	return all
}
