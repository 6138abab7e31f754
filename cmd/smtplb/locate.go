package main

import (
	"fmt"
	"net/netip"
	"strconv"

	"smtplb/internal/config"
	"smtplb/internal/resolve"
)

// place is one address of a backend.
type place struct {
	backend config.Backend // as configured, or as what is found has in common
	name    string         // unique in the pool
	address netip.AddrPort
	host    string // whose address it is; "" where it was written as an address
	found   string // what was found but the address: "priority 10, weight 3"
}

// backendQuery is what DNS is asked for a backend; false where it is an address.
func backendQuery(b *config.Backend) (resolve.Query, bool) {
	if b.Address.IP.IsValid() || b.Address.Host == "" {
		return resolve.Query{}, false
	}
	return resolve.Query{Kind: resolve.Address, Name: b.Address.Host, Port: b.Address.Port}, true
}

// discoverQuery is what DNS is asked for a pool's backends.
func discoverQuery(p *config.Pool) resolve.Query {
	const smtpPort = 25
	q := resolve.Query{Kind: resolve.MX, Name: p.Discover.Name, Port: smtpPort}
	if p.Discovered.Port != 0 {
		q.Port = uint16(p.Discovered.Port) //nolint:gosec // 1 to 65535, as was checked
	}
	if p.Discover.Kind == config.DiscoverSRV {
		q.Kind, q.Port = resolve.SRV, 0
	}
	return q
}

// locatePool returns where the backends of a pool are.
func locatePool(cfg *config.Pool, find finder) (places []place, errs []error) {
	if cfg.Discover.Kind != "" {
		records, err := find(discoverQuery(cfg))
		if err != nil {
			return nil, []error{fmt.Errorf("pool %s: discover: %w", cfg.Name, err)}
		}
		return discovered(cfg, records), nil
	}
	for i := range cfg.Backends {
		b := &cfg.Backends[i]
		q, named := backendQuery(b)
		if !named {
			places = append(places, place{backend: *b, name: b.Name, address: netip.AddrPortFrom(b.Address.IP, b.Address.Port)})
			continue
		}
		records, err := find(q)
		if err != nil {
			errs = append(errs, fmt.Errorf("pool %s: backend %s: address %s: %w", cfg.Name, b.Name, b.Address, err))
			continue
		}
		places = append(places, byName(b, records)...)
	}
	return places, errs
}

// byName returns a backend that is given by name: as itself where it has one
// address, else one for each.
func byName(b *config.Backend, records []resolve.Record) (places []place) {
	for _, r := range records {
		if reaches(b.Source, r.Address) {
			places = append(places, place{backend: *b, name: b.Name, address: r.Address, host: b.Address.Host})
		}
	}
	if len(places) > 1 {
		for i := range places {
			places[i].name += "/" + places[i].address.Addr().String()
		}
	}
	return places
}

// discovered makes a backend of each relay that was found, named by its host, and
// with srv its port; and by its address, where it has several.
func discovered(cfg *config.Pool, records []resolve.Record) (places []place) {
	count := map[string]int{}
	for _, r := range records {
		if !reaches(cfg.Discovered.Source, r.Address) {
			continue
		}
		name, found := r.Host, "priority "+strconv.Itoa(r.Priority)
		if cfg.Discover.Kind == config.DiscoverSRV {
			name += ":" + strconv.Itoa(int(r.Address.Port()))
		}
		if cfg.Discover.Kind == config.DiscoverSRV || r.Weight != 1 {
			found += ", weight " + strconv.Itoa(r.Weight)
		}
		b := cfg.Discovered.Backend(name, r.Address, r.Priority, r.Weight)
		places = append(places, place{backend: b, name: name, address: r.Address, host: r.Host, found: found})
		count[name]++
	}
	for i := range places {
		if p := &places[i]; count[p.name] > 1 {
			p.name += "/" + p.address.Addr().String()
		}
	}
	return places
}

// reaches tells whether an address can be connected to from a source; the kernel
// chooses one where none is given.
func reaches(source netip.Addr, to netip.AddrPort) bool {
	return !source.IsValid() || source.Is4() == to.Addr().Is4()
}
