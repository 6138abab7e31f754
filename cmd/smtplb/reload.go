package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.uber.org/zap"

	"smtplb/internal/config"
)

// planPools makes a plan of each pool, by its name.
func planPools(ctx context.Context, cfg *config.Config, resolve lookup) (map[string]*plan, error) {
	plans := map[string]*plan{}
	var errs []error
	for i := range cfg.Pools {
		p, err := planPool(ctx, &cfg.Pools[i], resolve)
		errs = append(errs, err)
		plans[cfg.Pools[i].Name] = p
	}
	return plans, errors.Join(errs...)
}

// reloads reloads whenever it is asked to, until ctx ends.
func (d *daemon) reloads(ctx context.Context, asked <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		if d.load == nil {
			d.log.Warn("reload refused: there is no configuration file")
			continue
		}
		if err := d.reload(ctx); err != nil {
			d.log.Error("reload refused: nothing changed", zap.Strings("errors", mistakes(err)))
		}
	}
}

// mistakes are the errors in err, one by one.
func mistakes(err error) []string {
	var texts []string
	for text := range strings.SplitSeq(err.Error(), "\n") {
		texts = append(texts, text)
	}
	return texts
}

// reload applies the configuration as it is now. With an error nothing has
// changed: everything that may fail comes before the first change.
func (d *daemon) reload(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	plans, err := planPools(ctx, cfg, d.resolve)
	if err != nil {
		return err
	}
	pools := map[string]*relays{}
	for name, p := range plans {
		if pools[name] = d.pools[name]; pools[name] == nil {
			if pools[name], err = newRelays(p, d.news()); err != nil {
				return err
			}
		}
	}
	was := d.pools
	d.pools = pools
	if err := d.server.Reload(d.listeners(cfg, plans)); err != nil {
		d.pools = was
		return err
	}
	changes := append(describe(d.cfg, cfg), foundChanges(was, plans)...)
	for name, r := range pools {
		if was[name] == nil {
			r.start(ctx, d.log)
		} else if err := r.change(ctx, plans[name], d.news(), d.log); err != nil {
			d.log.Error("reload", zap.String("pool", name), zap.Error(err)) // never seen: it was checked
		}
	}
	for name, r := range was {
		if pools[name] == nil {
			r.stop() // its sessions go on
		}
	}
	d.warn(cfg)
	wanted := level(cfg.Log.Level)
	d.level.SetLevel(min(d.level.Level(), wanted)) // what changed is told by the more talkative of the two
	d.tell(changes)
	d.level.SetLevel(wanted)
	d.keepUntilRestart(cfg)
	d.cfg = cfg
	d.show(cfg, plans)
	return nil
}

// tell says what a reload has changed, and what it could not.
func (d *daemon) tell(changes []string) {
	applied := slices.DeleteFunc(slices.Clone(changes), needsRestart)
	pending := slices.DeleteFunc(slices.Clone(changes), func(c string) bool { return !needsRestart(c) })
	if len(pending) > 0 {
		d.log.Warn("reload: needs a restart", zap.Strings("changes", pending))
	}
	d.log.Info("reloaded", zap.Strings("changes", applied))
}

// describe says what is different in another configuration.
func describe(was, is *config.Config) []string {
	var texts []string
	for _, c := range config.Diff(was, is) {
		texts = append(texts, c.String())
	}
	return texts
}

// foundChanges are the addresses that names have now and had not, and the other
// way round.
func foundChanges(was map[string]*relays, plans map[string]*plan) []string {
	var texts []string
	for name, p := range plans {
		r := was[name]
		if r == nil {
			continue
		}
		for _, at := range p.found {
			if !slices.Contains(r.found, at) {
				texts = append(texts, "pools."+name+".backends: "+at+" is found now")
			}
		}
		for _, at := range r.found {
			if !slices.Contains(p.found, at) {
				texts = append(texts, "pools."+name+".backends: "+at+" is found no more")
			}
		}
	}
	slices.Sort(texts)
	return texts
}

// needsRestart tells of a change that it is one of what is set up once.
func needsRestart(change string) bool {
	for _, key := range []string{"workers:", "admin.address:", "admin.token_file:", "log.format:"} {
		if strings.HasPrefix(change, key) {
			return true
		}
	}
	return false
}

// keepUntilRestart leaves in a configuration what runs, so that the next reload
// says again what waits for a restart.
func (d *daemon) keepUntilRestart(cfg *config.Config) {
	cfg.Workers, cfg.Admin, cfg.Log.Format = d.cfg.Workers, d.cfg.Admin, d.cfg.Log.Format
}
