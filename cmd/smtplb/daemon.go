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
	pools  map[string]*relays
	server *proxy.Server
	admin  *admin.Server

	draining atomic.Bool
}

// runDaemon runs the balancer until ctx ends or a signal stops it. It returns
// nil after an orderly stop.
func runDaemon(ctx context.Context, cfg *config.Config, std streams) error {
	sparePs(cfg.Workers)
	log, flush := newLogger(cfg.Log, std.err)
	defer flush()
	d, err := newDaemon(ctx, cfg, log, systemLookup)
	if err != nil {
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
func newDaemon(ctx context.Context, cfg *config.Config, log *zap.Logger, resolve lookup) (*daemon, error) {
	for _, w := range cfg.Warnings {
		log.Warn("config", zap.String("warning", w.String()))
	}
	for _, text := range notYet(cfg) {
		log.Warn("config", zap.String("warning", text))
	}
	d := &daemon{log: log, pools: map[string]*relays{}}
	var errs []error
	for i := range cfg.Pools {
		p, err := buildPool(ctx, &cfg.Pools[i], resolve, news{
			change:     func(c balancer.Change) { logChange(log, c) },
			tierChange: func(c balancer.TierChange) { logTierChange(log, c) },
		})
		errs = append(errs, err)
		d.pools[cfg.Pools[i].Name] = p
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d.server = &proxy.Server{
		Workers:   cfg.Workers,
		OnSession: d.session,
		OnError:   func(err error) { log.Warn("proxy", zap.Error(err)) },
	}
	for i := range cfg.Listeners {
		d.server.Listeners = append(d.server.Listeners, buildListener(&cfg.Listeners[i], d.pools))
	}
	if err := d.listen(cfg); err != nil {
		return nil, err
	}
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
	if err := d.server.Listen(); err != nil {
		return err
	}
	if err := d.admin.Listen(); err != nil {
		_ = d.server.Close()
		return err
	}
	d.log.Info("admin", zap.Stringer("address", d.admin.Addr()), zap.Bool("token", d.admin.Token != ""))
	return nil
}

// session takes in a session at its end; it runs in the event loop.
func (d *daemon) session(r *proxy.Record) {
	logSession(d.log, r)
	d.admin.Observe(r)
}

// run serves until a signal or the end of ctx, then drains.
func (d *daemon) run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	// Never given back: a signal on the way out would make a crash of an orderly end.
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	checking, stopChecks := context.WithCancel(context.WithoutCancel(ctx))
	var checks sync.WaitGroup
	for _, p := range d.pools {
		checks.Go(func() {
			if err := p.checks.Run(checking); err != nil && !errors.Is(err, context.Canceled) {
				d.log.Error("probes", zap.String("pool", p.name), zap.Error(err))
			}
		})
	}
	// Checks go on while sessions drain: those under way may still need a relay.
	defer checks.Wait()
	defer stopChecks()

	// Answered until the end: whoever asks sees that it drains.
	defer serveAdmin(d.admin, d.log)()
	served := make(chan error, 1)
	go func() { served <- d.server.Serve() }()
	d.log.Info("started", zap.String("version", fullVersion()), zap.Int("pid", os.Getpid()),
		zap.Int("listeners", len(d.server.Listeners)), zap.Int("pools", len(d.pools)))

	err := d.supervise(ctx, signals, served)
	stats := d.server.Stats()
	d.log.Info("stopped", zap.Int64("accepted", stats.Accepted), zap.Error(err))
	return err
}

// supervise acts on signals until the server has ended.
func (d *daemon) supervise(ctx context.Context, signals <-chan os.Signal, served <-chan error) error {
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
				d.log.Warn("reload: not in this version: restart to apply a changed file")
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
