package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Cluster names the balancers that give sessions to the same relays, so that
// max_sessions of backends and of keep_warm, min_per_hour and ramp hold for all of
// them together; see docs/cluster.md.
type Cluster struct {
	// Bind is this balancer's address for the others, IP:port, TCP and UDP: the one
	// that they have among their peers. Takes effect at a start only, as all of this
	// section. Default "": it agrees with nobody, each limit is its own.
	Bind netip.AddrPort `koanf:"bind"`

	// Peers are the addresses of the other balancers, their bind, at most 31. Of
	// each limit a balancer has an equal part, whoever else can be reached: so name
	// all there are, and no other. Default: none.
	Peers []netip.AddrPort `koanf:"peers"`

	// KeyFile is the path of a file with the key that seals what the balancers tell
	// each other: 16, 24 or 32 bytes in base64, as "openssl rand -base64 32" makes
	// one, the same file at all of them. Needed. Default "": none.
	KeyFile string `koanf:"key_file"`

	// Hold is how long a balancer waits for sessions at a peer that is out of reach,
	// 0s to 24h, before it takes back the slots that it has lent for them: as long as
	// a session may last. Default 15m.
	Hold time.Duration `koanf:"hold"`
}

// On reports whether there are balancers to agree with.
func (c *Cluster) On() bool { return c.Bind.IsValid() }

// maxPeers bounds what each balancer has to tell the others.
const maxPeers = 31

func (r *report) checkCluster(cfg *Config) {
	c := &cfg.Cluster
	r.path("cluster.key_file", c.KeyFile)
	r.lasting("cluster.hold", c.Hold, 0, 24*time.Hour)
	if !c.On() {
		if len(c.Peers) > 0 && !r.failed("cluster.bind") {
			r.fail("cluster.bind", "required with peers: this balancer's address for them, such as 192.0.2.11:7946")
		}
		return
	}
	if c.Bind.Addr().IsUnspecified() {
		r.fail("cluster.bind", "must be the address by which the peers know this balancer, such as 192.0.2.11:7946")
	}
	if len(c.Peers) == 0 && !r.failed("cluster.peers") {
		r.fail("cluster.peers", "required: the addresses of the other balancers, their bind")
	}
	if len(c.Peers) > maxPeers {
		r.fail("cluster.peers", fmt.Sprintf("must have at most %d elements, has %d", maxPeers, len(c.Peers)))
	}
	if c.KeyFile == "" && !r.failed("cluster.key_file") {
		r.fail("cluster.key_file", "required: without a key whoever reaches the port could change limits")
	}
	for i, p := range c.Peers {
		key := fmt.Sprintf("cluster.peers[%d]", i)
		switch {
		case !p.IsValid():
		case p == c.Bind:
			r.fail(key, "is cluster.bind, this balancer's own address: want the others' only")
		case p.Addr().IsUnspecified():
			r.fail(key, "must be the address of one balancer")
		case p.Addr().Is4() != c.Bind.Addr().Is4():
			r.fail(key, "must be of the same family as cluster.bind, IPv4 or IPv6")
		case slices.Contains(c.Peers[:i], p):
			r.fail(key, fmt.Sprintf("is cluster.peers[%d] already", slices.Index(c.Peers, p)))
		}
	}
	r.warnShares(cfg)
}

// warnShares warns of limits of which some balancer has no part.
func (r *report) warnShares(cfg *Config) {
	n := len(cfg.Cluster.Peers) + 1
	few := func(key string, limit int) {
		if limit > 0 && limit < n {
			r.warn(key, fmt.Sprintf("is less than the %d balancers of cluster: some of them have none of it while they cannot reach the others", n))
		}
	}
	for i := range cfg.Pools {
		p, at := &cfg.Pools[i], fmt.Sprintf("pools[%d]", i)
		for j := range p.Backends {
			few(fmt.Sprintf("%s.backends[%d].max_sessions", at, j), p.Backends[j].MaxSessions)
		}
		few(at+".discovered.max_sessions", p.Discovered.MaxSessions)
		few(at+".failover.keep_warm.max_sessions", p.Failover.KeepWarm.MaxSessions)
	}
}
