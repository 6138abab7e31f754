package compare

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"smtplb/bench/compare/proc"
)

// Options say what to compare and where. The zero value compares everything on
// CPUs of its own choice.
type Options struct {
	Version string // of smtpbench, for the report

	// Programs; empty: the one beside this program, in PATH or in /usr/sbin.
	Smtplb, HAProxy, Nginx string

	// Iocopy is a command that, with two addresses more, listens on the first
	// and proxies to the second as bench.Baseline does. Empty: not measured.
	Iocopy []string
	// Floor is the same for bench.Floor.
	Floor []string

	Peers []string // of PeerNames; none: all, floor for CPU per session alone
	Only  []string // of MeasureNames; none: all

	Rounds int  // of each measure, fewer of what is dear; 0: DefaultRounds
	Quick  bool // a tenth of everything, in one round: to see that it works, without bars for numbers

	// BalancerCPUs are the balancers', the first alone where one is enough.
	// LoadCPUs are those of clients and relays. None: as DefaultCPUs says.
	BalancerCPUs, LoadCPUs proc.CPUs

	Progress io.Writer // a line for each step; nil: none
}

// DefaultRounds is how often most numbers are measured. Many short rounds are
// better than few long ones: what disturbs the machine comes in bursts, and
// spoils the rounds that it meets.
const DefaultRounds = 10

// Measure is what Options.Only may name.
type Measure struct{ Name, About string }

// Measures returns all that there are, in the order of a run.
func Measures() []Measure {
	var all []Measure
	for _, s := range stages() {
		all = append(all, Measure{s.name, s.about})
	}
	return all
}

// MeasureNames returns their names.
func MeasureNames() []string {
	var names []string
	for _, m := range Measures() {
		names = append(names, m.Name)
	}
	return names
}

// DefaultCPUs gives the balancers the first half of the CPUs, and the load the
// others. A single one they share.
func DefaultCPUs(available proc.CPUs) (balancer, load proc.CPUs) {
	if len(available) < 2 {
		return available, available
	}
	half := len(available) / 2
	return available[:half], available[half:]
}

// check finds everything that is wrong, and fills in the defaults.
func (o *Options) check() error {
	var errs []error
	known := func(what string, names, all []string) {
		for _, name := range names {
			if !slices.Contains(all, name) {
				errs = append(errs, fmt.Errorf("%s: no %q: want %s", what, name, strings.Join(all, ", ")))
			}
		}
	}
	known("peers", o.Peers, PeerNames())
	known("measures", o.Only, MeasureNames())
	if o.Rounds < 0 {
		errs = append(errs, fmt.Errorf("rounds: %d: want 1 or more", o.Rounds))
	}
	available, err := proc.Available()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for what, cpus := range map[string]proc.CPUs{"balancer": o.BalancerCPUs, "load": o.LoadCPUs} {
		if not := cpus.Without(available); len(not) > 0 {
			errs = append(errs, fmt.Errorf("%s CPUs %s: not %s: this machine lets us have %s", what, cpus, not, available))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	o.fill(available)
	return nil
}

func (o *Options) fill(available proc.CPUs) {
	switch {
	case o.Rounds > 0:
	case o.Quick:
		o.Rounds = 1
	default:
		o.Rounds = DefaultRounds
	}
	balancer, load := DefaultCPUs(available)
	if len(o.BalancerCPUs) == 0 {
		o.BalancerCPUs = balancer
		if rest := available.Without(o.LoadCPUs); len(o.LoadCPUs) > 0 && len(rest) > 0 {
			o.BalancerCPUs = rest
		}
	}
	if len(o.LoadCPUs) == 0 {
		o.LoadCPUs = load
		if rest := available.Without(o.BalancerCPUs); len(rest) > 0 {
			o.LoadCPUs = rest
		}
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
}

// peers are the names that are wanted, in the order of the columns.
func (o *Options) peers() []string {
	var names []string
	for _, name := range PeerNames() {
		if len(o.Peers) == 0 || slices.Contains(o.Peers, name) {
			names = append(names, name)
		}
	}
	return names
}

func (o *Options) wants(measure string) bool {
	return len(o.Only) == 0 || slices.Contains(o.Only, measure)
}
