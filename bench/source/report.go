package source

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"smtplb/bench/result"
)

// result is the report of a run that is over.
func (r *runner) result() *result.Run {
	total, all, end := r.rec.totals()
	took := time.Since(r.begun)
	if !end.IsZero() {
		took = end.Sub(r.begun)
	}
	perSecond := func(n int64) float64 {
		if took <= 0 {
			return 0
		}
		return float64(n) / took.Seconds()
	}
	run := &result.Run{
		Started:   r.begun,
		DurationS: took.Seconds(),
		Complete:  !r.interrupted && !r.gaveUp,
		Model:     "closed",
		LatencyOf: "start",
		Settings:  r.cfg.settings(),
		Stages:    []result.Stage{}, // in JSON no stages are [], not null
		Sessions: result.Sessions{
			Started: total.started, OK: total.ok, Failed: total.failed, Cut: total.cut,
			Dropped: r.dropped.Load(), PerS: perSecond(total.ok),
		},
		Messages: result.Messages{
			Accepted: total.accepted, Refused: total.refused, Unsure: total.unsure, Unsent: total.unsent,
			Bytes: total.bytes, PerS: perSecond(total.accepted), MBPerS: perSecond(total.bytes) / 1e6,
		},
		Failures:   r.failures.list(),
		Timeline:   r.timeline,
		Explainers: r.notes(&total, &all),
	}
	if r.cfg.open() {
		run.Model, run.LatencyOf, run.RateS = "open", "intended start", r.cfg.Rate
	}
	for _, t := range r.targets {
		run.Targets = append(run.Targets, t.String())
	}
	for i := range all {
		if all[i].n > 0 {
			run.Stages = append(run.Stages, result.Stage{Name: span(i).String(), Latency: all[i].latency()})
		}
	}
	return run
}

// notes are what a reader must know.
func (r *runner) notes(total *counts, all *[spans]histogram) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if r.cfg.open() {
		note("Open model: sessions begin when they are due, whatever the target does. connect, greeting and session count from " +
			"then; command, message and tls from their own beginning. schedule is how late this program was itself, and part of the former.")
	} else {
		note("Closed model: a client begins its next session when its last one is over, so that a target which stalls gets less " +
			"to do, and the stall shows in few of the latencies (coordinated omission). --rate measures what people would have met.")
	}
	if n := r.dropped.Load(); n > 0 {
		note("%d sessions were due but not begun, since %d were open: the latencies do not know what these would have met.", n, r.cfg.MaxOpen)
	}
	if late := &all[spanSchedule]; late.n > 0 && late.max > 100*time.Millisecond {
		note("This program was up to %d ms late to begin a session: it, or this machine, was at its limit.", late.max.Milliseconds())
	}
	if r.cfg.STARTTLS {
		note("%d of %d sessions that were greeted went on over TLS.", total.encrypted, total.greeted)
	}
	if r.interrupted {
		note("The run was interrupted: this is what there was until then.")
	}
	if r.gaveUp {
		note("Given up: no target had greeted a single session in %v.", hopeless)
	}
	if r.drained {
		note("Some sessions were not over %v after the end of the run, and were cut.", r.cfg.Timeout+r.cfg.ConnectTimeout)
	}
	return notes
}

// settings is the configuration for a reader, in the order of the help text.
func (c *Config) settings() []result.Setting {
	limit := func(n int64) string {
		if n == 0 {
			return "none"
		}
		return strconv.FormatInt(n, 10)
	}
	list := []result.Setting{{Name: "concurrency", Value: strconv.Itoa(c.Concurrency)}}
	if c.open() {
		list = []result.Setting{
			{Name: "rate", Value: strconv.FormatFloat(c.Rate, 'g', -1, 64)},
			{Name: "poisson", Value: strconv.FormatBool(c.Poisson)},
			{Name: "max-open", Value: strconv.Itoa(c.MaxOpen)},
		}
	}
	duration := "none"
	if c.Duration > 0 {
		duration = c.Duration.String()
	}
	list = append(list,
		result.Setting{Name: "for", Value: duration},
		result.Setting{Name: "messages", Value: limit(c.Messages)},
		result.Setting{Name: "sessions", Value: limit(c.Sessions)},
		result.Setting{Name: "messages-per-session", Value: strconv.Itoa(c.MessagesPerSession)},
		result.Setting{Name: "size", Value: c.Size.String()},
		result.Setting{Name: "recipients", Value: c.Recipients.String()},
		result.Setting{Name: "pipelining", Value: strconv.FormatBool(c.Pipelining)},
		result.Setting{Name: "bdat", Value: strconv.FormatBool(c.BDAT)},
		result.Setting{Name: "starttls", Value: strconv.FormatBool(c.STARTTLS)},
		result.Setting{Name: "helo", Value: c.HELO},
		result.Setting{Name: "from", Value: c.From},
		result.Setting{Name: "to", Value: c.To},
		result.Setting{Name: "tries", Value: strconv.Itoa(c.Retry)},
		result.Setting{Name: "timeout", Value: c.Timeout.String()},
		result.Setting{Name: "connect-timeout", Value: c.ConnectTimeout.String()},
		result.Setting{Name: "seed", Value: strconv.FormatUint(c.Seed, 10)},
		result.Setting{Name: "run", Value: fmt.Sprintf("%016x", c.Run)},
	)
	if len(c.Local) > 0 {
		var names []string
		for _, a := range c.Local {
			names = append(names, a.String())
		}
		list = append(list, result.Setting{Name: "local", Value: strings.Join(names, " ")})
	}
	return list
}
