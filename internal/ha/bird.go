package ha

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/template"
)

// Speaker is one of several balancers that announce the VIPs by BGP, as its BIRD
// is to know it. Every field but NoBFD must be set.
type Speaker struct {
	VIPs    []netip.Addr // as the function VIPs returns them
	Self    []netip.Addr // of this balancer: one for each family
	Routers []netip.Addr // who are told
	BGP
}

// Router is a router with BIRD that has the balancers behind it.
type Router struct {
	VIPs      []netip.Addr
	Self      []netip.Addr   // of this router, towards the balancers: one for each family
	Balancers []netip.Prefix // where the balancers are
	Table     int            // of the kernel, where the routes are put
	BGP
}

// BGP is what both sides must agree on.
type BGP struct {
	AS, RouterAS uint32 // of the balancers, and of the routers
	NoBFD        bool   // one side cannot: then a machine that is dead is known after three seconds, not one
	Config       string // smtplb's configuration, which the text names
}

// Bounds of what the kernel takes for a table that is nobody else's: below are
// main, local and default.
const (
	minTable = 256
	maxTable = 1<<31 - 1
)

// Bird is the whole bird.conf of this balancer. The error names every mistake in
// the fields.
func (s *Speaker) Bird() (string, error) {
	errs := s.check(s.VIPs, s.Self)
	if len(s.Routers) == 0 {
		errs = append(errs, errors.New("router: at least one is needed, such as 10.0.0.1"))
	}
	for i, r := range s.Routers {
		errs = append(errs, checkMachine("router", r, s.VIPs), hasOwn("router "+r.String(), s.Self, r))
		if slices.Contains(s.Routers[:i], r) {
			errs = append(errs, fmt.Errorf("router %s: is there twice: must be once", r))
		}
		if slices.Contains(s.Self, r) {
			errs = append(errs, fmt.Errorf("router %s: is this balancer's own address", r))
		}
	}
	for _, vip := range s.VIPs {
		if !slices.ContainsFunc(s.Routers, family(vip)) {
			errs = append(errs, fmt.Errorf("VIP %s: no router of its family is told; add one", vip))
		}
	}
	if err := joined(errs); err != nil {
		return "", err
	}
	return fill("bird.conf", birdSession+speakerConf, struct {
		*Speaker
		ID    netip.Addr
		Peers []peer
	}{s, s.Self[0], peers(s.Self, s.Routers)})
}

// Bird is the bird.conf of this router. The error names every mistake in the fields.
func (r *Router) Bird() (string, error) {
	errs := r.check(r.VIPs, r.Self)
	if len(r.Balancers) == 0 {
		errs = append(errs, errors.New("balancers: their network is needed, such as 10.0.0.0/24"))
	}
	for i, p := range r.Balancers {
		if !p.IsValid() || p != p.Masked() {
			errs = append(errs, fmt.Errorf("balancers %s: must be a network, such as 10.0.0.0/24", p))
			continue
		}
		errs = append(errs, hasOwn("balancers "+p.String(), r.Self, p.Addr()))
		if j := slices.IndexFunc(r.Balancers[:i], p.Overlaps); j >= 0 {
			errs = append(errs, fmt.Errorf("balancers %s: overlaps with %s: each balancer must be in one network", p, r.Balancers[j]))
		}
		for _, vip := range r.VIPs {
			if p.Contains(vip) {
				errs = append(errs, fmt.Errorf("VIP %s: is in the balancers' network %s; it must be in none, as it is routed", vip, p))
			}
		}
	}
	for _, vip := range r.VIPs {
		if !slices.ContainsFunc(r.Balancers, func(p netip.Prefix) bool { return family(vip)(p.Addr()) }) {
			errs = append(errs, fmt.Errorf("VIP %s: no network of balancers is of its family", vip))
		}
	}
	if r.Table < minTable || r.Table > maxTable {
		errs = append(errs, fmt.Errorf("table %d: must be %d to %d", r.Table, minTable, maxTable))
	}
	if err := joined(errs); err != nil {
		return "", err
	}
	return fill("bird.conf", birdSession+routerConf, struct {
		*Router
		ID    netip.Addr
		Peers []peer
	}{r, r.Self[0], networks(r.Self, r.Balancers)})
}

// check returns the mistakes in what both sides have.
func (b *BGP) check(vips, self []netip.Addr) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	errs = append(errs, checkVIPs(vips)...)
	if len(self) == 0 || !self[0].Is4() {
		fail("self: the first must be an IPv4 address, such as 10.0.0.11: BGP has a router ID of that kind")
	}
	for i, own := range self {
		errs = append(errs, checkMachine("self", own, vips))
		if slices.ContainsFunc(self[:i], family(own)) {
			fail("self %s: is a second one of its family", own)
		}
	}
	const reserved = 23456 // RFC 6793, AS_TRANS
	for what, as := range map[string]uint32{"AS": b.AS, "router's AS": b.RouterAS} {
		if as == 0 || as == reserved || as == 1<<16-1 || as == 1<<32-1 {
			fail("%s %d: must be a number that networks have, such as 65025; private are 64512 to 65534", what, as)
		}
	}
	if b.AS == b.RouterAS {
		fail("AS %d: must differ from the router's: the two sides speak external BGP", b.AS)
	}
	return append(errs, checkConfig(b.Config))
}

func checkVIPs(vips []netip.Addr) (errs []error) {
	if len(vips) == 0 {
		errs = append(errs, errors.New("VIPs: at least one is needed"))
	}
	for _, v := range vips {
		if want := immovable(v); want != "" {
			errs = append(errs, fmt.Errorf("VIP %s: %s", v, want))
		}
	}
	return errs
}

// checkConfig keeps a path from being more than a word in a comment.
func checkConfig(path string) error {
	if !plain(path, maxPath) {
		return fmt.Errorf("configuration %q: must be a path of letters, digits and / . _ - + only", path)
	}
	return nil
}

// checkMachine tells what is wrong with an address of a machine.
func checkMachine(what string, a netip.Addr, vips []netip.Addr) error {
	switch {
	case immovable(a) != "" || a.Is4In6():
		return fmt.Errorf("%s %s: must be an address of that machine which is routed, such as 10.0.0.1", what, a)
	case slices.Contains(vips, a):
		return fmt.Errorf("%s %s: is a listener's address, which all balancers have", what, a)
	}
	return nil
}

// hasOwn tells whether there is an own address that can speak to another.
func hasOwn(what string, self []netip.Addr, other netip.Addr) error {
	if slices.ContainsFunc(self, family(other)) {
		return nil
	}
	return fmt.Errorf("%s: this machine needs an own address of that family; add one", what)
}

func family(of netip.Addr) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return a.Is4() == of.Is4() }
}

// joined are the errors, in an order that does not change.
func joined(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// peer is whom a session is with.
type peer struct {
	Number  int
	Self    netip.Addr
	With    string // an address, or a network
	Channel string // the family
}

func peers(self, others []netip.Addr) (all []peer) {
	for i, other := range others {
		all = append(all, peer{i + 1, self[slices.IndexFunc(self, family(other))], other.String(), channel(other)})
	}
	return all
}

func networks(self []netip.Addr, others []netip.Prefix) (all []peer) {
	for i, other := range others {
		all = append(all, peer{i + 1, self[slices.IndexFunc(self, family(other.Addr()))], other.String(), channel(other.Addr())})
	}
	return all
}

func channel(a netip.Addr) string {
	if a.Is4() {
		return "ipv4"
	}
	return "ipv6"
}

// routes are those of the VIPs of a family, as BIRD has them in a set.
func routes(vips []netip.Addr, of string) string {
	var words []string
	for _, v := range vips {
		if channel(v) == of {
			words = append(words, netip.PrefixFrom(v, v.BitLen()).String())
		}
	}
	return strings.Join(words, ", ")
}

// families are those that the VIPs have.
func families(vips []netip.Addr) (all []string) {
	for _, v := range vips {
		if c := channel(v); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// fill fills in a template.
func fill(name, text string, of any) (string, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"routes": routes, "families": families}).Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := t.Execute(&out, of); err != nil {
		return "", err
	}
	return out.String(), nil
}
