package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"smtplb/internal/config"
	"smtplb/internal/resolve"
	"smtplb/internal/route"
	"smtplb/proxy"
)

// Relays that see their clients' own addresses answer to those. What can be found
// out about the way of the answers without sending anything is found out here.

// clientele are the clients that a listener or one of its routes sends to a pool.
type clientele struct {
	listener, pool string
	networks       []netip.Prefix
}

func clienteles(cfg *config.Config) []clientele {
	var all []clientele
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		for _, r := range l.Routes {
			all = append(all, clientele{l.Name, r.Pool, r.From})
		}
		all = append(all, clientele{l.Name, l.Pool, l.Allow})
	}
	return all
}

// warnTransparent says what keeps transparent relays from serving clients, as far
// as it can be known.
func (d *daemon) warnTransparent(cfg *config.Config, plans map[string]*plan) {
	for _, text := range unanswered(cfg, plans) {
		d.log.Warn("config", zap.String("warning", text))
	}
}

// unanswered are the troubles of transparent relays with their clients.
func unanswered(cfg *config.Config, plans map[string]*plan) []string {
	var texts []string
	for _, c := range clienteles(cfg) {
		p := plans[c.pool]
		if p == nil {
			continue
		}
		texts = append(texts, unserved(c, p)...)
		for i := range p.policy.Backends {
			b := &p.policy.Backends[i]
			if t, ok := b.Data.(*proxy.Target); ok && t.Transparent {
				texts = append(texts, lost(c, b.Name, t)...)
			}
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts) // listeners may share a pool
}

// unserved tells of clients whose family no relay of their pool can serve.
func unserved(c clientele, p *plan) []string {
	if len(p.policy.Backends) == 0 {
		return nil // to be found yet
	}
	var texts []string
	for family, isOf := range map[string]func(netip.Addr) bool{"IPv4": netip.Addr.Is4, "IPv6": netip.Addr.Is6} {
		if !slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return isOf(n.Addr()) }) {
			continue
		}
		served := false
		for i := range p.policy.Backends {
			t, ok := p.policy.Backends[i].Data.(*proxy.Target)
			served = served || !ok || !t.Transparent || isOf(t.Address.Addr())
		}
		if !served {
			texts = append(texts, fmt.Sprintf("pool %s: no relay for the %s clients of listener %s: all are transparent and of the other family: see %s",
				c.pool, family, c.listener, pageTransparent))
		}
	}
	return texts
}

// mostAsked bounds the networks whose way is asked for, for each relay.
const mostAsked = 32

// lost tells that a relay's answers to clients go another way than through this
// machine: the first network of which that is so stands for all.
func lost(c clientele, name string, t *proxy.Target) []string {
	relay := t.Address.Addr()
	for _, n := range c.networks[:min(len(c.networks), mostAsked)] {
		client := clientOf(n)
		if client.Is4() != relay.Is4() || !client.IsValid() {
			continue
		}
		err := route.Back(t.Address, client, route.Way{Interface: t.Interface, Mark: t.Mark})
		if err == nil {
			continue
		}
		what := "does not come back here, sessions will time out"
		if !errors.Is(err, route.ErrAway) {
			what = "may not come back here"
		}
		return []string{fmt.Sprintf("pool %s: backend %s: transparent: what it answers to clients such as %s %s: %s: see %s",
			c.pool, name, client, what, err, pageTransparent)}
	}
	return nil
}

// clientOf is an address of a network that is not this machine's own; invalid if
// none is found soon.
func clientOf(n netip.Prefix) netip.Addr {
	const tries = 8
	addr := n.Masked().Addr()
	switch {
	case n.Bits() == 0 && addr.Is4():
		addr = netip.MustParseAddr("192.0.2.1") // anybody's, RFC 5737
	case n.Bits() == 0:
		addr = netip.MustParseAddr("2001:db8::1") // RFC 3849
	case !n.IsSingleIP():
		addr = addr.Next() // the first is the network's own
	}
	for range tries {
		if !n.Contains(addr) {
			break
		}
		if !ofThisMachine(addr) {
			return addr
		}
		addr = addr.Next()
	}
	return netip.Addr{}
}

// unlooked finds nothing under any name, where names are not looked up.
func unlooked(resolve.Query) ([]resolve.Record, error) { return nil, nil }
