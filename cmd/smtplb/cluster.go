package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"smtplb/balancer"
	"smtplb/internal/admin"
	"smtplb/internal/cluster"
	"smtplb/internal/config"
)

// agreement is what this process has to do with the other balancers: it tells them
// what the pools do, and has the pools go by what was agreed on.
type agreement struct {
	together balancer.Together // zero: there are no others
	node     *cluster.Node     // nil: there are no others
	config   cluster.Config
	elders   *elders
	giveUp   func() // ends what agreeLater tries, and waits for that

	// Of the node's goroutine.
	places map[string]*limitPlace     // of the ceilings
	known  map[string]cluster.Ceiling // those that have a place, or had one and are claimed yet
	asked  map[string]activity        // of the pools
}

// activity is when a pool was last asked for a backend.
type activity struct {
	count uint64
	at    time.Time
}

// busyTime is for how long after its last session a pool is thought to get more.
const busyTime = 5 * time.Second

// newAgreement makes what the configuration asks for; it does not talk yet.
func newAgreement(cfg *config.Cluster) (*agreement, error) {
	a := &agreement{elders: newElders(), giveUp: func() {}, places: map[string]*limitPlace{}, known: map[string]cluster.Ceiling{}, asked: map[string]activity{}}
	if !cfg.On() {
		return a, nil
	}
	key, err := clusterKey(cfg)
	if err != nil {
		return nil, err
	}
	a.together.Balancers, a.together.Rank = cluster.Rank(cfg.Bind, cfg.Peers)
	a.config = cluster.Config{Bind: cfg.Bind, Peers: cfg.Peers, Key: key, Hold: cfg.Hold}
	if file := stateFile(); file != "" {
		a.config.Journal = filepath.Join(filepath.Dir(file), "cluster.json")
	}
	return a, nil
}

// clusterKey is the one that the configuration names; nil without peers.
func clusterKey(cfg *config.Cluster) ([]byte, error) {
	if !cfg.On() {
		return nil, nil
	}
	key, err := readClusterKey(cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cluster.key_file: %w", err)
	}
	return key, nil
}

// readClusterKey returns the key that a file holds in base64.
func readClusterKey(file string) ([]byte, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the administrator names it
	if err != nil {
		return nil, err
	}
	const want = "want 16, 24 or 32 bytes in base64, such as the output of: openssl rand -base64 32"
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: it is no base64: %s", file, want)
	}
	switch len(key) {
	case 16, 24, 32:
		return key, nil
	}
	return nil, fmt.Errorf("%s: a key of %d bytes: %s", file, len(key), want)
}

// agree has the agreement hold: when it returns the pools go by it, and with nil the
// others are told. before is what another process has handed over; nil: none has.
func (d *daemon) agree(before *cluster.Handed) error {
	a := d.cluster
	if a.together.Balancers == 0 {
		return nil
	}
	a.config.Before, a.config.Read, a.config.Apply, a.config.Told = before, d.readLimits, d.applyLimits, d.toldOfPeers
	node, err := cluster.New(a.config)
	switch {
	case err != nil:
		d.log.Warn("cluster: what was lent before is not known: begins with a part of its share, until the peers have said what they hold", zap.Error(err))
	case a.config.Journal == "" && before == nil:
		d.log.Info("cluster: there is no state directory: begins with a part of its share, until the peers have said what they hold")
	}
	a.node = node
	if err := node.Open(); err != nil {
		return err
	}
	d.log.Info("cluster", zap.Stringer("bind", a.config.Bind), zap.Stringers("peers", a.config.Peers), zap.String("share", a.share()))
	return nil
}

// refresh has pools that are new, or have other limits, go by what was agreed on.
func (a *agreement) refresh() {
	if a.node != nil {
		a.node.Refresh()
	}
}

// leave ends the talk at the end of the process, which has no session any more; over
// tells that another has replaced it.
func (a *agreement) leave(log *zap.Logger, over bool) {
	if a.node == nil || over {
		return
	}
	if err := a.node.Close(a.elders.none()); err != nil {
		log.Warn("cluster", zap.Error(err))
	}
}

// toldOfPeers writes what people should know.
func (d *daemon) toldOfPeers(e cluster.Event) {
	write := d.log.Info
	if e.Bad {
		write = d.log.Warn
	}
	var fields []zap.Field
	if e.Peer != "" {
		fields = append(fields, zap.String("peer", e.Peer))
	}
	switch e.What {
	case cluster.OutOfReach:
		fields = append(fields, zap.String("share", d.cluster.share()),
			zap.String("limits", "its share stays with it; what it has of ours is ours again once it cannot have it any more"))
	case cluster.HasLeft:
		fields = append(fields, zap.String("share", d.cluster.share()), zap.String("limits", "its share stays with it"))
	}
	write("cluster: "+e.What, fields...)
}

// share is this balancer's own part of each limit.
func (a *agreement) share() string { return fmt.Sprintf("1/%d", a.together.Balancers) }

// shownCluster is what the admin server shows of the other balancers; nil: there
// are none.
func (d *daemon) shownCluster() *admin.Cluster {
	node := d.cluster.node
	if node == nil {
		return nil
	}
	st := node.Status()
	c := &admin.Cluster{Self: st.Self, Balancers: d.cluster.together.Balancers}
	for _, p := range st.Peers {
		c.Peers = append(c.Peers, admin.Peer(p))
	}
	for _, l := range st.Ceilings {
		c.Limits = append(c.Limits, admin.SharedLimit{
			Name: l.Key, Limit: l.Limit, Share: l.Share, Quota: l.Quota, Lent: l.Lent, Borrowed: l.Borrowed, Elder: l.Elder,
		})
	}
	return c
}
