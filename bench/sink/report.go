package sink

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a sink has seen, for people and for programs.
type Report struct {
	Version   string        `json:"version"` // of smtpbench
	Started   time.Time     `json:"started"`
	DurationS float64       `json:"duration_s"`
	Complete  bool          `json:"complete"` // false: the sink runs, or was interrupted, and this is what there was until then
	Relays    []RelayStats  `json:"relays"`
	Faults    []FaultReport `json:"faults"` // those in force, in the order of the script
	Runs      []RunReport   `json:"runs"`   // of the sources that sent here
}

// FaultReport is what became of one fault of the script.
type FaultReport struct {
	Fault    string `json:"fault"`   // as ParseFault reads it
	Relay    string `json:"relay"`   // "" for all
	Kind     string `json:"kind"`    // under which its injections are counted
	Outcome  string `json:"outcome"` // what a client sees of it
	Injected int64  `json:"injected"`
	Begun    int64  `json:"begun,omitempty"` // at connect: how often it came on; the kernel does not say how many it met
}

// RunReport is what there is of one run of a source.
type RunReport struct {
	Run      string `json:"run"` // in hex, as in the messages
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"`
	Distinct int64  `json:"distinct"` // messages, copies not counted
	Several  int64  `json:"several"`  // of those, came more than once; whether that is wrong the source knows
	Corrupt  int64  `json:"corrupt"`  // of those, came damaged
}

// Report is what the sink has seen until now. Complete is the caller's to say.
func (s *Sink) Report() Report {
	p := s.plan.Load()
	r := Report{
		Version: s.version, Started: s.started, DurationS: time.Since(s.started).Seconds(),
		Relays: s.Stats().Relays, Faults: make([]FaultReport, len(p.all)), Runs: []RunReport{},
	}
	for i, a := range p.all {
		r.Faults[i] = FaultReport{
			Fault: a.String(), Relay: a.Relay, Kind: a.Kind(), Outcome: a.Outcome(),
			Injected: a.injected.Load(), Begun: a.begun.Load(),
		}
	}
	for _, run := range s.receipts.Runs() {
		sum := s.receipts.Summary(run)
		r.Runs = append(r.Runs, RunReport{
			Run: fmt.Sprintf("%016x", run), Messages: sum.Total, Bytes: sum.Bytes,
			Distinct: sum.Distinct, Several: sum.Several, Corrupt: sum.Corrupt,
		})
	}
	return r
}

// Corrupt is the number of messages that came damaged.
func (r *Report) Corrupt() int64 {
	n := int64(0)
	for _, relay := range r.Relays {
		n += relay.Corrupt
	}
	return n
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "relay\tconnections\tsessions\tmessages\tMB\tforeign\tcorrupt\topen\t  faults\n")
	rows := r.Relays
	if len(rows) > 1 {
		total := Stats{rows}.Total()
		total.Name = "all"
		rows = append(slices.Clone(rows), total)
	}
	for _, s := range rows {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f\t%d\t%d\t%d\t  %s\n", s.Name, s.Connections, s.Sessions, s.Messages,
			float64(s.Bytes)/1e6, s.Foreign, s.Corrupt, s.Open, faultText(s.Faults))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	if len(r.Faults) > 0 {
		b.WriteString("\nfaults injected\n")
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "  %-10d %s", f.Injected, f.Fault)
		if f.Begun > 0 {
			fmt.Fprintf(&b, "  (came on %d times)", f.Begun)
		}
		b.WriteByte('\n')
	}
	for _, run := range r.Runs {
		fmt.Fprintf(&b, "\nrun %s: %d messages, %d different ones, %d came more than once, %d corrupt", run.Run,
			run.Messages, run.Distinct, run.Several, run.Corrupt)
	}
	if len(r.Runs) > 0 {
		b.WriteByte('\n')
	}
	for _, s := range r.Relays {
		if s.AcceptErrors > 0 {
			fmt.Fprintf(&b, "\nrelay %s could not accept %d times, for want of descriptors as a rule: see ulimit -n\n", s.Name, s.AcceptErrors)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func faultText(faults map[string]int64) string {
	parts := make([]string, 0, len(faults))
	for _, kind := range slices.Sorted(maps.Keys(faults)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, faults[kind]))
	}
	return strings.Join(parts, ", ")
}
