package proxy

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The rules, one prefix after the other, as anybody would write them down.

func modelAllows(allow, deny []netip.Prefix, client netip.Addr) bool {
	longest := func(list []netip.Prefix) int {
		bits := -1
		for _, p := range list {
			if modelHolds(p, client) {
				bits = max(bits, modelBits(p))
			}
		}
		return bits
	}
	return longest(allow) > longest(deny)
}

func modelRoute(routes []Route, client netip.Addr) int32 {
	return int32(slices.IndexFunc(routes, func(r Route) bool {
		return slices.ContainsFunc(r.From, func(p netip.Prefix) bool { return modelHolds(p, client) })
	}))
}

func modelHolds(p netip.Prefix, client netip.Addr) bool {
	client = client.WithZone("").Unmap()
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return client.Is4() && p.Contains(netip.AddrFrom16(client.As16()))
	}
	return p.Contains(client)
}

func modelBits(p netip.Prefix) int {
	if p.Addr().Is4() {
		return p.Bits() + 96
	}
	return p.Bits()
}

// An address out of few, so that prefixes and clients meet: 10.0.0.0/8 and
// 2001:db8::/32 with two octets that differ, v4-mapped ones and zones.
func drawAddr(t *rapid.T, label string) netip.Addr {
	few := rapid.SampledFrom([]byte{0, 1, 2, 127, 128, 255})
	a, b := few.Draw(t, label+" a"), few.Draw(t, label+" b")
	four := netip.AddrFrom4([4]byte{10, a, 2, b})
	six := netip.MustParseAddr("2001:db8::").As16()
	six[5], six[15] = a, b
	switch rapid.IntRange(0, 4).Draw(t, label) {
	case 0, 1:
		return four
	case 2:
		return netip.AddrFrom16(four.As16()) // ::ffff:10.a.2.b
	case 3:
		return netip.AddrFrom16(six)
	default:
		return netip.AddrFrom16(six).WithZone("eth0")
	}
}

func drawPrefixes(t *rapid.T, label string) []netip.Prefix {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		addr := drawAddr(t, "network").WithZone("")
		bits := rapid.SampledFrom([]int{0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32}).Draw(t, "bits")
		if addr.Is6() {
			bits += rapid.SampledFrom([]int{0, 32, 96}).Draw(t, "more bits")
		}
		p := netip.PrefixFrom(addr, bits)
		if rapid.Bool().Draw(t, "masked") {
			p = p.Masked()
		}
		return p
	}), 0, 12).Draw(t, label)
}

// Whatever the lists, the tables answer as the lists do, prefix by prefix.
func TestGateAnswersAsItsListsDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &Listener{
			Allow: drawPrefixes(t, "allow"), Deny: drawPrefixes(t, "deny"), AcceptProxy: drawPrefixes(t, "accept_proxy"),
		}
		for range rapid.IntRange(0, 4).Draw(t, "routes") {
			l.Routes = append(l.Routes, Route{From: drawPrefixes(t, "from")})
		}
		g := newGate(l)
		clients := []netip.Addr{{}}
		for range 20 {
			clients = append(clients, drawAddr(t, "client"))
		}
		for _, list := range [][]netip.Prefix{l.Allow, l.Deny} { // and the edges of networks
			for _, p := range list {
				clients = append(clients, p.Masked().Addr(), p.Masked().Addr().Prev())
			}
		}
		for _, client := range clients {
			if got, want := g.allows(client), modelAllows(l.Allow, l.Deny, client); got != want {
				t.Fatalf("%v: allowed %v, want %v; allow %v deny %v", client, got, want, l.Allow, l.Deny)
			}
			if got, want := g.expectsHeader(client), modelRoute([]Route{{From: l.AcceptProxy}}, client) == 0; got != want {
				t.Fatalf("%v: header expected %v, want %v; accept_proxy %v", client, got, want, l.AcceptProxy)
			}
			if got, want := g.route(client), modelRoute(l.Routes, client); got != want {
				t.Fatalf("%v: route %d, want %d; routes %v", client, got, want, l.Routes)
			}
		}
	})
}

// What the documentation promises, in its words.
func TestLongestPrefixDecidesWhoConnects(t *testing.T) {
	for _, test := range []struct {
		name        string
		allow, deny []netip.Prefix
		client      string
		want        bool
	}{
		{"nobody while allow is empty", nil, nil, "10.1.2.3", false},
		{"on allow", prefixes("10.0.0.0/8"), nil, "10.1.2.3", true},
		{"deny takes some out", prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), "10.1.2.3", false},
		{"and leaves the rest", prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), "10.2.2.3", true},
		{"allow within deny", prefixes("10.1.2.3/32"), prefixes("10.1.0.0/16"), "10.1.2.3", true},
		{"and nobody beside it", prefixes("10.1.2.3/32"), prefixes("10.1.0.0/16"), "10.1.2.4", false},
		{"deny within allow within deny", prefixes("10.1.2.0/24"), prefixes("10.1.0.0/16", "10.1.2.3/32"), "10.1.2.3", false},
		{"both name it", prefixes("10.1.0.0/16"), prefixes("10.1.0.0/16"), "10.1.2.3", false},
		{"both name it, twice", prefixes("10.1.0.0/16", "10.1.0.0/16"), prefixes("10.1.0.0/16"), "10.1.2.3", false},
		{"host bits are not looked at", prefixes("10.1.9.9/16"), nil, "10.1.2.3", true},
		{"v4-mapped client", prefixes("10.1.0.0/16"), nil, "::ffff:10.1.2.3", true},
		{"v4-mapped client, denied", prefixes("10.0.0.0/8"), prefixes("10.1.2.3/32"), "::ffff:10.1.2.3", false},
		{"v4-mapped network", prefixes("::ffff:10.1.0.0/112"), nil, "10.1.2.3", true},
		{"v4-mapped deny of an IPv4 allow", prefixes("10.1.0.0/16"), prefixes("::ffff:10.1.0.0/112"), "10.1.2.3", false},
		{"all of IPv6 is not IPv4", prefixes("::/0"), nil, "10.1.2.3", false},
		{"all of IPv6 is not v4-mapped", prefixes("::/0"), nil, "::ffff:10.1.2.3", false},
		{"all of IPv4 is not IPv6", prefixes("0.0.0.0/0"), nil, "2001:db8::1", false},
		{"a zone", prefixes("fe80::/10"), nil, "fe80::1%eth0", true},
		{"a zone, denied", prefixes("fe80::/10"), prefixes("fe80::1/128"), "fe80::1%eth0", false},
	} {
		client := netip.MustParseAddr(test.client)
		if got := newGate(&Listener{Allow: test.allow, Deny: test.deny}).allows(client); got != test.want {
			t.Errorf("%s: %s allowed %v, want %v", test.name, test.client, got, test.want)
		}
	}
	if newGate(&Listener{Allow: prefixes("::/0", "0.0.0.0/0")}).allows(netip.Addr{}) {
		t.Error("no address at all is allowed")
	}
}
