package compare

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"smtplb/bench/compare/proc"
	"smtplb/bench/result"
)

// lab is one comparison under way.
type lab struct {
	options   Options
	amounts   amounts
	available proc.CPUs
	peers     []*peer // that are there
	progress  progress
	out       *result.Comparison
}

// Run compares. It takes minutes, binds this process to the load's CPUs for as
// long, and returns what there is when ctx ends before, with Complete false. An
// error means that nothing could be measured.
func Run(ctx context.Context, o Options) (*result.Comparison, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	l := &lab{options: o, amounts: amountsOf(o.Quick), progress: progress{to: o.Progress}}
	began := time.Now()
	if err := l.prepare(ctx, began); err != nil {
		return nil, err
	}
	undo, err := settle(o.LoadCPUs)
	if err != nil {
		return nil, err
	}
	others := watchOthers(l.available)
	err = l.run(ctx)
	if part := others(); part > muchByOthers {
		l.note("The machine was not ours alone: others used %.0f %% of the time of its CPUs. Numbers are worse than they would be, and ratios less certain.", part*100)
	}
	l.out.TookS = time.Since(began).Seconds()
	l.out.Complete = err == nil && ctx.Err() == nil
	return l.out, errors.Join(err, undo())
}

// prepare finds the peers and begins the report.
func (l *lab) prepare(ctx context.Context, now time.Time) error {
	var err error
	if l.available, err = proc.Available(); err != nil {
		return err
	}
	if err := raiseDescriptors(); err != nil {
		return err
	}
	if l.amounts.held, err = l.amounts.holding(); err != nil {
		return err
	}
	o := &l.options
	l.out = &result.Comparison{
		Version: o.Version, Started: now, Rounds: o.Rounds,
		Machine: machine(o.BalancerCPUs, o.LoadCPUs),
	}
	shown := l.shown()
	var missing []string
	for _, p := range find(ctx, o) {
		r, err := p.report(shown)
		if err != nil {
			return err
		}
		l.out.Peers = append(l.out.Peers, r)
		if p.missing != "" {
			missing = append(missing, fmt.Sprintf("%s is missing: %s", p.name, p.missing))
			continue
		}
		l.peers = append(l.peers, p)
	}
	if !slices.ContainsFunc(l.peers, (*peer).proxies) {
		return fmt.Errorf("nothing to compare: no balancer among the peers (%s)", strings.Join(missing, "; "))
	}
	if o.Quick {
		l.note("Quick: a tenth of everything, to see that it works. Numbers are not held against any bar.")
	}
	if len(o.LoadCPUs.Without(o.BalancerCPUs)) == 0 {
		l.note("Balancers and load share their CPUs: latencies and rates are those of all together.")
	}
	return nil
}

// shown is the site of the configurations in the report. Every start has
// addresses and a directory of its own.
func (l *lab) shown() site {
	relays := plainRelays()
	for i := range relays {
		relays[i].Address = shownAddress(101 + i)
	}
	s := l.site(relays)
	s.Dir = "/tmp/smtpbench"
	s.Services[0].Listen, s.Admin = shownAddress(1), shownAddress(2)
	return s
}

// run goes through the stages that are wanted.
func (l *lab) run(ctx context.Context) error {
	planned := 0.0
	for _, s := range stages() {
		if l.options.wants(s.name) {
			planned += s.seconds(l)
		}
	}
	l.progress.begin(time.Now(), planned)
	for _, s := range stages() {
		if !l.options.wants(s.name) || ctx.Err() != nil {
			continue
		}
		if err := s.run(ctx, l); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// note is a line under the report.
func (l *lab) note(format string, args ...any) {
	l.out.Notes = append(l.out.Notes, fmt.Sprintf(format, args...))
}

// wanted are the peers that are there and that want is true of.
func (l *lab) wanted(want func(*peer) bool) []*peer {
	var some []*peer
	for _, p := range l.peers {
		if want(p) {
			some = append(some, p)
		}
	}
	return some
}

func (l *lab) peer(name string) *peer {
	for _, p := range l.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// settle makes this process the load: bound to its CPUs, and rarely busy with
// its own memory.
func settle(cpus proc.CPUs) (undo func() error, err error) {
	const rarely = 400 // percent
	unpin, err := proc.PinSelf(cpus)
	if err != nil {
		return nil, err
	}
	before := debug.SetGCPercent(rarely)
	return func() error {
		debug.SetGCPercent(before)
		return unpin()
	}, nil
}

// raiseDescriptors lets this process and those that it starts have as many as
// the system allows it. package syscall's call is the one that children inherit
// from: else Go gives them the limit it found.
func raiseDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}
