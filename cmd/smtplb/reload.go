package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"smtplb/internal/admin"
	"smtplb/internal/config"
)

// planPools makes a plan of each pool, by its name.
func planPools(cfg *config.Config, find finder) (map[string]*plan, error) {
	plans := map[string]*plan{}
	var errs []error
	for i := range cfg.Pools {
		p, err := planPool(&cfg.Pools[i], find)
		errs = append(errs, err)
		plans[cfg.Pools[i].Name] = p
	}
	return plans, errors.Join(errs...)
}

// order asks for a reload; answer has room for what comes of it.
type order struct {
	by     string
	answer chan<- outcome
}

type outcome struct {
	done admin.Reloaded
	err  error
}

// obey reloads and upgrades whenever it is asked to, one after the other, until
// ctx ends.
func (d *daemon) obey(ctx context.Context, h *helpers) {
	for {
		asked := order{by: "SIGHUP", answer: make(chan outcome, 1)} // nobody waits
		select {
		case <-ctx.Done():
			// This process may have ended as soon as another had taken over.
			select {
			case <-h.hangups:
				d.passOnReload()
			default:
			}
			return
		case <-d.names.changed:
			d.follow(ctx)
			continue
		case <-h.upgrades:
			d.tryUpgrade(ctx)
			continue
		case <-h.hangups:
			if d.passOnReload() {
				continue
			}
		case asked = <-d.orders:
		}
		done, err := d.reloadFor(ctx, asked.by)
		asked.answer <- outcome{done, err}
	}
}

// orderReload has the file reloaded and waits for that, or until ctx ends.
func (d *daemon) orderReload(ctx context.Context) (admin.Reloaded, error) {
	if d.load == nil {
		return admin.Reloaded{}, admin.ErrNoFile
	}
	answer := make(chan outcome, 1)
	select {
	case d.orders <- order{by: "the API", answer: answer}:
	case <-ctx.Done():
		return admin.Reloaded{}, ctx.Err()
	}
	select {
	case o := <-answer:
		return o.done, o.err
	case <-ctx.Done():
		return admin.Reloaded{}, ctx.Err()
	}
}

// reloadFor reloads for somebody, and says what came of it.
func (d *daemon) reloadFor(ctx context.Context, by string) (admin.Reloaded, error) {
	if d.load == nil {
		d.log.Warn("reload refused: there is no configuration file")
		return admin.Reloaded{}, admin.ErrNoFile
	}
	if d.draining.Load() {
		d.log.Warn("reload refused: nothing changed", zap.String("by", by), zap.Strings("errors", []string{admin.ErrStopping.Error()}))
		return admin.Reloaded{}, admin.ErrStopping
	}
	if pid, over := d.succession.over(); over {
		d.log.Warn("reload refused: another process has taken over: send it there", zap.Int("pid", pid))
		return admin.Reloaded{}, admin.ErrStopping
	}
	d.notify.say("RELOADING=1", strings.TrimSpace(systemd.SdNotifyMonotonicUsec()))
	defer func() { d.notify.say("READY=1", "STATUS="+d.summary()) }()
	done, err := d.reload(ctx, by)
	if err != nil {
		d.log.Error("reload refused: nothing changed", zap.String("by", by), zap.Strings("errors", admin.Mistakes(err)))
	}
	d.admin.ReloadEnded(by, done, err)
	return done, err
}

// reload applies the configuration as it is now. With an error nothing has
// changed: everything that may fail comes before the first change.
func (d *daemon) reload(ctx context.Context, by string) (done admin.Reloaded, err error) {
	cfg, err := d.load()
	if err != nil {
		return done, err
	}
	renewed, useCertificate, wrong := d.certificate.again()
	defer func() { d.names.keep(d.cfg) }() // whichever it is then
	plans, err := planPools(cfg, d.names.learn(ctx, cfg, d.cfg))
	forbidden, absent := lacks(cfg)
	if err := errors.Join(err, wrong, sinceGivenUp(forbidden)); err != nil {
		return done, err
	}
	pools := map[string]*relays{}
	for name, p := range plans {
		if pools[name] = d.pools[name]; pools[name] == nil {
			if pools[name], err = newRelays(p, d.cluster.together, d.news()); err != nil {
				return done, err
			}
		}
	}
	was := d.replacePools(pools)
	d.cluster.refresh()
	if err := d.server.Reload(d.listeners(cfg, plans)); err != nil {
		d.replacePools(was)
		return done, err
	}
	useCertificate()
	done = split(append(describe(d.cfg, cfg), append(foundChanges(was, plans), renewed)...))
	for name, r := range pools {
		if was[name] == nil {
			r.start(ctx, d.log)
		} else if err := r.change(ctx, plans[name], d.news(), d.log); err != nil {
			d.log.Error("reload", zap.String("pool", name), zap.Error(err)) // never seen: it was checked
		}
	}
	d.cluster.refresh()
	for name, r := range was {
		if pools[name] == nil {
			r.stop() // its sessions go on
		}
	}
	d.warn(cfg, absent)
	d.warnTransparent(cfg, plans)
	d.warnExpired()
	d.warnDescriptors(cfg)
	wanted := level(cfg.Log.Level)
	d.level.SetLevel(min(d.level.Level(), wanted)) // what changed is told by the more talkative of the two
	d.tell(done, by)
	d.level.SetLevel(wanted)
	d.keepUntilRestart(cfg)
	d.cfg = cfg
	d.show(cfg, plans)
	return done, nil
}

// replacePools makes other pools those that are known, and returns the old ones.
func (d *daemon) replacePools(pools map[string]*relays) (was map[string]*relays) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was, d.pools = d.pools, pools
	for name := range pools {
		if was[name] == nil {
			d.since[name] = time.Now()
		}
	}
	d.retired = slices.DeleteFunc(d.retired, func(p counted) bool { return pools[p.name] == p.relays })
	for name, r := range was {
		if pools[name] != r && d.cluster.together.Balancers > 0 {
			d.retired = append(d.retired, counted{name, r, time.Now()})
		}
	}
	return was
}

// tell says what a reload has changed, and what it could not.
func (d *daemon) tell(done admin.Reloaded, by string) {
	if len(done.NeedsRestart) > 0 {
		d.log.Warn("reload: needs a restart", zap.Strings("changes", done.NeedsRestart))
	}
	d.log.Info("reloaded", zap.String("by", by), zap.Strings("changes", done.Changes))
}

// split tells changes that took effect from those that wait for a restart.
func split(changes []string) (done admin.Reloaded) {
	for _, c := range changes {
		switch {
		case c == "":
		case needsRestart(c):
			done.NeedsRestart = append(done.NeedsRestart, c)
		default:
			done.Changes = append(done.Changes, c)
		}
	}
	return done
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
		if r := was[name]; r != nil {
			for _, text := range foundDifference(r.found, p.found) {
				texts = append(texts, "pools."+name+".backends: "+text)
			}
		}
	}
	slices.Sort(texts)
	return texts
}

// needsRestart tells of a change that it is one of what is set up once.
func needsRestart(change string) bool {
	for _, key := range []string{"workers:", "admin.address:", "admin.token_file:", "admin.tls.", "log.format:", "cluster."} {
		if strings.HasPrefix(change, key) {
			return true
		}
	}
	return false
}

// keepUntilRestart leaves in a configuration what runs, so that the next reload
// says again what waits for a restart.
func (d *daemon) keepUntilRestart(cfg *config.Config) {
	cfg.Workers, cfg.Admin, cfg.Log.Format, cfg.Cluster = d.cfg.Workers, d.cfg.Admin, d.cfg.Log.Format, d.cfg.Cluster
}
