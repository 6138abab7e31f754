package sim

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the report for people to read.
func (rep *Report) WriteText(w io.Writer) error {
	t := &text{tab: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.facts(rep)
	t.setup(rep)
	t.shares(rep)
	t.loads(rep)
	t.warm(&rep.Warm)
	t.moves(rep)
	for _, n := range rep.Notes {
		t.line("\n%s", n)
	}
	if t.err != nil {
		return t.err
	}
	return t.tab.Flush()
}

// text writes lines until one fails.
type text struct {
	tab *tabwriter.Writer
	err error
}

func (t *text) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.tab, format+"\n", args...)
	}
}

// table begins a table of spreads.
func (t *text) table(title, of string) { t.line("\n%s\t%s\tp50\tp99\tworst", title, of) }

// row is one spread, each number as unit writes it.
func (t *text) row(name, of string, s Spread, unit func(float64) string) {
	t.line("  %s\t%s\t%s\t%s\t%s", name, of, unit(s.P50), unit(s.P99), unit(s.Worst))
}

func (t *text) facts(r *Report) {
	f := &r.Fleet
	t.line("fleet     %s balancers with %s Exchange servers, %s relays, %d sites; seed %d",
		count(f.Balancers), count(f.Servers), count(f.Relays), f.Sites, f.Seed)
	t.line("          a pool has %d to %d relays of its own site, %d to %d of its standby",
		f.OwnRelays.Least, f.OwnRelays.Most, f.StandbyRelays.Least, f.StandbyRelays.Most)
	away := "no site fails"
	if r.Failure.Site != "" {
		away = fmt.Sprintf("%s with its %s relays (%s) from %s for %s", r.Failure.Site, count(r.Failure.Relays),
			r.Failure.As, clock(r.Failure.At), duration(r.Failure.For))
	}
	t.line("failures  %s; by themselves, at other times, %s relays", away, count(r.Failure.RelayFaults))
	s := &r.Sessions
	t.line("sessions  %s, of which %s waited for their server", count(s.Total), count(s.Held))
	t.line("          retries a session: %.5f; while the site was away: %.5f; most relays asked by one: %d",
		s.Retries, s.RetriesAway, s.MostAsked)
	t.line("          %s times a second relay was asked beside a late one; %s of those would have greeted yet",
		count(s.Hedged), count(s.Overtaken))
	t.line("failed    %s sessions found no relay: %s none was up, %s each was tried, %s out of time",
		count(s.Failed), count(s.FailedDown), count(s.FailedAll), count(s.FailedLate))
}

func (t *text) setup(r *Report) {
	t.table("SETUP of a session, until a relay had greeted", "sessions")
	for _, s := range r.Setup {
		t.row(s.Phase, count(s.Sessions), s.Took, func(x float64) string { return fmt.Sprintf("%.2f s", x) })
	}
}

func (t *text) shares(r *Report) {
	t.table("SHARE ERROR of a balancer's worst relay", "balancers")
	for i := range r.Shares {
		e := &r.Shares[i]
		if e.Balancers == 0 {
			continue // too few sessions at each to say anything
		}
		t.row(tierName(e.Tier)+", "+e.Phase, count(e.Balancers), e.Share, percent)
		t.row("  in sessions", "", e.Count, func(x float64) string { return fmt.Sprintf("%.1f", x) })
	}
	t.table("RELAY LOAD ERROR of a relay, all balancers together", "relays")
	for _, e := range r.RelayLoad {
		t.row(e.Phase, count(e.Relays), e.Error, percent)
	}
}

func (t *text) loads(r *Report) {
	t.table("IMBALANCE of a relay's sessions in a minute", "relay minutes")
	for _, m := range r.Imbalance {
		worst := func(x float64) string {
			if x == m.ToMean.Worst {
				return fmt.Sprintf("%s (%s at %s)", times(x), m.WorstRelay, clock(m.WorstAt))
			}
			return times(x)
		}
		t.row(m.Phase+": to its site's mean, by weight", count(m.Cases), m.ToMean, worst)
		t.row("  the same with perfect shares", "", m.Perfect, times)
		t.row("  to its load with perfect shares", "", m.ToOwed, times)
	}
}

func (t *text) warm(w *Warm) {
	t.table("WARM SHARE of the standby while the own site is in use", "sessions")
	t.line("  configured %s, got %s\t%s", percent(w.Configured), percent(w.Share), count(w.Sessions))
	t.row("error of a balancer, over the day", "", w.Error, percent)
	t.row(fmt.Sprintf("  its worst %d sessions in a row", warmWindow), "", w.Window, percent)
	t.line("  helped out, after relays of the own site had failed\t%s", count(w.Helped))
}

func (t *text) moves(r *Report) {
	if r.Failure.Site == "" {
		return
	}
	t.table("TIME TO SHIFT to the standby", "balancers")
	t.row("last session asked the failed site after", count(r.Shift.Balancers), r.Shift.LastAsked, seconds)
	t.row("new sessions went to the standby after", "", r.Shift.Left, seconds)
	t.row("none of its relays was up after", count(r.Shift.Balancers-r.Shift.Unmoved), r.Shift.AllDown, seconds)
	t.line("  tier changes of one balancer, there and back, at most\t%d", r.Shift.Changes)
	t.table("TIME TO FAIL BACK to the own site", "balancers")
	t.row("last session was given to the standby after", count(r.Failback.Balancers), r.Failback.LastStandby, seconds)
	t.row("new sessions went home after", "", r.Failback.Returned, seconds)
	t.row("every relay was back after", count(r.Failback.Balancers-r.Failback.NotBack), r.Failback.AllBack, seconds)
}

func tierName(tier int) string {
	if tier == 0 {
		return "own site"
	}
	return "standby"
}

func percent(x float64) string { return fmt.Sprintf("%.3f %%", 100*x) }
func times(x float64) string   { return fmt.Sprintf("%.2f", x) }
func seconds(x float64) string { return fmt.Sprintf("%.1f s", x) }

func duration(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// clock is a time of the day.
func clock(s float64) string { return time.Time{}.Add(duration(s)).Format(time.TimeOnly) }

// count is a number with its thousands apart.
func count[T int | int64](n T) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
