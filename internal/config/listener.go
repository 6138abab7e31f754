package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Listener is one address that clients connect to.
type Listener struct {
	// Name is the listener's name in logs. Default: its address.
	Name string `koanf:"name"`

	// Address is the IP and port to listen on, such as "192.0.2.25:25" or
	// "[::]:25". It need not be up yet: keepalived may move it here later.
	// Required.
	Address netip.AddrPort `koanf:"address"`

	// Pool is the name of the pool that takes the clients that no route names.
	// Default: the only pool; required where there are several.
	Pool string `koanf:"pool"`

	// Allow are the networks that may connect, such as 10.0.0.0/8; a bare
	// address is that address alone. 0.0.0.0/0 is all of IPv4 and ::/0 all of
	// IPv6, neither holds the other. Required: nobody may connect until named.
	Allow []netip.Prefix `koanf:"allow"`

	// Deny are networks that may not connect though Allow holds them. Of all
	// networks of both lists that hold a client the longest decides:
	// 10.1.2.3/32 in Allow is let in out of 10.1.0.0/16 in Deny. One that stands
	// in both is denied. Default: none.
	Deny []netip.Prefix `koanf:"deny"`

	// Routes choose a pool by the client's address; the first match wins.
	// Default: none, Pool takes everybody.
	Routes []Route `koanf:"routes"`

	// Protocol is smtp, where the relay greets first, or tcp, where nothing is
	// awaited and bytes are relayed as soon as the relay is connected (port
	// 465). Default smtp.
	Protocol Protocol `koanf:"protocol"`

	// DeniedReply is what a client outside Allow gets: 421, so that its mail waits
	// in its queue; 554, so that its mail bounces; drop, a close without a word.
	// Default 421.
	DeniedReply DeniedReply `koanf:"denied_reply"`

	// AcceptProxy are the networks whose connections must begin with a PROXY
	// protocol header (v1 or v2), which then gives the client's address; Allow,
	// Deny and Routes look at that one. Default: none.
	AcceptProxy []netip.Prefix `koanf:"accept_proxy"`

	// Hostname is our name in our own replies, such as 421. Default: the machine's
	// name.
	Hostname string `koanf:"hostname"`

	// MaxSessions is the most sessions at one time, 0 to 10000000; 0 is no
	// limit. Clients over it read 421 4.7.0. Default 10000.
	MaxSessions int `koanf:"max_sessions"`

	// MaxSessionsPerClient is the most sessions at one time from one client
	// address, 0 to 10000000. A client over it reads 421 4.7.0. Default 0: no
	// limit.
	MaxSessionsPerClient int `koanf:"max_sessions_per_client"`

	// MaxRatePerClient bounds how often one client may connect: from one IPv4
	// address, or from one IPv6 network of 64 bits, of which one machine may have
	// every address. Behind AcceptProxy it is the client that the header names. A
	// client over it reads 421 4.7.0. Default: no limit.
	MaxRatePerClient Rate `koanf:"max_rate_per_client"`
}

// Rate is a bound of connections in a time.
type Rate struct {
	// PerMinute is the most connections a minute over a longer time, 0 to
	// 10000000. They come free evenly: of 60, one each second. Default 0: no limit.
	PerMinute int `koanf:"per_minute"`

	// Burst is the most connections at once, after a time without any, 0 to
	// 10000000. Default 0: as many as PerMinute.
	Burst int `koanf:"burst"`
}

// Route sends some clients of a listener to another pool.
type Route struct {
	// From are the client networks this route is for. Required.
	From []netip.Prefix `koanf:"from"`

	// Pool is the name of the pool that takes them. Required.
	Pool string `koanf:"pool"`
}

func (r *report) checkListeners(c *Config) {
	if len(c.Listeners) == 0 {
		r.fail("listeners", "required: at least one, with address, pool and allow")
	}
	r.checkAddresses(c)
	names := make(map[string]string)
	for i := range c.Listeners {
		l, at := &c.Listeners[i], fmt.Sprintf("listeners[%d]", i)
		r.checkListener(l, at)
		if !r.failed(at + ".address") { // its default name would be taken too
			r.unique(names, at+".name", l.Name)
		}
		r.reference(c, at+".pool", l.Pool)
		for j, rt := range l.Routes {
			r.checkRoute(c, rt, fmt.Sprintf("%s.routes[%d]", at, j))
		}
	}
}

func (r *report) checkListener(l *Listener, at string) {
	r.name(at+".name", l.Name)
	if !l.Address.IsValid() {
		r.fail(at+".address", `required: the IP and port to listen on, such as "192.0.2.25:25"`)
	}
	if len(l.Allow) == 0 {
		r.fail(at+".allow", "required: nobody may connect until named, such as [10.0.0.0/8]")
	}
	for i, p := range l.Allow {
		if p.Bits() == 0 {
			r.warn(fmt.Sprintf("%s.allow[%d]", at, i),
				"every address may connect: relays that trust this machine become open relays")
		}
	}
	for i, p := range l.AcceptProxy {
		if p.Bits() == 0 {
			r.warn(fmt.Sprintf("%s.accept_proxy[%d]", at, i),
				"every peer may name any client address: allow then protects nothing")
		}
	}
	r.checkInside(l, at)
	r.mailName(at+".hostname", l.Hostname)
	r.between(at+".max_sessions", l.MaxSessions, 0, maxSessions)
	r.between(at+".max_sessions_per_client", l.MaxSessionsPerClient, 0, maxSessions)
	r.between(at+".max_rate_per_client.per_minute", l.MaxRatePerClient.PerMinute, 0, maxSessions)
	r.between(at+".max_rate_per_client.burst", l.MaxRatePerClient.Burst, 0, maxSessions)
	if l.MaxRatePerClient.Burst > 0 && l.MaxRatePerClient.PerMinute == 0 && !r.failed(at+".max_rate_per_client.per_minute") {
		r.fail(at+".max_rate_per_client.burst", "has no effect without per_minute: write that too, or leave both out")
	}
}

// checkInside warns of networks that may connect out of one that may not. It is
// what the longest prefix means, and not what somebody means who shuts a network
// out in a hurry.
func (r *report) checkInside(l *Listener, at string) {
	if len(l.Deny) == 0 {
		return
	}
	byAddress := func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	}
	allow := slices.SortedFunc(slices.Values(l.Allow), byAddress)
	for i, p := range l.Deny {
		if !p.IsValid() || p.IsSingleIP() {
			continue // a mistake that was told of, or there is nothing within
		}
		// What p holds begins right behind p, and nothing else lies between.
		first, _ := slices.BinarySearchFunc(allow, netip.PrefixFrom(p.Addr(), p.Bits()+1), byAddress)
		if first < len(allow) && p.Contains(allow[first].Addr()) {
			r.warn(fmt.Sprintf("%s.deny[%d]", at, i),
				fmt.Sprintf("allow names %s, which may connect all the same: the longer prefix decides", allow[first]))
		}
	}
}

func (r *report) checkRoute(c *Config, rt Route, at string) {
	if len(rt.From) == 0 {
		r.fail(at+".from", "required: the client networks this route is for, such as [10.10.2.0/24]")
	}
	r.reference(c, at+".pool", rt.Pool)
}

// reference checks that a pool of that name exists.
func (r *report) reference(c *Config, key, name string) {
	if r.failed("pools") || len(c.Pools) == 0 {
		return // said once, at pools
	}
	known := make([]string, 0, len(c.Pools))
	for i, p := range c.Pools {
		if p.Name == "" || r.failed(fmt.Sprintf("pools[%d].name", i)) {
			return // the missing name is the error, not the reference to it
		}
		known = append(known, p.Name)
	}
	switch {
	case name == "":
		r.fail(key, "required: "+oneOf(known))
	case c.Pool(name) == nil:
		r.fail(key, "no such pool: "+suggest(name, known))
	}
}

// checkAddresses finds sockets that could not all be bound. A wildcard takes
// its port from every address of its family (ip(7)); whether "[::]" takes
// IPv4's as well depends on how it is bound, so that is left to the kernel.
func (r *report) checkAddresses(c *Config) {
	type bound struct {
		key  string
		addr netip.AddrPort
	}
	var all []bound
	add := func(key string, addr netip.AddrPort) {
		if !addr.IsValid() || r.failed(key) {
			return
		}
		for _, other := range all {
			if overlap(addr, other.addr) {
				r.fail(key, fmt.Sprintf("must differ from %s (%s)", other.key, other.addr))
				return
			}
		}
		all = append(all, bound{key, addr})
	}
	for i, l := range c.Listeners {
		add(fmt.Sprintf("listeners[%d].address", i), l.Address)
	}
	add("admin.address", c.Admin.Address)
}

func overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() || a.Addr().Is4() != b.Addr().Is4() {
		return false
	}
	return a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}
