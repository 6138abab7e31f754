package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"smtplb/bench/result"
)

// listedFailures is how many kinds of failures the text has; files have all.
const listedFailures = 20

// writeSource prints a run for people.
func writeSource(w io.Writer, run *result.Run) error {
	var out strings.Builder
	model := "closed model, " + several(setting(run, "concurrency"), "client")
	if run.Model == "open" {
		model = fmt.Sprintf("open model, %g sessions/s due", run.RateS)
	}
	fmt.Fprintf(&out, "%s: %s, %s to a session, sizes %s, %.1f s%s\n\n", strings.Join(run.Targets, ", "), model,
		several(setting(run, "messages-per-session"), "message"), setting(run, "size"), run.DurationS, cutShort(run))
	writeCounts(&out, run)
	writeStages(&out, run)
	writeFailures(&out, run.Failures)
	if run.Integrity != nil {
		writeIntegrity(&out, run.Integrity)
	}
	for _, note := range run.Explainers {
		fmt.Fprintf(&out, "\n%s\n", wrapped(note, 100))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func cutShort(run *result.Run) string {
	if run.Complete {
		return ""
	}
	return ", cut short"
}

// setting is a setting of the run, by its name.
func setting(run *result.Run, name string) string {
	for _, s := range run.Settings {
		if s.Name == name {
			return s.Value
		}
	}
	return "?"
}

func several(n, what string) string {
	if n == "1" {
		return n + " " + what
	}
	return n + " " + what + "s"
}

// parts joins those that are not 0, and the first in any case.
func parts(list ...any) string {
	var words []string
	for i := 0; i+1 < len(list); i += 2 {
		if n, ok := list[i].(int64); ok && (n != 0 || i == 0) {
			words = append(words, fmt.Sprintf("%d %v", n, list[i+1]))
		}
	}
	return strings.Join(words, ", ")
}

func writeCounts(out io.Writer, run *result.Run) {
	s, m := run.Sessions, run.Messages
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "sessions\t%s\t%s/s\n", parts(s.OK, "ok", s.Failed, "failed", s.Cut, "cut off", s.Dropped, "dropped"), figures(s.PerS))
	fmt.Fprintf(table, "messages\t%s\t%s/s, %s MB/s\n",
		parts(m.Accepted, "accepted", m.Refused, "refused", m.Unsure, "unsure", m.Unsent, "unsent"), figures(m.PerS), figures(m.MBPerS))
	_ = table.Flush() // a strings.Builder takes everything
	fmt.Fprintln(out)
}

func writeStages(out io.Writer, run *result.Run) {
	if len(run.Stages) == 0 {
		return
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "ms from %s\tcount\tmean\tp50\tp90\tp99\tp99.9\tp99.99\tmax\t\n", run.LatencyOf)
	for _, s := range run.Stages {
		fmt.Fprintf(table, "%s\t%d\t", s.Name, s.Count)
		for _, ms := range []float64{s.MeanMS, s.P50MS, s.P90MS, s.P99MS, s.P999MS, s.P9999MS, s.MaxMS} {
			fmt.Fprintf(table, "%s\t", figures(ms))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush() // as above
	fmt.Fprintln(out)
}

func writeFailures(out io.Writer, failures []result.Failure) {
	if len(failures) == 0 {
		fmt.Fprintln(out, "no failures")
		return
	}
	fmt.Fprintln(out, "failures")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range failures[:min(len(failures), listedFailures)] {
		where := f.Stage
		if f.Target != "" {
			where += " " + f.Target
		}
		fmt.Fprintf(table, "  %d\t%s\t%s\t%s\n", f.Count, f.Class, where, strings.ReplaceAll(f.Reply, "\n", " / "))
	}
	_ = table.Flush() // as above
	if n := len(failures) - listedFailures; n > 0 {
		fmt.Fprintf(out, "  and %d more kinds, see --json or --html\n", n)
	}
}

func writeIntegrity(out io.Writer, v *result.Verdict) {
	fmt.Fprintf(out, "\nintegrity: %d accepted, %d unsure, %d delivered; %d lost, %d duplicated, %d corrupted, %d unexpected\n",
		v.Accepted, v.Unsure, v.Delivered, v.Lost, v.Duplicated, v.Corrupted, v.Unexpected)
	for _, list := range []struct {
		word string
		seqs []uint64
	}{{"lost", v.LostSeqs}, {"duplicated", v.DupSeqs}, {"corrupted", v.BadSeqs}, {"unexpected", v.OddSeqs}} {
		if len(list.seqs) > 0 {
			fmt.Fprintf(out, "  %s: %s\n", list.word, strings.Trim(fmt.Sprint(list.seqs[:min(len(list.seqs), 10)]), "[]"))
		}
	}
}

// figures is a number with about three digits.
func figures(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 1000:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

// wrapped breaks a text into lines of at most width characters, between words.
func wrapped(text string, width int) string {
	var out strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}
