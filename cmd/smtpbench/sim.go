package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"smtplb/balancer"
	"smtplb/bench/sim"
)

func newSimCommand(std streams) *cobra.Command {
	cfg := sim.Default()
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate a fleet's day: a thousand balancers, ten thousand relays, a site failure",
		Long: "Runs smtplb's own choice of relays for a whole fleet and a day of mail in simulated time: no\n" +
			"socket, no clock, the same report for the same flags. Pools are configured as smtplb's are by default.\n" +
			"Reports how far shares and loads were off the weights, how long the fleet took to leave a site that\n" +
			"failed and to return, how long sessions took to find a relay and how many found none; if any did,\n" +
			"the exit status is 2.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			fmt.Fprintf(std.err, "simulating a day of %d balancers with about %d sessions, on %d CPUs\n",
				cfg.Balancers, cfg.Balancers*cfg.Sessions, runtime.GOMAXPROCS(0))
			report, cost, err := simulated(cmd.Context(), cfg, sim.Run)
			if err != nil {
				return err
			}
			return writeSim(std, report, cost, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Balancers, "balancers", cfg.Balancers, "balancers, each with a pool of its own")
	flags.IntVar(&cfg.Relays, "relays", cfg.Relays, "relays of all sites together")
	flags.IntVar(&cfg.Sites, "sites", cfg.Sites, "sites; the standby of one is the next")
	flags.IntVar(&cfg.Sessions, "sessions", cfg.Sessions, "sessions of a balancer in the day, on average")
	flags.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of the random numbers")
	flags.Var((*timeOfDay)(&cfg.FailAt), "fail-at", "when the first site fails, as `HH:MM`")
	flags.DurationVar(&cfg.FailFor, "fail-for", cfg.FailFor, "for how long; 0s: no site fails")
	flags.Var((*failAs)(&cfg.FailAs), "fail-as", "the `outcome` of sessions at its relays, such as connect_timeout or greeting_4xx")
	flags.Var((*part)(&cfg.KeepWarm), "keep-warm", "the `share` of new sessions that the standby is given while it is not needed")
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.AddCommand(newSimECMPCommand(std))
	return cmd
}

// simCost is what a run cost, in seconds. It is no part of the report, which is
// the same each time.
type simCost struct {
	CPU  float64 `json:"cpu"`
	Wall float64 `json:"wall"`
}

// simulated runs a simulation, and says what that cost.
func simulated[Config, Report any](ctx context.Context, cfg Config, run func(context.Context, Config) (*Report, error)) (*Report, simCost, error) {
	began, before := time.Now(), cpuTime()
	report, err := run(ctx, cfg)
	if err != nil {
		return nil, simCost{}, fmt.Errorf("no report: %w", err)
	}
	return report, simCost{(cpuTime() - before).Seconds(), time.Since(began).Seconds()}, nil
}

func writeSim(std streams, report *sim.Report, cost simCost, asJSON bool) error {
	var err error
	if asJSON {
		err = writeJSON(std.out, struct {
			*sim.Report
			Cost simCost `json:"cost"`
		}{report, cost})
	} else if err = report.WriteText(std.out); err == nil {
		_, err = fmt.Fprintf(std.out, "\n%d sessions in %.1f s of CPU, %.1f s by the clock\n", report.Sessions.Total, cost.CPU, cost.Wall)
	}
	if err == nil && report.Sessions.Failed > 0 {
		return errFindings
	}
	return err
}

// cpuTime is what this process has used, in user space and in the kernel.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0 // it has no way to fail with these arguments
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// timeOfDay is a flag: a time since midnight, written 10:00 or, as a duration,
// 10h.
type timeOfDay time.Duration

func (t *timeOfDay) String() string {
	at := time.Duration(*t)
	return fmt.Sprintf("%02d:%02d", int(at.Hours()), int(at.Minutes())%60)
}

func (t *timeOfDay) Set(text string) error {
	if at, err := time.Parse("15:04", text); err == nil {
		*t = timeOfDay(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
		return nil
	}
	at, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("want a time of the day, such as 10:00 or 10h")
	}
	*t = timeOfDay(at)
	return nil
}

func (t *timeOfDay) Type() string { return "time" }

// failAs is a flag: an outcome by its word.
type failAs balancer.Outcome

func (f *failAs) String() string { return balancer.Outcome(*f).String() }

func (f *failAs) Set(word string) error {
	outcome, err := sim.OutcomeNamed(word)
	*f = failAs(outcome)
	return err
}

func (f *failAs) Type() string { return "outcome" }

// part is a flag: a part of something, written 10% as in smtplb's configuration.
type part float64

func (p *part) String() string { return strconv.FormatFloat(100*float64(*p), 'g', 10, 64) + "%" }

func (p *part) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !percent && share != 0 {
		return errors.New("want a percentage, such as 10%")
	}
	*p = part(share / 100)
	return nil
}

func (p *part) Type() string { return "share" }
