package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is what the table says of a kind of fault.
type row struct {
	kind     kind
	times    int
	lasted   time.Duration
	accepted int // messages, while it was on
	refused  int // what it explains: greeted 421
	deferred int // a 4xx within the session
	cut      int // the connection broke
	timedOut int // no connection or no reply in time
	slowest  time.Duration
}

// aftermath is how long after a fault what clients meet is still counted for it: many
// are over as soon as they are done.
const aftermath = time.Second

// calm is the row for the time in which nothing was wrong.
const calm kind = "none"

// rowsOf counts what clients met, by the kinds of the windows. Faults overlap: a
// message counts for each that was on, a failure for the one that explains it.
func rowsOf(windows []window, c *crowdOfSenders, d verdict, began, over time.Time) []row {
	rows := []row{{kind: calm}}
	number := map[kind]int{}
	for _, r := range rules() {
		number[r.kind] = len(rows)
		rows = append(rows, row{kind: r.kind})
	}
	spans := make([][]window, len(rows))
	extended := slices.Clone(windows)
	for i, w := range windows {
		r := &rows[number[w.kind]]
		r.times++
		r.lasted += w.over.Sub(w.began)
		w.over = w.over.Add(aftermath)
		extended[i] = w
		spans[number[w.kind]] = append(spans[number[w.kind]], w)
	}
	spans[0] = without(extended, began, over)
	for _, w := range spans[0] {
		rows[0].lasted += w.over.Sub(w.began)
	}
	for i := range rows {
		rows[i].met(spans[i], c)
	}
	for v, n := range d.blamed {
		r := &rows[number[windows[n].kind]]
		switch v.outcome {
		case gotten421:
			r.refused++
		case gotten4xx:
			r.deferred++
		case cutOff, cutItself:
			r.cut++
		default:
			r.timedOut++
		}
	}
	return rows
}

// without are the times in which no fault is on.
func without(windows []window, began, over time.Time) (free []window) {
	windows = slices.Clone(windows)
	slices.SortFunc(windows, func(a, b window) int { return a.began.Compare(b.began) })
	from := began
	for _, w := range append(windows, window{began: over, over: over}) {
		if w.began.After(from) {
			free = append(free, window{began: from, over: w.began})
		}
		if w.over.After(from) {
			from = w.over
		}
	}
	return free
}

// met adds what clients met within the spans of a kind.
func (r *row) met(spans []window, c *crowdOfSenders) {
	within := func(at time.Time) bool {
		return slices.ContainsFunc(spans, func(w window) bool { return !at.Before(w.began) && !at.After(w.over) })
	}
	for _, v := range c.visits {
		if within(v.began) {
			r.slowest = max(r.slowest, v.greeting)
		}
	}
	for _, m := range c.messages {
		for _, t := range m.tries {
			if t.accepted && within(t.end) {
				r.accepted++
			}
		}
	}
}

// maySee lists what a fault of that kind may do to a client, as the judge has it.
func maySee(k kind) string {
	f := fault{kind: k, relay: choose(ruleOf(k).place == atRelay && k != siteDown && k != allDown, 0, -1)}
	var words []string
	for o := noConnect; o <= brokenSMTP; o++ {
		for _, greeting := range []time.Duration{0, 1} {
			if mayCause(window{fault: f}, &visit{outcome: o, greeting: greeting}, logLine{Backend: relays()[0].name}) {
				words = append(words, o.String())
			}
		}
	}
	if words = slices.Compact(words); len(words) > 0 {
		return strings.Join(words, ", ")
	}
	return "nothing"
}

// table is the Markdown of docs/reliability.md.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| fault | may show a client | times | seconds | accepted | 421 | 451 | cut | timed out | slowest greeting |\n")
	b.WriteString("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range rows {
		see, times := "nothing", "-"
		if r.kind != calm {
			see, times = maySee(r.kind), strconv.Itoa(r.times)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.0f | %d | %d | %d | %d | %d | %.2f s |\n", r.kind, see, times, r.lasted.Seconds(),
			r.accepted, r.refused, r.deferred, r.cut, r.timedOut, r.slowest.Seconds())
	}
	return b.String()
}
