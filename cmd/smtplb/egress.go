package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"smtplb/internal/config"
	"smtplb/proxy"
)

// What a configuration needs of the machine that it is for, to reach the relays
// by the ways that it names: addresses, interfaces, rights.

const (
	pageTwoISPs     = "docs/two-isps.md"
	pageTransparent = "docs/transparent.md"
)

// way is how the connections to a backend leave.
type way struct {
	of     string // "pool out: backend relay-a"
	target proxy.Target
}

// ways are those of a configuration. They can be tried before any name is looked
// up: what this machine must have for them does not depend on the relay.
func ways(cfg *config.Config) []way {
	var all []way
	add := func(of string, b *config.Backend) {
		if b.Source.IsValid() || b.Interface != "" || b.FWMark != 0 || b.Transparent {
			all = append(all, way{of, *target(b, example(b))})
		}
	}
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		for j := range p.Backends {
			add(fmt.Sprintf("pool %s: backend %s", p.Name, p.Backends[j].Name), &p.Backends[j])
		}
		if p.Discover.Kind != "" {
			b := p.Discovered.Backend("", netip.AddrPort{}, 0, 0)
			add(fmt.Sprintf("pool %s: discovered", p.Name), &b)
		}
	}
	return all
}

// example is the address of a backend, or where it is still to be found any that
// its source could reach.
func example(b *config.Backend) netip.AddrPort {
	if at, ok := b.Address.AddrPort(); ok && at.Addr().IsValid() && !at.Addr().IsUnspecified() {
		return at
	}
	if b.Source.Is6() {
		return netip.MustParseAddrPort("[2001:db8::25]:25")
	}
	return netip.MustParseAddrPort("192.0.2.25:25")
}

// missing is what this machine lacks for a way; nil if nothing.
func (w way) missing() error {
	err := w.target.Try()
	if err == nil {
		return nil
	}
	page := pageTwoISPs
	if w.target.Transparent {
		page = pageTransparent
	}
	return fmt.Errorf("%s: %w: see %s", w.of, err, page)
}

// lacks sorts what this machine lacks for the ways of a configuration. What this
// process is not allowed to do does not come by itself, so nothing is begun with
// it. What is absent may still come: an address may float here, an interface come
// up; until then the relay is passed over.
func lacks(cfg *config.Config) (forbidden, absent []error) {
	for _, w := range ways(cfg) {
		switch err := w.missing(); {
		case err == nil:
		case errors.Is(err, os.ErrPermission):
			forbidden = append(forbidden, err)
		default:
			absent = append(absent, err)
		}
	}
	return forbidden, absent
}

// doubts are the checks that say nothing, for a reason of this machine's, so that
// each is told once. Its methods are safe for concurrent use.
type doubts struct {
	mu   sync.Mutex
	said map[string]string // why, by backend
}

// news tells that a backend's checks say nothing for another reason than before.
func (d *doubts) news(backend, why string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.said[backend] == why {
		return false
	}
	d.said[backend] = why
	return true
}

// over notes that a check has said something.
func (d *doubts) over(backend string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.said, backend)
}
