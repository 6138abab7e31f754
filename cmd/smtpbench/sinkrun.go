package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"smtplb/bench/sink"
)

// reportInterval is how often --json is written while the sink runs.
const reportInterval = 2 * time.Second

// run has the sink take mail until its time is over or the context ends.
func (o *sinkOptions) run(ctx context.Context, cfg sink.Config, std streams) error {
	s, err := sink.Start(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it never fails
	if err := o.save(s.Report()); err != nil {
		return err
	}
	stopControl, err := o.serveControl(ctx, s, std)
	if err != nil {
		return err
	}
	defer stopControl()
	for _, r := range s.Stats().Relays {
		fmt.Fprintf(std.err, "relay %s: %s\n", r.Name, r.Address)
	}
	interrupted := o.await(ctx, s, std)
	cut := s.Stats()
	_ = s.Close()

	report := s.Report()
	report.Complete = !interrupted
	for i := range report.Relays {
		report.Relays[i].Open = cut.Relays[i].Open
	}
	err = errors.Join(o.print(&report, std), o.save(report))
	switch {
	case err != nil:
		return err
	case interrupted:
		return errInterrupted
	case report.Corrupt() > 0:
		return errFindings
	}
	return nil
}

// await returns when the time is over or the context has ended, and tells
// whether that was before its time. Without --for a signal is the regular end.
func (o *sinkOptions) await(ctx context.Context, s *sink.Sink, std streams) (interrupted bool) {
	var over <-chan time.Time
	if o.duration > 0 {
		timer := time.NewTimer(o.duration)
		defer timer.Stop()
		over = timer.C
	}
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	failed := false
	for {
		select {
		case <-over:
			return false
		case <-ctx.Done():
			return o.duration > 0
		case <-ticker.C:
			if err := o.save(s.Report()); err != nil && !failed {
				failed = true
				fmt.Fprintln(std.err, "smtpbench:", err) // the end may have better luck
			}
		}
	}
}

// print writes the report for people, and with --json - for programs.
func (o *sinkOptions) print(r *sink.Report, std streams) error {
	if o.json != "-" {
		return r.WriteText(std.out)
	}
	if err := r.WriteText(std.err); err != nil {
		return err
	}
	return writeJSON(std.out, r)
}

// save writes the report to its file, whole or not at all: whoever reads it
// meanwhile sees the last one.
func (o *sinkOptions) save(r sink.Report) error {
	if o.json == "" || o.json == "-" {
		return nil
	}
	var text bytes.Buffer
	err := writeJSON(&text, &r)
	if err == nil {
		err = writeWhole(o.json, text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return nil
}

func writeWhole(name string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // it has another name by then, if all went well
	_, err = file.Write(text)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
