package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"smtplb/bench/result"
)

// plainEvery is how many seconds make one line where lines stay.
const plainEvery = 5

// progress shows a run while it lasts: one line that is rewritten each second on
// a terminal, a line every few seconds elsewhere.
type progress struct {
	out      io.Writer
	quiet    bool
	terminal bool
	width    func() int
	whole    time.Duration // 0: not known

	shown    bool
	from, at float64       // seconds
	sum      result.Second // of those not shown yet
	failures int64         // in all
}

func newProgress(out io.Writer, quiet bool, whole time.Duration) *progress {
	p := &progress{out: out, quiet: quiet, whole: whole}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal = true
		p.width = func() int {
			w, _, err := term.GetSize(int(f.Fd()))
			if err != nil || w <= 0 {
				return 80
			}
			return w
		}
	}
	return p
}

// second takes the next one.
func (p *progress) second(s result.Second) {
	if p.quiet {
		return
	}
	p.at = s.AtS
	p.sum.Sessions += s.Sessions
	p.sum.Messages += s.Messages
	p.sum.Bytes += s.Bytes
	p.failures += s.Failures
	if !p.terminal && p.at-p.from < plainEvery-0.5 {
		return
	}
	if p.terminal {
		line := p.long(s)
		if len(line) >= p.width() {
			line = p.short(s)
		}
		// Carriage return, the line, and erase what is left of the last one.
		fmt.Fprintf(p.out, "\r%s\x1b[K", line[:min(len(line), p.width()-1)])
		p.shown = true
	} else {
		fmt.Fprintln(p.out, p.long(s))
	}
	p.from, p.sum = p.at, result.Second{}
}

// clock is how far the run is.
func (p *progress) clock() string {
	if p.whole > 0 {
		return fmt.Sprintf("%.0f/%.0fs", p.at, p.whole.Seconds())
	}
	return fmt.Sprintf("%.0fs", p.at)
}

// rate is n over the seconds since the last line.
func (p *progress) rate(n int64) float64 { return float64(n) / max(p.at-p.from, 1e-9) }

// long is a line with rates since the last one, and percentiles of the last
// second.
func (p *progress) long(s result.Second) string {
	line := fmt.Sprintf("%s  %.0f sessions/s  %.0f messages/s  %.2f MB/s  %d open  %d failures", p.clock(),
		p.rate(p.sum.Sessions), p.rate(p.sum.Messages), p.rate(p.sum.Bytes)/1e6, s.Open, p.failures)
	if s.GreetingP50 > 0 {
		line += fmt.Sprintf("  greeting p50 %s p99 %s ms", figures(s.GreetingP50), figures(s.GreetingP99))
	}
	if s.MessageP50 > 0 {
		line += fmt.Sprintf("  message p50 %s p99 %s ms", figures(s.MessageP50), figures(s.MessageP99))
	}
	return line
}

// short is the same for a narrow terminal.
func (p *progress) short(s result.Second) string {
	return fmt.Sprintf("%s %.0f sess/s %.0f msg/s %d open %d failed, p99: greeting %s message %s ms", p.clock(),
		p.rate(p.sum.Sessions), p.rate(p.sum.Messages), s.Open, p.failures, figures(s.GreetingP99), figures(s.MessageP99))
}

// end leaves the terminal at the start of a clean line.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
