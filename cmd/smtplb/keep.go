package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"smtplb/balancer"
	"smtplb/internal/admin"
)

// kept is what is known of all pools, on its way to the next process. Each pool
// is taken apart on its own: what is wrong with one does not matter to others.
type kept struct {
	Pools map[string]keptPool `json:"pools"`

	Cluster *keptCluster `json:"cluster,omitempty"` // between two processes alone
}

type keptPool struct {
	Since time.Time       `json:"since"` // when it was made first
	State json.RawMessage `json:"state"`
}

// keep returns what is to be known in the next process. given is for one that takes
// over while this one lives.
func (d *daemon) keep(given *keptCluster) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	k := kept{map[string]keptPool{}, given}
	var errs []error
	for name, r := range d.pools {
		text, err := json.Marshal(r.balancer.Save(now))
		errs = append(errs, err)
		since := d.since[name]
		if since.IsZero() {
			since = d.admin.StartedAt
		}
		k.Pools[name] = keptPool{since, text}
	}
	text, err := json.Marshal(k)
	return text, errors.Join(append(errs, err)...)
}

// restore goes on from what was kept. What cannot be used is said in the log, and
// costs nothing else. It is called before anything runs.
func (d *daemon) restore(text []byte, from string) *keptCluster {
	now := time.Now()
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		d.log.Warn("state: dropped, all begins as new", zap.String("from", from), zap.Error(err))
		return nil
	}
	var out []string // who takes no sessions
	for _, name := range slices.Sorted(maps.Keys(k.Pools)) {
		r := d.pools[name]
		if r == nil {
			continue // not configured any more
		}
		var saved *balancer.Saved
		err := json.Unmarshal(k.Pools[name].State, &saved)
		if err == nil {
			err = r.balancer.Restore(now, r.policy(d.plans[name], d.news()), saved)
		}
		if err != nil {
			d.log.Warn("state: dropped", zap.String("from", from), zap.String("pool", name), zap.Strings("errors", admin.Mistakes(err)))
		}
		if since := k.Pools[name].Since; !since.IsZero() && since.Before(now) {
			d.since[name] = since
		}
		for _, b := range r.balancer.Snapshot(now) {
			if b.State != balancer.Up {
				out = append(out, name+"/"+b.Name+": "+b.State.String()+", "+b.Reason)
			}
		}
	}
	d.show(d.cfg, d.plans)
	d.log.Info("state: taken over", zap.String("from", from), zap.Strings("not_up", out))
	return k.Cluster
}

// stateFile is where the state is kept while no process runs: in systemd's
// StateDirectory=; "" without one.
func stateFile() string {
	dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "state.json")
}

// readState restores what the last process has left, and removes it: if this one
// is killed nothing that is out of date comes back.
func (d *daemon) readState() {
	file := stateFile()
	if file == "" {
		return
	}
	text, err := os.ReadFile(file) //nolint:gosec // systemd names the directory
	if err == nil {
		err = os.Remove(file)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		d.log.Warn("state: not used", zap.Error(err))
	default:
		_ = d.restore(text, file)
	}
}

// writeState leaves the state to the next process that is started.
func (d *daemon) writeState() {
	file := stateFile()
	if file == "" {
		return
	}
	text, err := d.keep(nil)
	if err == nil {
		err = os.WriteFile(file+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		d.log.Warn("state: not kept", zap.Error(err))
	}
}
