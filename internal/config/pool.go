package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Pool is a group of relays that can stand in for each other.
type Pool struct {
	// Name is what listeners and routes call the pool, and what it is called in
	// logs, metrics and commands. Default: what they call it, where there is only
	// one pool; required where there are several.
	Name string `koanf:"name"`

	// Balance is how a relay is chosen within a tier: the one with the fewest
	// sessions for its weight, counted so that the shares are exact with few
	// sessions too. There is no other rule. Default least_connections.
	Balance Balance `koanf:"balance"`

	// Backends are the relays. Required, unless Discover finds them.
	Backends []Backend `koanf:"backends"`

	// Discover fills the backends from DNS instead: mx:NAME (the preference
	// becomes the priority) or srv:NAME (priority, weight and port are taken
	// over). They are looked up again as the TTL says; while DNS does not answer,
	// what was found last stays. Excludes Backends. Default "": no discovery.
	Discover Discover `koanf:"discover"`

	// Discovered is what the backends that Discover finds have in common.
	Discovered Discovered `koanf:"discovered"`

	// Failover says when another tier takes over, and when it hands back.
	Failover Failover `koanf:"failover"`

	// SlowStart is how long a backend that came back takes to its full weight,
	// from a tenth of it, 0s to 1h; 0s is at once. Not used at start-up. Default
	// 30s.
	SlowStart time.Duration `koanf:"slow_start"`

	// Probe is the active health check.
	Probe Probe `koanf:"probe"`

	// Passive is what live traffic says about a backend's health.
	Passive Passive `koanf:"passive"`

	// Timeouts bound each step of a session.
	Timeouts Timeouts `koanf:"timeouts"`
}

// Backend is one relay.
type Backend struct {
	// Name is the relay's name in logs, metrics and commands. No two relays of a
	// pool have the same. Default: its address.
	Name string `koanf:"name"`

	// Address is the relay's IP:port, or name:port for all A and AAAA records
	// of the name, looked up again as the TTL says. Required.
	Address Endpoint `koanf:"address"`

	// Weight is the relay's share of its tier, against the other weights, 0 to
	// 1000: one of weight 2 gets twice the sessions of one of weight 1; 0 takes no
	// new sessions. Default 1.
	Weight int `koanf:"weight"`

	// Site says where the relay stands: a label for people, in logs, metrics and
	// on the dashboard. It changes nothing, Priority does. Default "": none.
	Site string `koanf:"site"`

	// Priority is the tier, 0 to 65535: the relays of the lowest one are used
	// first, those of the next one when that is not usable, and so on. Default 0.
	Priority int `koanf:"priority"`

	// MaxSessions is the most sessions at one time, 0 to 10000000. While every
	// relay of a tier has as many, the next tier helps out. Default 0: no limit.
	MaxSessions int `koanf:"max_sessions"`

	// ProxyProtocol is the PROXY header the relay wants before anything else:
	// v1, v2, or "" for none. A relay that expects one must get it, one that does
	// not must not. Checks send it too. Default "": none.
	ProxyProtocol ProxyProtocol `koanf:"proxy_protocol"`

	// Source is the local address to connect from, so that a relay behind the
	// second ISP is reached through it; of a name, addresses of the other family
	// are left out. Checks leave the same way, here and with Interface and FWMark.
	// Default "": as the kernel chooses.
	Source netip.Addr `koanf:"source"`

	// Interface is the network interface to connect through. Default "": as
	// the kernel chooses.
	Interface string `koanf:"interface"`

	// FWMark is the firewall mark set on the connection, 0 to 4294967295, for
	// routing rules (ip rule add fwmark). Needs CAP_NET_RAW, before Linux 5.17
	// CAP_NET_ADMIN; see docs/two-isps.md. Default 0: none.
	FWMark uint32 `koanf:"fwmark"`

	// Transparent connects from the client's own address, so that the relay sees
	// that. It takes routes, and CAP_NET_RAW; see docs/transparent.md. Excludes
	// Source. Default false.
	Transparent bool `koanf:"transparent"`
}

func (r *report) checkPools(c *Config) {
	if len(c.Pools) == 0 {
		r.fail("pools", "required: at least one, with backends")
	}
	used := make(map[string]bool)
	for _, name := range c.poolsAsked() {
		used[name] = true
	}
	names := make(map[string]string)
	for i := range c.Pools {
		p, at := &c.Pools[i], fmt.Sprintf("pools[%d]", i)
		switch {
		case p.Name == "" && len(c.Pools) > 1:
			r.fail(at+".name", "required where there are several pools")
		case p.Name == "":
			r.fail(at+".name", "required: listeners use several names for it: "+list(c.poolsAsked()))
		case !used[p.Name] && !r.failed("listeners"):
			r.warn(at, "no listener and no route uses this pool")
		}
		r.name(at+".name", p.Name)
		r.unique(names, at+".name", p.Name)
		r.checkPool(p, at)
		r.checkProbedAs(c, p, at)
	}
	r.checkLoops(c)
}

func (r *report) checkPool(p *Pool, at string) {
	switch {
	case len(p.Backends) == 0 && p.Discover.Kind == "" && !r.failed(at+".discover"):
		r.fail(at+".backends", "required: at least one, or discover")
	case len(p.Backends) > 0 && p.Discover.Kind != "":
		r.fail(at+".discover", "excludes backends: the pool is either listed here or found in DNS")
	}
	r.checkDiscovered(p, at)
	names := make(map[string]string)
	weight := 0
	for i := range p.Backends {
		b, key := &p.Backends[i], fmt.Sprintf("%s.backends[%d]", at, i)
		r.checkBackend(b, key)
		r.unique(names, key+".name", b.Name)
		weight += b.Weight
	}
	if len(p.Backends) > 0 && weight == 0 {
		r.warn(at+".backends", "every weight is 0: the pool takes no sessions")
	}
	r.lasting(at+".slow_start", p.SlowStart, 0, time.Hour)
	r.checkFailover(p, at)
	r.checkProbe(&p.Probe, at+".probe")
	r.checkPassive(&p.Passive, at+".passive")
	r.checkTimeouts(&p.Timeouts, at+".timeouts")
}

func (r *report) checkBackend(b *Backend, at string) {
	r.name(at+".name", b.Name)
	switch {
	case b.Address.Port == 0:
		r.fail(at+".address", `required: the relay's IP or name and its port, such as "10.10.1.11:25"`)
	case b.Address.Host == "":
		r.fail(at+".address", `must name a relay before the port, such as "10.10.1.11:25"`)
	}
	r.between(at+".weight", b.Weight, 0, 1000)
	r.label(at+".site", b.Site)
	r.between(at+".priority", b.Priority, 0, 65535)
	r.between(at+".max_sessions", b.MaxSessions, 0, maxSessions)
	r.deviceName(at+".interface", b.Interface)
	if !b.Source.IsValid() {
		return
	}
	if ip := b.Address.IP; ip.IsValid() && ip.Is4() != b.Source.Is4() {
		r.fail(at+".source", fmt.Sprintf("must be of the same family as the address, %s", ip))
	}
	if b.Transparent {
		r.fail(at+".source", "excludes transparent: that connects from the client's own address")
	}
}

// checkLoops refuses a backend that is a listener of ours: each session would
// open the next until nothing is left.
func (r *report) checkLoops(c *Config) {
	listening := make(map[netip.AddrPort]int)
	for i, l := range c.Listeners {
		listening[l.Address] = i
	}
	for i, p := range c.Pools {
		for j, b := range p.Backends {
			addr, ok := b.Address.AddrPort()
			if !ok {
				continue
			}
			if n, ours := listening[addr]; ours {
				r.fail(fmt.Sprintf("pools[%d].backends[%d].address", i, j),
					fmt.Sprintf("must be a relay, not our own listeners[%d].address: mail would go in circles", n))
			}
		}
	}
}
