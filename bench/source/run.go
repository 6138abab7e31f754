package source

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/bench/mail"
	"smtplb/bench/result"
)

const (
	// grace is how long sessions have, after an interruption, to finish the
	// message that they are at.
	grace = 2 * time.Second
	// hopeless is how long a run without a time limit goes on though no target has
	// greeted a single session.
	hopeless = time.Minute
)

// Run sends as cfg says, and returns when it is done or ctx ends. What is under
// way at the end of ctx has two seconds to finish; the result is then not
// Complete. An error means that nothing could be run at all: everything wrong
// with cfg, or a name that cannot be looked up. Failures of sessions are in the
// result.
func Run(ctx context.Context, cfg Config) (*result.Run, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	targets, err := resolve(ctx, cfg.Targets)
	if err != nil {
		return nil, err
	}
	clock, err := newAlarm()
	if err != nil {
		return nil, err
	}
	defer clock.close()
	r := newRunner(cfg, targets)
	r.wait = clock.wait
	return r.run(ctx), nil
}

// runner is one run.
type runner struct {
	cfg      Config // with defaults
	targets  []target
	composer *mail.Composer
	rec      *recorder
	failures failures

	// The seams of tests:
	dial func(ctx context.Context, address string) (net.Conn, error)
	wait func(ctx context.Context, until time.Time) bool // false: ctx has ended

	begun time.Time
	going context.Context // until no new session and no new message begins
	stop  context.CancelFunc
	alive context.Context // until the connections are cut
	cut   context.CancelFunc
	tasks sync.WaitGroup // sessions

	sessions, messages, turn atomic.Int64 // handed out
	dropped                  atomic.Int64

	mu    sync.Mutex // guards both
	slots []*session // all that there are
	free  []*session // open model: those that nobody uses

	// Of the overseer alone, until the run is over:
	timeline                     []result.Second
	interrupted, gaveUp, drained bool
	overdue                      atomic.Bool // drained, for the sessions
}

func newRunner(cfg Config, targets []target) *runner {
	cfg = cfg.withDefaults()
	return &runner{
		cfg: cfg, targets: targets, composer: mail.NewComposer(), rec: newRecorder(),
		dial: dialer(cfg.ConnectTimeout, cfg.Local),
	}
}

// dialer returns a function that connects by plain TCP, from the local addresses
// in turn.
func dialer(timeout time.Duration, local []netip.Addr) func(context.Context, string) (net.Conn, error) {
	dialers := make([]net.Dialer, max(len(local), 1))
	for i := range dialers {
		d := &dialers[i]
		d.Timeout, d.KeepAlive = timeout, -1 // no system calls for what a session does not need
		d.SetMultipathTCP(false)
		if len(local) > 0 {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local[i], 0))
			d.Control = lateBind
		}
	}
	var turn atomic.Uint64
	return func(ctx context.Context, address string) (net.Conn, error) {
		d := &dialers[0]
		if len(dialers) > 1 {
			d = &dialers[(turn.Add(1)-1)%uint64(len(dialers))]
		}
		return d.DialContext(ctx, "tcp", address)
	}
}

// lateBind leaves the choice of the port to connect, which knows the target, and
// so may use a port that is in use towards another one: ip(7),
// IP_BIND_ADDRESS_NO_PORT.
func lateBind(_, _ string, c syscall.RawConn) error {
	var option error
	err := c.Control(func(fd uintptr) {
		option = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if err != nil {
		return err
	}
	return option
}

// run is the run, from the first session to the result.
func (r *runner) run(ctx context.Context) *result.Run {
	r.begun = time.Now()
	if r.cfg.Duration > 0 {
		r.going, r.stop = context.WithDeadline(ctx, r.begun.Add(r.cfg.Duration))
	} else {
		r.going, r.stop = context.WithCancel(ctx)
	}
	defer r.stop()
	r.alive, r.cut = context.WithCancel(context.WithoutCancel(ctx))
	defer r.cut()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r.cfg.open() {
			r.openModel()
		} else {
			r.closedModel()
		}
		r.tasks.Wait()
	}()
	r.oversee(ctx, done)
	return r.result()
}

// oversee closes the seconds, and sees to it that the run ends, until done.
func (r *runner) oversee(ctx context.Context, done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	interrupted, ended := ctx.Done(), r.going.Done()
	var limit <-chan time.Time
	for {
		select {
		case <-tick.C:
			r.second(false)
		case <-interrupted:
			interrupted = nil
			r.interrupted = true
			limit = time.After(grace)
		case <-ended:
			ended = nil
			if ctx.Err() == nil {
				// Whoever waits for a reply has as long for it as in the midst of the
				// run: to leave the slowest out would be an omission too.
				limit = time.After(r.cfg.Timeout + r.cfg.ConnectTimeout)
			}
		case <-limit:
			limit = nil
			r.drained = !r.interrupted
			r.overdue.Store(r.drained)
			r.abort()
		case <-done:
			r.second(true)
			return
		}
	}
}

// second closes one. The last one is short, and is left out if nothing was in
// it.
func (r *runner) second(last bool) {
	at := time.Since(r.begun)
	second, ok := r.rec.second(at)
	if last && !ok && len(r.timeline) > 0 {
		return
	}
	r.timeline = append(r.timeline, second)
	if r.cfg.OnSecond != nil {
		r.cfg.OnSecond(second)
	}
	if r.cfg.Duration == 0 && r.rec.before.greeted == 0 && at > hopeless && r.goes() {
		r.gaveUp = true
		r.stop()
	}
}

// goes tells that sessions and messages may still begin.
func (r *runner) goes() bool { return r.going.Err() == nil }

// abort cuts every connection.
func (r *runner) abort() {
	r.cut()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		s.abort()
	}
}

// cutFault is why a session of a run that is being cut ended.
func (r *runner) cutFault(stage string) *fault {
	if r.overdue.Load() {
		return &fault{class: classTimeout, stage: stage, text: "not over long after the end of the run", over: true}
	}
	return &fault{stage: stage, over: true, cut: true}
}

// pause reports false if the run ended before.
func (r *runner) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return r.goes()
	case <-r.going.Done():
		return false
	}
}

// nextSession reports whether another session may begin.
func (r *runner) nextSession() bool {
	return r.goes() && (r.sessions.Add(1) <= r.cfg.Sessions || r.cfg.Sessions == 0)
}

// nextMessage hands out the next message, if there is one.
func (r *runner) nextMessage() (j job, ok bool) {
	if !r.goes() {
		return job{}, false
	}
	n := r.messages.Add(1)
	return job{seq: uint64(n)}, n <= r.cfg.Messages || r.cfg.Messages == 0
}

func (r *runner) nextTarget() target {
	return r.targets[(r.turn.Add(1)-1)%int64(len(r.targets))]
}

// newSession adds a client.
func (r *runner) newSession() *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &session{run: r, rec: r.rec.shard(len(r.slots))}
	r.slots = append(r.slots, s)
	return s
}
