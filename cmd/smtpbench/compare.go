package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smtplb/bench/compare"
	"smtplb/bench/compare/proc"
	"smtplb/bench/report"
	"smtplb/bench/result"
)

const compareLong = `Measures smtplb beside HAProxy, nginx's stream module, a proxy made of io.Copy, and no balancer at all,
on this machine, in one run, over loopback: CPU per session and per GB, memory per idle session, added
latency, sessions per second by cores, what a session notices of a relay that is ill, and how shares
follow the weights. Rounds are interleaved, numbers are medians. Prints a table in Markdown.

Clients and relays run in this process on the load's CPUs, each balancer in one of its own on the
balancers'. Peers that are not on this machine are named as missing.

Exit status 2: smtplb has missed a bar. Ctrl-C ends it early, with a report on what there is.`

const compareExample = `  smtpbench compare --html compare.html --json compare.json
  smtpbench compare --quick
  smtpbench compare --only cpu_short,cpu_gb --peers smtplb,haproxy --rounds 9
  smtpbench compare --haproxy /opt/haproxy/sbin/haproxy --balancer-cpus 0-3 --load-cpus 4-15`

// compareOptions is the command line of the comparison.
type compareOptions struct {
	options        compare.Options
	balancer, load string // CPUs
	json, html     string
	quiet          bool
}

func newCompareCommand(std streams) *cobra.Command {
	o := &compareOptions{}
	cmd := &cobra.Command{
		Use:     "compare",
		Short:   "Measure smtplb beside other balancers on this machine",
		Long:    compareLong + "\n\nMeasures:\n" + measuresText(),
		Example: compareExample,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), std) },
	}
	cmd.Flags().SortFlags = false
	o.addFlags(cmd.Flags())
	return cmd
}

func measuresText() string {
	var b strings.Builder
	for _, m := range compare.Measures() {
		fmt.Fprintf(&b, "  %-10s %s\n", m.Name, m.About)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// addFlags stands in the order of the help text.
func (o *compareOptions) addFlags(f *pflag.FlagSet) {
	c := &o.options
	f.StringSliceVar(&c.Only, "only", nil, "these `measures`; default all")
	f.StringSliceVar(&c.Peers, "peers", nil, "these of "+strings.Join(compare.PeerNames(), ", ")+"; default all; floor, the least that a proxy in Go can do, only for CPU per session")
	f.IntVar(&c.Rounds, "rounds", 0, fmt.Sprintf("how often each number is measured; default %d, with --quick 1", compare.DefaultRounds))
	f.BoolVar(&c.Quick, "quick", false, "a tenth of everything, to see that it works; no number is held against a bar")
	f.StringVar(&o.balancer, "balancer-cpus", "", "`CPUs` of the balancers, such as 0-3; the first one alone where one is enough; default half of all")
	f.StringVar(&o.load, "load-cpus", "", "`CPUs` of clients and relays; default the others")
	f.StringVar(&c.Smtplb, "smtplb", "", "the `program`; default the one beside smtpbench, or in PATH")
	f.StringVar(&c.HAProxy, "haproxy", "", "the `program`; default the one in PATH, or /usr/sbin")
	f.StringVar(&c.Nginx, "nginx", "", "the `program`; default the one in PATH, or /usr/sbin")
	f.StringVar(&o.json, "json", "", "write everything as JSON to this `file`; - is standard output")
	f.StringVar(&o.html, "html", "", "write a page with charts to this `file`")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
}

func (o *compareOptions) run(ctx context.Context, std streams) error {
	if err := o.complete(std); err != nil {
		return err
	}
	files, err := createReports(o.json, o.html, std)
	if err != nil {
		return err
	}
	defer files.close()
	c, err := compare.Run(ctx, o.options)
	if c == nil {
		return err
	}
	_, printed := io.WriteString(files.text, report.Markdown(c))
	return errors.Join(
		err, printed,
		files.write(files.json, func(w io.Writer) error { return writeJSON(w, c) }),
		files.write(files.html, func(w io.Writer) error { return report.WriteComparison(w, c) }),
		compared(ctx, c, std.err))
}

// complete fills in what is not a flag as it stands.
func (o *compareOptions) complete(std streams) error {
	c := &o.options
	var problems []error
	for _, cpus := range []struct {
		flag, text string
		to         *proc.CPUs
	}{{"balancer-cpus", o.balancer, &c.BalancerCPUs}, {"load-cpus", o.load, &c.LoadCPUs}} {
		if cpus.text == "" {
			continue
		}
		var err error
		if *cpus.to, err = proc.ParseCPUs(cpus.text); err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", cpus.flag, err))
		}
	}
	self, err := os.Executable()
	if err != nil {
		problems = append(problems, err)
	}
	c.Version = fullVersion()
	c.Iocopy, c.Floor = []string{self, iocopyName}, []string{self, floorName}
	if !o.quiet {
		c.Progress = std.err
	}
	return errors.Join(problems...)
}

// compared is the exit status of a comparison, as an error. What was missed is
// said once more, at the end, where it is seen.
func compared(ctx context.Context, c *result.Comparison, out io.Writer) error {
	missed := compare.Missed(c)
	for _, text := range missed {
		fmt.Fprintln(out, "compare: missed:", text)
	}
	switch {
	case !c.Complete && ctx.Err() != nil:
		return errInterrupted
	case len(missed) > 0:
		return errFindings
	default:
		return nil
	}
}
