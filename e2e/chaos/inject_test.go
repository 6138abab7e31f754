package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// window is a fault that was injected, and when it was on.
type window struct {
	fault
	began, over time.Time
}

// injector carries out a plan.
type injector struct {
	seed    uint64
	lab     *lab
	lb      *balancer
	relays  []*relay
	senders *crowdOfSenders
	events  *events
	atLB    sync.Mutex // one thing at a time is done to the program, however late the machine is

	mu       sync.Mutex // guards both
	windows  []window
	problems []string
}

// events is a log with times since the beginning.
type events struct {
	mu    sync.Mutex
	began time.Time
	to    io.Writer
}

func (e *events) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _ = fmt.Fprintf(e.to, "%9.3f %s\n", time.Since(e.began).Seconds(), fmt.Sprintf(format, args...)) // it is for people
}

// run returns when the last fault is over, or ctx has ended.
func (i *injector) run(ctx context.Context, plan []fault) {
	var running sync.WaitGroup
	defer running.Wait()
	began := time.Now()
	for _, f := range plan {
		if f.kind == memory && i.lb.limit.dir == "" {
			i.events.add("left out, there are no control groups here: %v", f)
			continue
		}
		wait(ctx, time.Until(began.Add(f.at)))
		if ctx.Err() != nil {
			return
		}
		running.Go(func() { i.inject(f) })
	}
}

// inject has a fault begin, last and end.
func (i *injector) inject(f fault) {
	for _, n := range f.several() {
		i.relays[n].mu.Lock() // held by nobody, but on a machine that is very late
	}
	defer func() {
		for _, n := range f.several() {
			i.relays[n].mu.Unlock()
		}
	}()
	w := window{fault: f, began: time.Now()}
	i.events.add("%v", f)
	ctx, cancel := context.WithTimeout(context.Background(), f.length)
	defer cancel()
	err := i.do(ctx, f)
	w.over = time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.events.add("%v: %v", f, err)
		i.problems = append(i.problems, fmt.Sprintf("%v at %v: %v", f, f.at, err))
	}
	if f.length > 0 {
		i.events.add("over: %v", f)
	}
	i.windows = append(i.windows, w)
}

// do returns when the fault is over.
func (i *injector) do(ctx context.Context, f fault) error {
	switch ruleOf(f.kind).place {
	case atRelay:
		return i.atRelays(ctx, f)
	case atBalancer:
		return i.atBalancer(ctx, f)
	}
	switch f.kind {
	case clientCut:
		return i.while(ctx, func(on bool) error { return i.lab.cut(0, on) })
	case clientLoss:
		return i.while(ctx, func(on bool) error { return i.lab.lose(0, choose(on, f.arg, 0)) })
	case clientCuts:
		return i.while(ctx, func(on bool) error { i.senders.cuts.Store(on); return nil })
	case garbage:
		sendGarbage(ctx, i.lab.file("clients"), i.seed^uint64(f.at))
		return nil
	}
	return fmt.Errorf("no way to do %s", f.kind)
}

// while has something on until ctx ends.
func (i *injector) while(ctx context.Context, set func(on bool) error) error {
	if err := set(true); err != nil {
		return err
	}
	<-ctx.Done()
	return set(false)
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func (i *injector) atRelays(ctx context.Context, f fault) error {
	if f.kind == killed || f.kind == siteDown || f.kind == allDown {
		for _, n := range f.several() {
			i.relays[n].kill()
		}
		<-ctx.Done()
		var err error
		for _, n := range f.several() {
			err = errors.Join(err, i.relays[n].start())
		}
		return err
	}
	r := i.relays[f.relay]
	switch f.kind {
	case hung:
		return i.while(ctx, func(on bool) error { return r.signal(choose(on, syscall.SIGSTOP, syscall.SIGCONT)) })
	case linkCut:
		return i.while(ctx, func(on bool) error { return i.lab.cut(f.relay+1, on) })
	case linkLoss:
		return i.while(ctx, func(on bool) error { return i.lab.lose(f.relay+1, choose(on, f.arg, 0)) })
	case drained:
		return i.while(ctx, func(on bool) error { return i.lb.order(r.name, choose(on, "drain", "enable")) })
	case removed:
		return i.while(ctx, func(on bool) error {
			i.atLB.Lock()
			defer i.atLB.Unlock()
			return i.lb.change(func() { i.lb.gone[f.relay] = on })
		})
	}
	script, ok := scripts()[f.kind]
	if !ok {
		return fmt.Errorf("no way to do %s", f.kind)
	}
	return i.while(ctx, func(on bool) error { return r.script(choose(on, script, smtptest.Script{})) })
}

// scripts are the faults that a relay plays.
func scripts() map[kind]smtptest.Script {
	return map[kind]smtptest.Script{
		greets421:   {Greeting: "421 4.3.2 relay.test closing\r\n"},
		greets554:   {Greeting: "554 5.7.1 relay.test no service for you\r\n"},
		silent:      {Fault: smtptest.Silent},
		drips:       {ByteByByte: 20 * time.Millisecond},
		resets:      {Fault: smtptest.ResetAtOnce},
		closes:      {Fault: smtptest.CloseAtOnce},
		refuses:     {EndOfDataReply: "451 4.3.0 try again later\r\n"},
		resetsAtDot: {ResetAfterDot: true},
	}
}

func (i *injector) atBalancer(ctx context.Context, f fault) error {
	i.atLB.Lock()
	defer i.atLB.Unlock()
	switch f.kind {
	case reweighed:
		random := rand.New(rand.NewPCG(uint64(f.arg), 0))
		return i.lb.change(func() {
			for n := range i.lb.weights {
				i.lb.weights[n] = 1 + random.IntN(5)
			}
		})
	case broken:
		return i.lb.mistake()
	case upgraded:
		return i.lb.upgrade()
	case crowd:
		crowdIn(ctx, i.lab.file("clients"), maxDescriptors/2+50)
		return nil
	case descriptors:
		pid := i.lb.pid()
		open, err := openOf(pid)
		if err != nil {
			return err
		}
		return i.while(ctx, func(on bool) error {
			limit := unix.Rlimit{Cur: choose(on, uint64(open.all()+2), maxDescriptors), Max: maxDescriptors}
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil)
		})
	case memory:
		return i.while(ctx, func(on bool) error {
			if !on {
				return i.lb.limit.raise()
			}
			total := 0
			for _, pid := range i.lb.living() {
				octets, err := resident(pid)
				if err != nil {
					return err
				}
				total += octets
			}
			return i.lb.limit.lower(total)
		})
	}
	return fmt.Errorf("no way to do %s", f.kind)
}
