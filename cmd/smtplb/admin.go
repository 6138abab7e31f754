package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"

	"smtplb/internal/admin"
	"smtplb/internal/config"
	"smtplb/proxy"
)

// newAdmin makes the HTTP server on admin.address, not listening yet.
func newAdmin(cfg *config.Config, d *daemon) (*admin.Server, error) {
	token, err := adminToken(cfg)
	var wrong error
	d.certificate, wrong = newCertificate(cfg.Admin.TLS)
	if err := errors.Join(err, wrong); err != nil {
		return nil, err
	}
	started := time.Now()
	return &admin.Server{
		Address: cfg.Admin.Address, Token: token, TLS: d.certificate.config(), Version: fullVersion(), StartedAt: started,
		Pools:     func() []admin.Pool { return d.view.Load().pools },
		Listeners: d.shownListeners,
		Names:     d.names.shown,
		Cluster:   d.shownCluster,
		Stats:     d.server.Stats,
		Sessions:  d.server.Sessions,
		Ready:     d.ready,
		Reload:    d.orderReload,
		OnError:   func(err error) { d.log.Warn("admin", zap.Error(err)) },
	}, nil
}

// adminToken is the one that the configuration names; none: "".
func adminToken(cfg *config.Config) (string, error) {
	token, err := readToken(cfg.Admin.TokenFile)
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	return token, nil
}

// readToken returns what the file holds, without the white space around it.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the administrator names it
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(text))
	if token == "" {
		return "", fmt.Errorf("%s is empty: put the token into it, such as the output of: openssl rand -hex 32", file)
	}
	return token, nil
}

// view is the configuration as the admin server shows it; a reload makes another.
type view struct {
	pools     []admin.Pool
	listeners []admin.Listener // without their addresses
}

// show has the admin server show a configuration whose pools are at work.
func (d *daemon) show(cfg *config.Config, plans map[string]*plan) {
	v := &view{}
	for i := range cfg.Pools {
		name := cfg.Pools[i].Name
		p := admin.Pool{Balancer: d.pools[name].balancer, WarmShare: cfg.Pools[i].Failover.KeepWarm.Share.Fraction(), Since: d.since[name]}
		for _, b := range plans[name].policy.Backends {
			if target, ok := b.Data.(*proxy.Target); ok {
				p.Addresses = append(p.Addresses, target.Address.String())
			}
		}
		v.pools = append(v.pools, p)
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		v.listeners = append(v.listeners, admin.Listener{Name: l.Name, Pool: l.Pool, Protocol: string(l.Protocol)})
	}
	d.view.Store(v)
}

// shownListeners are those that listen; none any more while draining.
func (d *daemon) shownListeners() []admin.Listener {
	bound, known := d.server.Addresses(), d.view.Load().listeners
	listeners := make([]admin.Listener, 0, len(bound))
	for i := range min(len(bound), len(known)) { // of different length for a moment in a reload
		l := known[i]
		l.Address = bound[i]
		listeners = append(listeners, l)
	}
	return listeners
}

// ready tells whether clients are accepted. Relays that are down are no reason to
// send them elsewhere: the other balancer sees the same relays.
func (d *daemon) ready() (bool, string) {
	if d.replaced.Load() {
		return true, "" // by the next process, which answers from the next question on
	}
	if d.draining.Load() {
		return false, "draining"
	}
	if len(d.server.Addresses()) == 0 { // all are bound or none, in a reload too
		return false, "no listener is bound"
	}
	return true, ""
}

// serveAdmin answers requests until stop is called, which waits for answers under
// way for a moment.
func serveAdmin(s *admin.Server, log *zap.Logger) (stop func()) {
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	return func() {
		const patience = 2 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Shutdown(ctx) // answers that take longer are cut
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			log.Error("admin", zap.Error(err))
		}
	}
}
