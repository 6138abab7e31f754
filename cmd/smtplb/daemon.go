package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"smtplb/balancer"
	"smtplb/internal/admin"
	"smtplb/internal/config"
	"smtplb/proxy"
)

// daemon is the balancer with everything around it.
type daemon struct {
	log     *zap.Logger
	level   zap.AtomicLevel // of log
	names   *names
	load    func() (*config.Config, error) // the configuration as it is now; nil: there is none to load
	server  *proxy.Server
	admin   *admin.Server
	orders  chan order // to reload, by others than SIGHUP
	from    *inherited
	notify  *notifier
	signals chan os.Signal

	certificate *certificate // of admin; nil: it speaks no TLS
	cluster     *agreement   // with other balancers

	// Of the goroutine that runs, and once it does, of the one that reloads; it
	// changes pools, retired and since under mu.
	mu      sync.Mutex
	cfg     *config.Config
	pools   map[string]*relays
	retired []counted            // that a reload took out, while they may have sessions; where limits are shared
	since   map[string]time.Time // when a pool was made, where that is not when the process started
	plans   map[string]*plan     // of cfg, until it runs
	taken   []string             // names of what was inherited and is used

	succession succession
	stopAdmin  func()

	view     atomic.Pointer[view] // what the admin server shows
	draining atomic.Bool
	replaced atomic.Bool // the next process has the listeners
}

// runDaemon runs the balancer until ctx ends or a signal stops it. It returns
// nil after an orderly stop.
func runDaemon(ctx context.Context, load func() (*config.Config, error), std streams) error {
	// Those that would end a process that is not yet ready for them.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR2)
	from, err := inherit()
	if err != nil {
		return err
	}
	err = begin(ctx, load, std, from, signals)
	if err != nil && from.parent != nil {
		from.parent.Failed(err) // it says so in the log, where it goes on
		return errTold
	}
	return err
}

// errTold is an error of which everybody was told.
var errTold = errors.New("told")

func begin(ctx context.Context, load func() (*config.Config, error), std streams, from *inherited, signals chan os.Signal) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	sparePs(cfg.Workers)
	log, level, flush := newLogger(cfg.Log, std.err)
	defer flush()
	d, err := newDaemon(ctx, cfg, log, from.names(log), from)
	if err != nil {
		return err
	}
	d.load, d.level, d.signals = load, level, signals
	if err := d.confine(); err != nil {
		return err
	}
	return d.run(ctx)
}

// sparePs lets Go's scheduler run two more than there are event loops, unless
// the environment says how many: see proxy.Server.Workers.
func sparePs(workers int) {
	if workers == 0 {
		workers = runtime.NumCPU()
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(workers + 2)
	}
}

// newDaemon builds everything and binds the listeners; nothing runs yet.
func newDaemon(ctx context.Context, cfg *config.Config, log *zap.Logger, names *names, from *inherited) (*daemon, error) {
	d := &daemon{
		log: log, names: names, cfg: cfg, orders: make(chan order), from: from, notify: newNotifier(log), signals: make(chan os.Signal, 8),
		pools: map[string]*relays{}, since: map[string]time.Time{},
	}
	d.notify.hush(from.parent != nil)
	var err error
	if d.cluster, err = newAgreement(&cfg.Cluster); err != nil {
		return nil, err
	}
	forbidden, absent := lacks(cfg)
	d.warn(cfg, absent)
	mayNot := errors.Join(forbidden...)
	if from.parent != nil {
		mayNot = sinceGivenUp(forbidden)
	}
	plans, err := planPools(cfg, names.learn(ctx, cfg, nil))
	if err := errors.Join(err, mayNot); err != nil {
		return nil, err
	}
	d.warnTransparent(cfg, plans)
	logFound(log, plans)
	for name, p := range plans {
		if d.pools[name], err = newRelays(p, d.cluster.together, d.news()); err != nil {
			return nil, err
		}
	}
	d.server = &proxy.Server{
		Workers:   cfg.Workers,
		Spare:     spareDescriptors(cfg),
		OnSession: d.session,
		OnError:   func(err error) { log.Warn("proxy", zap.Error(err)) },
	}
	d.server.Listeners, d.plans = d.listeners(cfg, plans), plans
	d.show(cfg, plans)
	if err := d.listen(cfg); err != nil {
		return nil, err
	}
	if from.parent == nil {
		if err := d.agree(nil); err != nil {
			_ = d.server.Close()
			return nil, err
		}
	}
	names.fails = d.admin.NameFails
	d.warnDescriptors(cfg)
	for i, a := range d.server.Addresses() {
		l := &cfg.Listeners[i]
		log.Info("listening", zap.String("listener", l.Name), zap.Stringer("address", a),
			zap.String("pool", l.Pool), zap.String("protocol", string(l.Protocol)), zap.Strings("allow", fewNetworks(l.Allow)))
	}
	return d, nil
}

// listen binds the HTTP server's address and the listeners, or neither.
func (d *daemon) listen(cfg *config.Config) error {
	var err error
	if d.admin, err = newAdmin(cfg, d); err != nil {
		return err
	}
	d.warnExpired()
	if d.server.Inherited, d.admin.Inherited, d.taken, err = d.from.claim(cfg); err != nil {
		return err
	}
	if err := d.server.Listen(); err != nil {
		return err
	}
	if err := d.admin.Listen(); err != nil {
		_ = d.server.Close()
		return err
	}
	d.log.Info("admin", zap.Stringer("address", d.admin.Addr()), zap.Bool("token", d.admin.Token != ""),
		zap.Bool("tls", d.admin.TLS != nil))
	return nil
}

// session takes in a session at its end; it runs in the event loop.
func (d *daemon) session(r *proxy.Record) {
	logSession(d.log, r)
	d.admin.Observe(r)
}

// warn says what a configuration has that is rarely meant, and what of it is
// absent here.
func (d *daemon) warn(cfg *config.Config, absent []error) {
	for _, w := range cfg.Warnings {
		d.log.Warn("config", zap.String("warning", w.String()))
	}
	for _, err := range absent {
		d.log.Warn("config", zap.String("warning", err.Error()))
	}
}

// warnExpired says that no client will accept the certificate, where that is so.
func (d *daemon) warnExpired() {
	if text := d.certificate.expired(time.Now()); text != "" {
		d.log.Warn("config", zap.String("warning", text))
	}
}

func (d *daemon) news() news {
	return news{
		change: func(c balancer.Change) {
			logChange(d.log, c)
			d.admin.BackendChanged(c)
		},
		tierChange: func(c balancer.TierChange) {
			logTierChange(d.log, c)
			d.admin.TierChanged(c)
		},
		unchecked: func(pool, backend, why string) {
			d.log.Warn("unchecked", zap.String("pool", pool), zap.String("backend", backend), zap.String("reason", why))
		},
	}
}

// listeners are the proxy's of a configuration, each with the timeouts that its
// pools have there.
func (d *daemon) listeners(cfg *config.Config, plans map[string]*plan) []proxy.Listener {
	pools := map[string]*proxy.Pool{}
	for name, p := range plans {
		pools[name] = &proxy.Pool{Balancer: d.pools[name].balancer, Timeouts: p.timeouts}
	}
	var all []proxy.Listener
	for i := range cfg.Listeners {
		all = append(all, buildListener(&cfg.Listeners[i], pools))
	}
	return all
}

// run serves until a signal or the end of ctx, or until another process has taken
// over; then it drains.
func (d *daemon) run(ctx context.Context) error {
	// Never given back: a signal on the way out would make a crash of an orderly end.
	signal.Notify(d.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	if d.from.parent != nil {
		if err := d.succeed(ctx); err != nil {
			return err
		}
	} else {
		d.readState()
		d.cluster.refresh()
	}
	d.plans = nil
	served := make(chan error, 1)
	go func() { served <- d.server.Serve() }()
	// Answered until the end: whoever asks sees that it drains.
	d.stopAdmin = sync.OnceFunc(serveAdmin(d.admin, d.log))
	defer d.stopAdmin()
	if d.from.parent != nil {
		if err := d.settled(ctx); err != nil {
			d.log.Error("take over", zap.Error(err)) // it serves, and goes on
		}
		d.from.parent = nil
		d.notify.hush(false)
	}
	ask := d.startHelpers(ctx)
	defer ask.stop()
	d.log.Info("started", zap.String("version", fullVersion()), zap.Int("pid", os.Getpid()),
		zap.Int("listeners", len(d.server.Listeners)), zap.Int("pools", len(d.view.Load().pools)))
	d.notify.say("READY=1", "STATUS="+d.summary())

	err := d.supervise(ctx, served, ask)
	_, over := d.succession.over()
	d.cluster.leave(d.log, over)
	d.sayStopped(err)
	return err
}

// helpers are the goroutines beside the event loops, and how two of them are asked
// for something.
type helpers struct {
	hangups  chan struct{} // one that has not begun is as good as two
	upgrades chan struct{}
	stop     func() // ends them, and the checks
}

// startHelpers starts the checks, and who reloads, upgrades and talks to systemd.
func (d *daemon) startHelpers(ctx context.Context) *helpers {
	// They go on while sessions drain: those under way may still need a relay.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	for _, r := range d.pools {
		r.start(ctx, d.log)
	}
	h := &helpers{hangups: make(chan struct{}, 1), upgrades: make(chan struct{}, 1)}
	var running sync.WaitGroup
	running.Go(func() { d.obey(ctx, h) })
	running.Go(func() { d.attend(ctx) })
	running.Go(func() { d.names.watcher.Run(ctx) })
	h.stop = func() {
		cancel()
		running.Wait()
		for _, r := range d.pools {
			r.stop()
		}
	}
	return h
}

// sayStopped writes the last line. Of a process that another has replaced it says
// how many sessions it has let finish.
func (d *daemon) sayStopped(err error) {
	fields := []zap.Field{zap.Int("pid", os.Getpid()), zap.Int64("accepted", d.server.Stats().Accepted), zap.Error(err)}
	if pid, over := d.succession.over(); over {
		fields = append(fields, zap.Int("replaced_by", pid), zap.Int64("finished", d.succession.left))
	} else {
		d.writeState()
	}
	d.log.Info("stopped", fields...)
}

// supervise acts on signals until the server has ended.
func (d *daemon) supervise(ctx context.Context, served <-chan error, ask *helpers) error {
	draining := false
	done := ctx.Done()
	for {
		select {
		case err := <-served:
			if errors.Is(err, proxy.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("serving: %w", err)
		case <-done:
			done = nil
			draining = d.stop("context ended", draining)
		case s := <-d.signals:
			switch s {
			case syscall.SIGHUP:
				d.askReload(ask.hangups)
			case syscall.SIGUSR2:
				d.askUpgrade(draining, ask.upgrades)
			default:
				draining = d.stop(s.String(), draining)
			}
		}
	}
}

// stop begins to drain, or ends everything if it was called before. Where another
// process has taken over this one drains already, and the first call changes
// nothing: systemd may send a signal to all.
func (d *daemon) stop(why string, again bool) bool {
	d.draining.Store(true)
	d.succession.abandon(errStopped)
	next, during := d.succession.stopped()
	open := d.server.Stats().Open
	switch {
	case next != nil && during:
		d.log.Info("stop: passed on", zap.String("reason", why), zap.Int("to", next.PID()))
		next.Signal(syscall.SIGTERM)
		return again
	case again:
		d.log.Warn("stopping now", zap.String("reason", why), zap.Int64("sessions", open))
		_ = d.server.Close()
		return true
	case next != nil:
		d.log.Info("draining already, as another process has taken over: a second signal stops now",
			zap.String("reason", why), zap.Int("replaced_by", next.PID()), zap.Int64("sessions", open))
		return true
	}
	d.log.Info("draining", zap.String("reason", why), zap.Int64("sessions", open))
	d.notify.say("STOPPING=1", "STATUS="+d.summary())
	d.writeState()
	// A context that has ended already: begin, and do not wait here.
	begun, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	_ = d.server.Shutdown(begun)
	return true
}
