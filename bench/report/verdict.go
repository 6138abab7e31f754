package report

import (
	"fmt"
	"strings"

	"smtplb/bench/result"
)

// integrity is what became of the messages.
type integrity struct {
	finding
	Counts []verdictCount
}

// verdictCount is one line of the verdict; Seqs are some of those it counts.
type verdictCount struct {
	Name, Number, Meaning, Seqs string
	Bad                         bool
}

func integrityOf(v *result.Verdict) integrity {
	if v == nil {
		return integrity{finding: finding{open, "Delivery was not checked",
			"No sink was asked what arrived, so that a lost, duplicated or corrupted message would not show here."}}
	}
	i := integrity{Counts: []verdictCount{
		{Name: "accepted", Number: count(v.Accepted), Meaning: "by the source's reckoning: a 2xx after the content"},
		{Name: "delivered", Number: count(v.Delivered), Meaning: "distinct messages at the sinks"},
		{"lost", count(v.Lost), "accepted, but not there", seqs(v.LostSeqs, v.Lost), v.Lost > 0},
		{"duplicated", count(v.Duplicated), "there more than once", seqs(v.DupSeqs, v.Duplicated), v.Duplicated > 0},
		{"corrupted", count(v.Corrupted), "there, with other content", seqs(v.BadSeqs, v.Corrupted), v.Corrupted > 0},
		{"unexpected", count(v.Unexpected), "there, but refused or never sent", seqs(v.OddSeqs, v.Unexpected), v.Unexpected > 0},
		{Name: "unsure", Number: count(v.Unsure), Meaning: "the connection broke between the content and its reply: may be there or not (RFC 1047)"},
	}}
	if v.OK() {
		i.finding = finding{good, "Every accepted message arrived, once and whole",
			fmt.Sprintf("%s accepted, %s delivered: none lost, duplicated, corrupted or unexpected.", count(v.Accepted), count(v.Delivered))}
		if v.Accepted == 0 {
			i.Title = "No message was accepted, and none arrived"
		}
		return i
	}
	var wrong []string
	for _, c := range i.Counts {
		if c.Bad {
			wrong = append(wrong, c.Number+" "+c.Name)
		}
	}
	i.finding = finding{bad, "Messages: " + enumerate(wrong),
		fmt.Sprintf("Of %s accepted, %s were delivered.", count(v.Accepted), count(v.Delivered))}
	return i
}

// enumerate joins with commas and an and.
func enumerate(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// seqs lists sequence numbers, and says how many more there are.
func seqs(listed []uint64, total int64) string {
	const most = 20
	if len(listed) == 0 {
		return ""
	}
	shown := listed[:min(len(listed), most)]
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(shown), " ", ", "), "[]")
	if more := total - int64(len(shown)); more > 0 {
		text += fmt.Sprintf(" and %s more", count(more))
	}
	return text
}

// failures is the table of what went wrong.
type failures struct {
	Rows []failureRow
	More string // what the table leaves out
	None string // what to say without a table
}

type failureRow struct {
	Class, Stage, Target, Reply, Count, Share string
}

func failuresOf(r *result.Run) failures {
	const most = 50
	var f failures
	var total int64
	for _, x := range r.Failures {
		total += x.Count
	}
	for i, x := range r.Failures {
		if i == most {
			f.More = counted(int64(len(r.Failures)-most), "rarer kind is", "rarer kinds are") + " left out here; the JSON has them."
			break
		}
		f.Rows = append(f.Rows, failureRow{
			Class: oneLine(x.Class), Stage: oneLine(x.Stage), Target: oneLine(x.Target), Reply: strings.TrimRight(visible(x.Reply), "\n"),
			Count: count(x.Count), Share: share(x.Count, total),
		})
	}
	switch {
	case len(f.Rows) > 0:
	case r.Sessions.Failed > 0 || r.Messages.Refused > 0:
		f.None = "Sessions or messages failed, but how was not recorded."
	case r.Sessions.Started == 0:
		f.None = "None: no session was started."
	default:
		f.None = "None: every session went as it should."
	}
	return f
}
