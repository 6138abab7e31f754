package sim

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// WriteText writes the report for people to read.
func (rep *SpreadReport) WriteText(w io.Writer) error {
	t := &text{tab: tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.line("%d relays of weights 1 to %d, the same for every balancer; %s of mail; seed %d. Loads are by weight, to their mean.",
		rep.Relays, rep.Weights, time.Duration(rep.Seconds*float64(time.Second)), rep.Seed)
	sessions := 0
	for i := range rep.Cases {
		c := &rep.Cases[i]
		if c.Sessions != sessions {
			sessions = c.Sessions
			t.line("\n%s sessions at once\n", count(sessions))
			t.line("balancers\tworst relay p50\tp99\ttoo many p50\tp99\tseen p50\tp99\tshare error\tbusiest balancer p50\tasked a failed relay\t")
		}
		name := fmt.Sprint(c.Balancers)
		if c.Balancers == 1 {
			name = "1 (global)"
		}
		t.line("%s\t%.2f\t%.2f\t%.1f\t%.1f\t%.2f\t%.2f\t%s\t%.2f\t%d\t", name, c.Worst.P50, c.Worst.P99, c.Excess.P50, c.Excess.P99,
			c.Seen.P50, c.Seen.P99, percent(c.ShareError), c.Busiest.P50, c.AskedFailed)
	}
	if t.err != nil {
		return t.err
	}
	return t.tab.Flush()
}
