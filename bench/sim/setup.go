package sim

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// setups is how long sessions took from their start until a relay had greeted them, by part of the day. The first minute of a
// site's failure is there twice more: that is when balancers do not know of it yet.
type setups [setupParts]struct {
	took  *hdrhistogram.Histogram // in setupUnit
	worst time.Duration
}

// The parts of the day are its phases, then these.
const (
	ownFails     = int(phases) + iota // first minute, at the balancers whose own site fails
	standbyFails                      // first minute, at those whose standby does
	setupParts
)

const (
	setupUnit   = 100 * time.Microsecond
	firstMinute = time.Minute
)

func newSetups() *setups {
	var s setups
	for i := range s {
		s[i].took = hdrhistogram.New(1, int64(2*sessionSetup/setupUnit), 2)
	}
	return &s
}

func (s *setups) add(part int, took time.Duration) {
	_ = s[part].took.RecordValue(int64(took / setupUnit)) // no session takes longer than its setup time
	s[part].worst = max(s[part].worst, took)
}

// setUp notes how long a session took that began then.
func (d *day) setUp(accepted time.Duration) {
	took := d.at - accepted
	d.setups.add(int(d.cfg.phaseAt(accepted)), took)
	if d.cfg.FailFor == 0 || accepted < d.cfg.FailAt || accepted >= d.cfg.FailAt+min(firstMinute, d.cfg.FailFor) {
		return
	}
	switch failedSite {
	case d.plan.site:
		d.setups.add(ownFails, took)
	case (d.plan.site + 1) % d.cfg.Sites:
		d.setups.add(standbyFails, took)
	}
}

// merge adds another balancer's.
func (s *setups) merge(other *setups) {
	for i := range s {
		s[i].took.Merge(other[i].took)
		s[i].worst = max(s[i].worst, other[i].worst)
	}
}

func setupPart(part int) string {
	switch part {
	case ownFails:
		return "first minute, own site failed"
	case standbyFails:
		return "first minute, standby failed"
	default:
		return phase(part).String()
	}
}

// spread is of one part of the day, in seconds.
func (s *setups) spread(part int) Spread {
	worst := s[part].worst.Seconds()
	at := func(percent float64) float64 {
		// The histogram gives the upper end of a bucket.
		return min(float64(s[part].took.ValueAtQuantile(percent))*setupUnit.Seconds(), worst)
	}
	return Spread{at(50), at(99), worst}
}
