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
)

// newAdmin makes the HTTP server on admin.address, not listening yet.
func newAdmin(cfg *config.Config, d *daemon) (*admin.Server, error) {
	token, err := readToken(cfg.Admin.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("admin.token_file: %w", err)
	}
	started := time.Now()
	return &admin.Server{
		Address: cfg.Admin.Address, Token: token, Version: fullVersion(), StartedAt: started,
		Pools:     func() []admin.Pool { return adminPools(cfg, d) },
		Listeners: func() []admin.Listener { return adminListeners(cfg, d) },
		Stats:     d.server.Stats,
		Ready:     func() (bool, string) { return ready(cfg, d) },
		OnError:   func(err error) { d.log.Warn("admin", zap.Error(err)) },
	}, nil
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

func adminPools(cfg *config.Config, d *daemon) []admin.Pool {
	pools := make([]admin.Pool, 0, len(cfg.Pools))
	for i := range cfg.Pools {
		p := d.pools[cfg.Pools[i].Name]
		addresses := make([]string, len(p.proxy.Targets))
		for n := range p.proxy.Targets {
			addresses[n] = p.proxy.Targets[n].Address.String()
		}
		pools = append(pools, admin.Pool{
			Balancer: p.proxy.Balancer, Addresses: addresses,
			WarmShare: cfg.Pools[i].Failover.KeepWarm.Share.Fraction(),
		})
	}
	return pools
}

func adminListeners(cfg *config.Config, d *daemon) []admin.Listener {
	bound := d.server.Addresses() // none any more while draining
	listeners := make([]admin.Listener, 0, len(bound))
	for i, address := range bound {
		l := &cfg.Listeners[i]
		listeners = append(listeners, admin.Listener{Name: l.Name, Address: address, Pool: l.Pool, Protocol: string(l.Protocol)})
	}
	return listeners
}

// ready tells whether clients are accepted. Relays that are down are no reason to
// send them elsewhere: the other balancer sees the same relays.
func ready(cfg *config.Config, d *daemon) (bool, string) {
	if d.draining.Load() {
		return false, "draining"
	}
	if n := len(d.server.Addresses()); n < len(cfg.Listeners) {
		return false, fmt.Sprintf("%d of %d listeners are bound", n, len(cfg.Listeners))
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
