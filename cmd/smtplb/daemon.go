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
	log    *zap.Logger
	level  zap.AtomicLevel // of log
	names  *names
	load   func() (*config.Config, error) // the configuration as it is now; nil: there is none to load
	server *proxy.Server
	admin  *admin.Server
	orders chan order // to reload, by others than SIGHUP

	certificate *certificate // of admin; nil: it speaks no TLS

	// Of the goroutine that runs, and once it does, of the one that reloads.
	cfg   *config.Config
	pools map[string]*relays

	view     atomic.Pointer[view] // what the admin server shows
	draining atomic.Bool
}

// runDaemon runs the balancer until ctx ends or a signal stops it. It returns
// nil after an orderly stop.
func runDaemon(ctx context.Context, load func() (*config.Config, error), std streams) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	sparePs(cfg.Workers)
	log, level, flush := newLogger(cfg.Log, std.err)
	defer flush()
	d, err := newDaemon(ctx, cfg, log, newNames(log))
	if err != nil {
		return err
	}
	d.load, d.level = load, level
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
func newDaemon(ctx context.Context, cfg *config.Config, log *zap.Logger, names *names) (*daemon, error) {
	d := &daemon{log: log, names: names, cfg: cfg, pools: map[string]*relays{}, orders: make(chan order)}
	d.warn(cfg)
	plans, err := planPools(cfg, names.learn(ctx, cfg, nil))
	if err != nil {
		return nil, err
	}
	logFound(log, plans)
	for name, p := range plans {
		if d.pools[name], err = newRelays(p, d.news()); err != nil {
			return nil, err
		}
	}
	d.server = &proxy.Server{
		Workers:   cfg.Workers,
		OnSession: d.session,
		OnError:   func(err error) { log.Warn("proxy", zap.Error(err)) },
	}
	d.server.Listeners = d.listeners(cfg, plans)
	d.show(cfg, plans)
	if err := d.listen(cfg); err != nil {
		return nil, err
	}
	names.fails = d.admin.NameFails
	for i, a := range d.server.Addresses() {
		l := &cfg.Listeners[i]
		log.Info("listening", zap.String("listener", l.Name), zap.Stringer("address", a),
			zap.String("pool", l.Pool), zap.String("protocol", string(l.Protocol)), zap.Stringers("allow", l.Allow))
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

// warn says what a configuration has that is rarely meant, and what has no
// effect.
func (d *daemon) warn(cfg *config.Config) {
	for _, w := range cfg.Warnings {
		d.log.Warn("config", zap.String("warning", w.String()))
	}
	for _, text := range notYet(cfg) {
		d.log.Warn("config", zap.String("warning", text))
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

// run serves until a signal or the end of ctx, then drains.
func (d *daemon) run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	// Never given back: a signal on the way out would make a crash of an orderly end.
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	// Checks go on while sessions drain: those under way may still need a relay.
	checking, stopChecks := context.WithCancel(context.WithoutCancel(ctx))
	for _, r := range d.pools {
		r.start(checking, d.log)
	}
	pools := len(d.pools)
	hangups := make(chan struct{}, 1) // one that has not begun is as good as two
	var reloader sync.WaitGroup
	reloader.Go(func() { d.reloads(checking, hangups) })
	reloader.Go(func() { d.names.watcher.Run(checking) })
	defer func() {
		stopChecks()
		reloader.Wait()
		for _, r := range d.pools {
			r.stop()
		}
	}()

	// Answered until the end: whoever asks sees that it drains.
	defer serveAdmin(d.admin, d.log)()
	served := make(chan error, 1)
	go func() { served <- d.server.Serve() }()
	d.log.Info("started", zap.String("version", fullVersion()), zap.Int("pid", os.Getpid()),
		zap.Int("listeners", len(d.server.Listeners)), zap.Int("pools", pools))

	err := d.supervise(ctx, signals, served, hangups)
	stats := d.server.Stats()
	d.log.Info("stopped", zap.Int64("accepted", stats.Accepted), zap.Error(err))
	return err
}

// supervise acts on signals until the server has ended.
func (d *daemon) supervise(ctx context.Context, signals <-chan os.Signal, served <-chan error, hangups chan<- struct{}) error {
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
		case s := <-signals:
			if s == syscall.SIGHUP {
				select {
				case hangups <- struct{}{}:
				default:
				}
				continue
			}
			draining = d.stop(s.String(), draining)
		}
	}
}

// stop begins to drain, or ends everything if that had begun.
func (d *daemon) stop(why string, draining bool) bool {
	open := d.server.Stats().Open
	if draining {
		d.log.Warn("stopping now", zap.String("reason", why), zap.Int64("sessions", open))
		_ = d.server.Close()
		return true
	}
	d.draining.Store(true)
	d.log.Info("draining", zap.String("reason", why), zap.Int64("sessions", open))
	// A context that has ended already: begin, and do not wait here.
	begun, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	_ = d.server.Shutdown(begun)
	return true
}
