package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	minIdle     = 11 * time.Minute
	maxSessions = 10_000_000
)

// origin is where a key's value was written.
type origin struct {
	line     int
	variable string
	value    string // as Problem.Value
}

// report gathers what is wrong. A key is complained of once: what follows from
// a first error, in the key itself or in what it belongs to, is not said.
type report struct {
	file     string
	origins  map[string]origin
	errors   Errors
	warnings []Problem
	broken   map[string]bool
	aliased  bool // an anchor or alias was refused; one error says it
}

func newReport(file string) *report {
	return &report{file: file, origins: make(map[string]origin), broken: make(map[string]bool)}
}

// fail records an error at a key, unless the key is known to be wrong already.
func (r *report) fail(key, want string) {
	if r.failed(key) {
		return
	}
	r.broken[key] = true
	r.errors = append(r.errors, r.problem(key, want))
}

// warn records a warning at a key.
func (r *report) warn(key, want string) {
	r.warnings = append(r.warnings, r.problem(key, want))
}

// failed reports whether the key, or anything that holds it, is in error.
func (r *report) failed(key string) bool {
	for k := key; k != ""; k = parent(k) {
		if r.broken[k] {
			return true
		}
	}
	return false
}

// problem places a key: at its own line, or at that of the nearest thing
// written that should hold it.
func (r *report) problem(key, want string) Problem {
	p := Problem{File: r.file, Key: key, Value: r.origins[key].value, Want: want}
	for k := key; k != ""; k = parent(k) {
		if o, ok := r.origins[k]; ok {
			p.Line, p.Variable = o.line, o.variable
			break
		}
	}
	return p
}

// parent is the key that holds this one, "" at the top.
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// result sorts what was found.
func (r *report) result() (Errors, []Problem) {
	byLine := func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.Variable, b.Variable),
			cmp.Compare(a.Line, b.Line),
		)
	}
	slices.SortStableFunc(r.errors, byLine)
	slices.SortStableFunc(r.warnings, byLine)
	return r.errors, r.warnings
}

// The rules that several keys share. Each takes the key's path first.

func (r *report) between(key string, n, low, high int) {
	if n < low || n > high {
		r.fail(key, fmt.Sprintf("must be %d to %d", low, high))
	}
}

func (r *report) lasting(key string, d, low, high time.Duration) {
	if d < low || d > high {
		r.fail(key, fmt.Sprintf("must be %s to %s", short(low), short(high)))
	}
}

func (r *report) sharing(key string, s, low, high Share) {
	if s < low || s > high {
		r.fail(key, fmt.Sprintf("must be %s to %s", low, high))
	}
}

// atMost holds two times of one section in order. The error stands at the one
// that was written, where only one was.
func (r *report) atMost(key string, d time.Duration, boundKey string, bound time.Duration) {
	if d <= bound || r.failed(key) || r.failed(boundKey) {
		return
	}
	if _, written := r.origins[key]; !written {
		r.fail(boundKey, fmt.Sprintf("must be at least %s (%s, the default)", last(key), short(d)))
		return
	}
	note := ""
	if _, written := r.origins[boundKey]; !written {
		note = ", the default"
	}
	r.fail(key, fmt.Sprintf("must be at most %s (%s%s)", last(boundKey), short(bound), note))
}

// last is the last word of a key.
func last(key string) string {
	return key[strings.LastIndexByte(key, '.')+1:]
}

// unique holds names apart. A default name is an address.
func (r *report) unique(seen map[string]string, key, value string) {
	if value == "" {
		return
	}
	if first, ok := seen[value]; ok {
		r.fail(key, fmt.Sprintf("the name %s is taken by %s", quote(value), first))
		return
	}
	seen[value] = parent(key)
}

func (r *report) name(key, value string) {
	if value != "" && !isName(value) {
		r.fail(key, "must begin with a letter or a digit and hold only those and . _ - : [ ] @ +, at most 300 bytes")
	}
}

func (r *report) mailName(key, value string) {
	if value != "" && !isMailName(value) {
		r.fail(key, `must be a domain name such as "mx.example.com", or an address literal such as "[192.0.2.1]"`)
	}
}

func (r *report) label(key, value string) {
	if !isLine(value) || len(value) > 64 {
		r.fail(key, "must be at most 64 bytes, without control characters")
	}
}

func (r *report) path(key, value string) {
	if !isLine(value) {
		r.fail(key, "must be a path, without control characters")
	}
}

func (r *report) deviceName(key, value string) {
	if value != "" && !isDevice(value) {
		r.fail(key, "must be a network interface, at most 15 bytes, such as eth0")
	}
}
