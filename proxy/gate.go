package proxy

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// gate knows by a client's address what becomes of it: each question is one
// search for the longest prefix, whose cost hardly depends on how many there
// are. Addresses and networks may be written as v4-mapped ones; a zone is not
// looked at. Immutable.
//
// The tables are bart's. A lookup among 10,000 prefixes takes 23 ns in its Table
// and 21 ns in its Lite, among one hundred 16 and 13; netipx.IPSet, which
// searches ranges by halves, takes 136 and 63, knows no longest prefix, and
// needs 3 s to build where prefixes are put in and taken out in turn. Allow and
// deny are one Table and not two Lites, so that one lookup tells which of them
// is the more specific; accept_proxy has one answer, for which Lite is enough.
type gate struct {
	access  bart.Table[bool]   // allow and deny: whether the client may connect
	proxies *bart.Lite         // accept_proxy; nil: none
	routes  *bart.Table[int32] // the first route that holds the client; nil: there are none
}

func newGate(l *Listener) *gate {
	g := &gate{}
	for _, p := range l.Allow {
		g.access.Insert(plain(p), true)
	}
	for _, p := range l.Deny { // last, so that it has the last word on a network that both name
		g.access.Insert(plain(p), false)
	}
	if len(l.AcceptProxy) > 0 {
		g.proxies = &bart.Lite{}
		for _, p := range l.AcceptProxy {
			g.proxies.Insert(plain(p))
		}
	}
	if len(l.Routes) > 0 {
		g.routes = routeTable(l.Routes)
	}
	return g
}

// routeTable finds the first route that holds a client, which is not the one
// with the longest prefix. All prefixes that hold an address hold each other, so
// that each of them is given the first route of those that hold it; then the
// longest knows.
func routeTable(routes []Route) *bart.Table[int32] {
	type entry struct {
		prefix netip.Prefix
		route  int32
	}
	var all []entry
	for i := range routes {
		for _, p := range routes[i].From {
			if p = plain(p); p.IsValid() {
				all = append(all, entry{p, int32(i)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.prefix.Bits(), b.prefix.Bits()) })
	t := &bart.Table[int32]{}
	for _, e := range all {
		if first, ok := t.LookupPrefix(e.prefix); ok && first < e.route {
			e.route = first
		}
		t.Insert(e.prefix, e.route)
	}
	return t
}

// allows tells whether a client may connect.
func (g *gate) allows(client netip.Addr) bool {
	ok, found := g.access.Lookup(client.Unmap())
	return found && ok && client.IsValid()
}

// expectsHeader tells whether a peer must send a PROXY header.
func (g *gate) expectsHeader(peer netip.Addr) bool {
	return g.proxies != nil && peer.IsValid() && g.proxies.Contains(peer.Unmap())
}

// route is the index of the first route that holds a client; -1 for none.
func (g *gate) route(client netip.Addr) int32 {
	if g.routes == nil || !client.IsValid() {
		return -1
	}
	if i, ok := g.routes.Lookup(client.Unmap()); ok {
		return i
	}
	return -1
}

// plain writes a network of v4-mapped addresses as the IPv4 one that it is, as
// clients' addresses are.
func plain(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
