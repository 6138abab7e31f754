package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"smtplb/bench/result"
)

// WriteRun writes a run of the source as a page of HTML. It may be interrupted,
// empty or without an integrity check; the page says so. The only errors are
// w's.
func WriteRun(w io.Writer, r *result.Run) error { return write(w, "run.html", runPage(r)) }

// runView is what run.html shows, in its order.
type runView struct {
	heading
	Figures   []figure
	Integrity integrity
	Stages    []stageRow
	From      string // what the stages count from, other than their own beginning
	Thin      bool   // some percentile has too few samples
	Curves    *plot
	Panels    []plot
	Each      string // seconds a point; empty for one
	Buckets   []bucketRow
	Failures  failures
	Settings  []result.Setting
	Notes     []string
	Foot      string
}

// figure is one of the headline numbers.
type figure struct {
	quantity
	Label, More string
	Bad         bool
}

func runPage(r *result.Run) runView {
	buckets, each := timeline(r.Timeline, mostBuckets)
	table, tableEach := timeline(r.Timeline, mostRows)
	view := runView{
		heading:   runHeading(r),
		Figures:   runFigures(r),
		Integrity: integrityOf(r.Integrity),
		Stages:    stageRows(r.Stages),
		Curves:    percentileCurves(r.Stages),
		From:      oneLine(r.LatencyOf),
		Panels:    panels(buckets),
		Buckets:   bucketRows(table, tableEach),
		Failures:  failuresOf(r),
		Settings:  shownSettings(r.Settings),
		Notes:     shownNotes(r.Explainers),
		Foot:      foot(r.Version, r.Started),
	}
	view.Thin = slices.ContainsFunc(view.Stages, stageRow.thin)
	if each > 1 {
		view.Each = clock(float64(each))
	}
	return view
}

func runHeading(r *result.Run) heading {
	h := heading{Product: "smtpbench source", Title: "Load on " + targets(r.Targets)}
	switch r.Model {
	case "open":
		h.Lead = fmt.Sprintf("Open model: sessions start %s a second, however slow the answers. ", figures(r.RateS))
	case "closed":
		h.Lead = "Closed model: a client starts its next session when the last one has ended. "
	}
	h.Lead += "It took " + span(r.DurationS) + "."
	if !r.Complete {
		h.Alert = "Interrupted after " + span(r.DurationS) + ": this is what there was until then."
	}
	return h
}

// targets names the first few.
func targets(all []string) string {
	const most = 3
	switch {
	case len(all) == 0:
		return "no target"
	case len(all) <= most:
		return oneLine(strings.Join(all, ", "))
	default:
		return fmt.Sprintf("%s and %d more", oneLine(strings.Join(all[:most-1], ", ")), len(all)-most+1)
	}
}

func runFigures(r *result.Run) []figure {
	s, m := r.Sessions, r.Messages
	figs := []figure{
		{quantity{figures(s.PerS), "a second"}, "Sessions", sessionWords(s), false},
		{quantity{figures(m.PerS), "a second"}, "Messages", messageWords(m), m.Refused > 0},
		{quantity{figures(m.MBPerS), "MB a second"}, "Volume", volume(m.Bytes) + " of accepted content", false},
		{quantity{count(s.Failed), ""}, "Failed sessions", failedWords(s), s.Failed > 0},
	}
	if r.Model == "open" || s.Dropped > 0 {
		figs = append(figs, figure{quantity{count(s.Dropped), ""}, "Dropped sessions", "due, but without a place to start", s.Dropped > 0})
	}
	for _, name := range []string{"greeting", "message"} {
		if st := stage(r, name); st != nil {
			label := capital(name) + " p99"
			figs = append(figs, figure{latency(st.P99MS), label, fmt.Sprintf("p50 %s, longest %s", latency(st.P50MS), latency(st.MaxMS)), false})
		}
	}
	return figs
}

func sessionWords(s result.Sessions) string {
	text := count(s.OK) + " of " + count(s.Started) + " went well"
	if s.Cut > 0 {
		text += ", " + count(s.Cut) + " were cut off by the interruption"
	}
	return text
}

func failedWords(s result.Sessions) string {
	if s.Started <= 0 {
		return "none was started"
	}
	return share(s.Failed, s.Started) + " of those started"
}

func messageWords(m result.Messages) string {
	text := count(m.Accepted) + " accepted"
	for _, part := range []struct {
		n    int64
		what string
	}{{m.Refused, "refused"}, {m.Unsure, "unsure"}, {m.Unsent, "unsent"}} {
		if part.n > 0 {
			text += ", " + count(part.n) + " " + part.what
		}
	}
	return text
}

// stageRow is a line of the latency table.
type stageRow struct {
	Name, Class string
	Samples     string
	Cells       []latencyCell // mean, p50, p90, p99, p99.9, p99.99, max
}

// latencyCell is Thin where the percentile is one sample's, or fewer.
type latencyCell struct {
	quantity
	Thin bool
}

func (r stageRow) thin() bool {
	return slices.ContainsFunc(r.Cells, func(c latencyCell) bool { return c.Thin })
}

func stageRows(stages []result.Stage) []stageRow {
	rows := make([]stageRow, 0, len(stages))
	for _, s := range stages {
		row := stageRow{Name: oneLine(s.Name), Class: "stage-" + stageClass(s.Name), Samples: count(s.Count)}
		for _, c := range []struct {
			ms    float64
			least int64 // samples, for the percentile to be more than the slowest of all
		}{{s.MeanMS, 1}, {s.P50MS, 2}, {s.P90MS, 10}, {s.P99MS, 100}, {s.P999MS, 1000}, {s.P9999MS, 10000}, {s.MaxMS, 1}} {
			if s.Count <= 0 {
				row.Cells = append(row.Cells, latencyCell{quantity: quantity{Number: none}})
				continue
			}
			row.Cells = append(row.Cells, latencyCell{latency(c.ms), s.Count < c.least})
		}
		rows = append(rows, row)
	}
	return rows
}

// mostRows bounds the table of a run over time.
const mostRows = 60

// bucketRow is a line of the table over time.
type bucketRow struct {
	When  string
	Cells []string
	Bad   bool
}

func bucketRows(buckets []bucket, each int) []bucketRow {
	rows := make([]bucketRow, 0, len(buckets))
	for _, b := range buckets {
		row := bucketRow{When: when(b), Bad: b.failures > 0}
		if each > 1 {
			row.When = clock(b.from) + " to " + clock(b.to)
		}
		row.Cells = []string{
			figures(b.sessions.mean), figures(b.messages.mean), figures(b.volume.mean), count(b.failures), count(b.open),
			latency(b.greetingP50).String(), latency(b.greetingP99).String(),
			latency(b.messageP50).String(), latency(b.messageP99).String(),
		}
		rows = append(rows, row)
	}
	return rows
}

func shownSettings(settings []result.Setting) []result.Setting {
	shown := make([]result.Setting, 0, len(settings))
	for _, s := range settings {
		shown = append(shown, result.Setting{Name: oneLine(s.Name), Value: oneLine(s.Value)})
	}
	return shown
}

func shownNotes(notes []string) []string {
	shown := make([]string, 0, len(notes))
	for _, n := range notes {
		shown = append(shown, visible(n))
	}
	return shown
}

func foot(version string, started time.Time) string {
	text := "smtpbench " + oneLine(version)
	if !started.IsZero() {
		text += ", started " + moment(started)
	}
	return text
}

func moment(t time.Time) string { return t.Format("2 January 2006, 15:04:05 MST") }
