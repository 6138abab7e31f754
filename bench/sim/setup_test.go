package sim

import (
	"testing"
	"time"
)

func TestSetupsAreToldApart(t *testing.T) {
	c := Default() // 10:00 to 12:00
	c.Sites = 3
	const ms = time.Millisecond
	at := func(site int) *day {
		return &day{cfg: &c, plan: &plan{site: site}, setups: newSetups()}
	}
	own, before, after := at(failedSite), at(2), at(1) // the failed site's own, the one whose standby it is, and its standby
	for _, d := range []*day{own, before, after} {
		for _, accepted := range []time.Duration{c.FailAt - 1, c.FailAt, c.FailAt + firstMinute - 1, c.FailAt + firstMinute, c.FailAt + c.FailFor} {
			d.at = accepted + 250*ms
			d.setUp(accepted)
		}
	}
	want := func(d *day, counts [setupParts]int64) {
		t.Helper()
		for part := range d.setups {
			if n := d.setups[part].took.TotalCount(); n != counts[part] {
				t.Errorf("site %d, %s: %d sessions, want %d", d.plan.site, setupPart(part), n, counts[part])
			}
		}
	}
	want(own, [setupParts]int64{1, 3, 1, 2, 0})
	want(before, [setupParts]int64{1, 3, 1, 0, 2})
	want(after, [setupParts]int64{1, 3, 1, 0, 0})

	all := newSetups()
	all.merge(own.setups)
	own.setups.add(int(failing), sessionSetup)
	all.merge(own.setups)
	if got := all.spread(int(failing)); all[failing].took.TotalCount() != 7 || got.P50 < 0.249 || got.P50 > 0.252 || got.P99 != 60 || got.Worst != 60 {
		t.Errorf("while the site is away: %+v of %d sessions, want 0.25, 60, 60 of 7", got, all[failing].took.TotalCount())
	}
	if got := all.spread(standbyFails); got != (Spread{}) {
		t.Errorf("of nothing: %+v", got)
	}
	c.FailFor = 0
	quiet := at(failedSite)
	quiet.at = c.FailAt + ms
	quiet.setUp(c.FailAt)
	want(quiet, [setupParts]int64{1, 0, 0, 0, 0})
}
