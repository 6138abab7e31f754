package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"smtplb/bench/report"
	"smtplb/bench/result"
	"smtplb/bench/source"
)

// send runs the source and reports. Whatever there is to report is reported,
// whatever else goes wrong.
func (o *sourceOptions) send(ctx context.Context, cfg source.Config, std streams) error {
	files, err := createReports(o.json, o.html, std)
	if err != nil {
		return err
	}
	defer files.close()
	// Before the run, too, to learn of a sink that is not there.
	if _, err := source.Holdings(ctx, o.sinks, cfg.Run); err != nil {
		return err
	}
	p := newProgress(std.err, o.quiet, cfg.Duration)
	cfg.OnSecond = p.second
	run, err := source.Run(ctx, cfg)
	p.end()
	if err != nil {
		return err
	}
	run.Version = fullVersion()
	problem := o.hold(ctx, cfg, run)
	return errors.Join(
		writeSource(files.text, run),
		files.write(files.json, func(w io.Writer) error { return writeJSON(w, run) }),
		files.write(files.html, func(w io.Writer) error { return report.WriteRun(w, run) }),
		problem, verdict(ctx, run))
}

// hold asks the sinks what they have, and holds it against the ledger.
func (o *sourceOptions) hold(ctx context.Context, cfg source.Config, run *result.Run) error {
	if len(o.sinks) == 0 {
		return nil
	}
	holdings, err := source.Holdings(context.WithoutCancel(ctx), o.sinks, cfg.Run) // after Ctrl-C too
	if err != nil {
		run.Explainers = append(run.Explainers, "What arrived is not known: "+err.Error()+".")
		return err
	}
	v := cfg.Ledger.Compare(holdings...)
	run.Integrity = &v
	return nil
}

// verdict is the exit status of a run, as an error.
func verdict(ctx context.Context, run *result.Run) error {
	m := run.Messages
	switch {
	case !run.Complete && ctx.Err() != nil:
		return errInterrupted
	case !run.Complete, len(run.Failures) > 0, run.Sessions.Failed > 0, run.Sessions.Dropped > 0,
		m.Refused > 0, m.Unsure > 0, m.Unsent > 0, run.Integrity != nil && !run.Integrity.OK():
		return errFindings
	default:
		return nil
	}
}

// holdIdle opens sessions, and keeps them for the time given or until ctx ends.
func holdIdle(ctx context.Context, cfg source.Config, n int, out io.Writer) error {
	began := time.Now()
	held, err := source.Hold(ctx, cfg, n)
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	defer held.Close()
	fmt.Fprintf(out, "%d sessions are open, after %.1f s\n", n, time.Since(began).Seconds())
	var end <-chan time.Time
	if cfg.Duration > 0 {
		timer := time.NewTimer(cfg.Duration)
		defer timer.Stop()
		end = timer.C
	}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	last := n
	for {
		select {
		case <-ctx.Done():
			return errors.Join(closedByTarget(n, held.Open(), out), errInterrupted)
		case <-end:
			return closedByTarget(n, held.Open(), out)
		case <-look.C:
			if open := held.Open(); open != last {
				fmt.Fprintf(out, "%d sessions are open, after %.1f s\n", open, time.Since(began).Seconds())
				last = open
			}
		}
	}
}

func closedByTarget(n, open int, out io.Writer) error {
	if open == n {
		return nil
	}
	fmt.Fprintf(out, "%d of %d sessions were closed by the target\n", n-open, n)
	return errFindings
}
