package compare

import (
	"fmt"
	"io"
	"time"
)

// progress writes a line for each step: where the run is, and how much longer
// it will take.
type progress struct {
	to      io.Writer
	began   time.Time
	planned float64 // seconds that all steps were thought to take
	done    float64 // of those
	step    float64 // the one under way
}

// begin plans the run; p's steps may take longer or shorter.
func (p *progress) begin(now time.Time, planned float64) {
	p.began, p.planned = now, planned
	fmt.Fprintf(p.to, "compare: about %s\n", rough(planned))
}

const enoughToTell = 10 // seconds

// next says what comes now, and how long that was thought to take.
func (p *progress) next(now time.Time, seconds float64, format string, args ...any) {
	p.end()
	p.step = seconds
	left := p.planned - p.done
	// What is done says how much faster or slower this machine is.
	if p.done > enoughToTell {
		left *= now.Sub(p.began).Seconds() / p.done
	}
	fmt.Fprintf(p.to, "compare: %s (%s left)\n", fmt.Sprintf(format, args...), rough(left))
}

// end is that of the step under way.
func (p *progress) end() {
	p.done += p.step
	p.step = 0
}

// rough is a time to wait for, not to measure.
func rough(seconds float64) string {
	d := time.Duration(max(seconds, 0) * float64(time.Second))
	if d >= time.Minute {
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds())+1)
}
