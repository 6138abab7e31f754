package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"smtplb/bench/report"
	"smtplb/bench/result"
	"smtplb/bench/source"
)

// send runs the source and reports. Whatever there is to report is reported,
// whatever else goes wrong.
func (o *sourceOptions) send(ctx context.Context, cfg source.Config, std streams) error {
	// Before the run: hours later is too late to learn that a file cannot be
	// written, or that a sink is not there.
	asJSON, asHTML, closeFiles, err := createReports(o.json, o.html, std.out)
	if err != nil {
		return err
	}
	defer closeFiles()
	text := std.out
	if o.json == "-" || o.html == "-" {
		text = std.err
	}
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
		writeSource(text, run),
		writeFile(asJSON, func(w io.Writer) error { return writeJSON(w, run) }),
		writeFile(asHTML, func(w io.Writer) error { return report.WriteRun(w, run) }),
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

func writeJSON(w io.Writer, run *result.Run) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(run)
}

// createReports creates the files that a report is to be written to; with no
// name there is no writer, and - stands for stdout. closeFiles closes what
// writeFile has not.
func createReports(jsonName, htmlName string, stdout io.Writer) (asJSON, asHTML io.Writer, closeFiles func(), err error) {
	var files []*os.File
	closeFiles = func() {
		for _, f := range files {
			_ = f.Close() // it was closed before, or its content does not matter
		}
	}
	create := func(name string) io.Writer {
		if name == "" || err != nil {
			return nil
		}
		if name == "-" {
			return stdout
		}
		var f *os.File
		if f, err = os.Create(name); err != nil {
			return nil
		}
		files = append(files, f)
		return f
	}
	asJSON, asHTML = create(jsonName), create(htmlName)
	if err != nil {
		closeFiles()
	}
	return asJSON, asHTML, closeFiles, err
}

// writeFile calls write, if there is where to write to, and closes that if it
// can be closed and is none of the standard streams.
func writeFile(to io.Writer, write func(io.Writer) error) error {
	if to == nil {
		return nil
	}
	err := write(to)
	if f, ok := to.(*os.File); ok && f != os.Stdout {
		err = errors.Join(err, f.Close())
	}
	return err
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
