package resolve

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// DefaultTimeout is how long one server is waited for.
	DefaultTimeout = 5 * time.Second

	// atOnce is how many questions are asked at one time.
	atOnce = 16

	dnsPort = 53
)

// Resolver looks names up, in /etc/hosts and then in DNS. NewResolver makes one; it
// is safe for concurrent use.
type Resolver struct {
	hosts *file[map[string][]netip.Addr]
	conf  *file[*dns.ClientConfig]
	port  uint16                   // of the servers in conf
	given atomic.Pointer[settings] // what Use said; its servers may be none
	slots chan struct{}            // of the questions under way

	mu     sync.Mutex                   // guards silent
	silent map[netip.AddrPort]time.Time // servers that did not answer, and until when they come last
}

// settings are whom to ask, and how.
type settings struct {
	servers []netip.AddrPort
	timeout time.Duration
	names   func(string) []string // what a name may stand for
}

// NewResolver makes a resolver that asks the servers of /etc/resolv.conf, which is
// read again when it changes, and so is /etc/hosts.
func NewResolver() *Resolver { return newResolver("/etc/hosts", "/etc/resolv.conf", dnsPort) }

func newResolver(hosts, conf string, port uint16) *Resolver {
	r := &Resolver{
		hosts: &file[map[string][]netip.Addr]{path: hosts, parse: parseHosts},
		conf:  &file[*dns.ClientConfig]{path: conf, parse: parseResolvConf},
		port:  port,
		slots: make(chan struct{}, atOnce), silent: map[netip.AddrPort]time.Time{},
	}
	r.Use(nil, 0)
	return r
}

// Use has it ask these servers from now on, each for as long; none: those of
// /etc/resolv.conf, 0: DefaultTimeout. Servers that are named here know no search
// domains: names are then complete.
func (r *Resolver) Use(servers []netip.AddrPort, timeout time.Duration) {
	r.mu.Lock()
	for s := range r.silent {
		delete(r.silent, s) // nobody is judged by what was
	}
	r.mu.Unlock()
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	r.given.Store(&settings{servers: servers, timeout: timeout})
}

// settings are those of this moment.
func (r *Resolver) settings() *settings {
	given := r.given.Load()
	if len(given.servers) > 0 {
		return &settings{given.servers, given.timeout, func(name string) []string { return []string{dns.Fqdn(name)} }}
	}
	cfg := r.conf.get()
	return &settings{servers(cfg, r.port), given.timeout, cfg.NameList}
}

// Lookup finds the targets of a query. An error is an *Error, and there is then
// nothing else. Where only some could be found out, those that could not say so.
func (r *Resolver) Lookup(ctx context.Context, q Query) (Found, error) {
	set := r.settings()
	if len(set.servers) == 0 {
		return Found{}, &Error{Fault: Unreachable, Text: fmt.Sprintf("%s: no server to ask: resolv.conf has no nameserver that is an IP address", q)}
	}
	if q.Kind == Address {
		t := Target{Host: plain(q.Name), Port: q.Port, Weight: 1}
		ttl := r.locate(ctx, set, &t, set.names(q.Name))
		if len(t.Addresses) == 0 {
			return Found{}, t.failure()
		}
		return Found{Targets: []Target{t}, TTL: ttl}, nil
	}
	found, err := r.targets(ctx, set, q)
	if err != nil {
		return Found{}, err
	}
	var running sync.WaitGroup
	ttls := make([]time.Duration, len(found.Targets))
	for i := range found.Targets {
		t := &found.Targets[i]
		running.Go(func() { ttls[i] = r.locate(ctx, set, t, []string{dns.Fqdn(t.Host)}) })
	}
	running.Wait()
	for _, ttl := range ttls {
		if ttl > 0 {
			found.TTL = min(found.TTL, ttl)
		}
	}
	return found, nil
}

// targets asks for MX or SRV records.
func (r *Resolver) targets(ctx context.Context, set *settings, q Query) (Found, error) {
	qtype := dns.TypeMX
	if q.Kind == SRV {
		qtype = dns.TypeSRV
	}
	var nothing error
	for _, name := range set.names(q.Name) {
		rep, err := r.records(ctx, set, name, qtype)
		if err == nil {
			return targetsOf(q, rep)
		}
		if !negative(err) {
			return Found{}, err
		}
		if nothing == nil || FaultOf(err) == NoData {
			nothing = err
		}
	}
	return Found{}, nothing
}

// locate finds a target's addresses: in the hosts file, else under the first of
// the names that has any. It returns how long they may be used; 0 where there are
// none.
func (r *Resolver) locate(ctx context.Context, set *settings, t *Target, names []string) time.Duration {
	if known := r.hosts.get()[t.Host]; len(known) > 0 {
		t.Addresses = known
		return MinTTL // the file is looked at again then
	}
	for i, name := range names {
		var ttl4, ttl6 time.Duration
		var v4, v6 []netip.Addr
		var both sync.WaitGroup
		both.Go(func() { v4, ttl4, t.Missing4 = r.addresses(ctx, set, name, dns.TypeA) })
		both.Go(func() { v6, ttl6, t.Missing6 = r.addresses(ctx, set, name, dns.TypeAAAA) })
		both.Wait()
		t.Addresses = slices.Concat(v4, v6)
		if len(t.Addresses) > 0 {
			t.forgiveEmpty()
			return least(ttl4, ttl6)
		}
		last := i == len(names)-1
		if last || !negative(t.Missing4) || !negative(t.Missing6) {
			break
		}
	}
	return 0
}

// least is the smaller one that is not 0.
func least(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// addresses asks for A or AAAA records. The times are within bounds.
func (r *Resolver) addresses(ctx context.Context, set *settings, name string, qtype uint16) ([]netip.Addr, time.Duration, error) {
	rep, err := r.records(ctx, set, name, qtype)
	if err != nil {
		return nil, 0, err
	}
	var all []netip.Addr
	for _, rr := range rep.records {
		switch rr := rr.(type) {
		case *dns.A:
			all = appendAddr(all, rr.A)
		case *dns.AAAA:
			all = appendAddr(all, rr.AAAA)
		}
	}
	if len(all) == 0 { // records without data, as dynamic updates have them
		return nil, 0, &Error{Fault: NoData, Text: fmt.Sprintf("%s %s: the records hold no address", name, dns.TypeToString[qtype])}
	}
	return all, bounded(rep.ttl), nil
}

func appendAddr(all []netip.Addr, ip []byte) []netip.Addr {
	if addr, ok := netip.AddrFromSlice(ip); ok {
		return append(all, addr.Unmap())
	}
	return all
}

// bounded is a TTL within MinTTL and MaxTTL.
func bounded(ttl time.Duration) time.Duration { return min(max(ttl, MinTTL), MaxTTL) }

// records asks for the records of one name, and follows CNAMEs that the answers do
// not follow themselves.
func (r *Resolver) records(ctx context.Context, set *settings, name string, qtype uint16) (reply, error) {
	if _, ok := dns.IsDomainName(name); !ok {
		return reply{}, &Error{Fault: NXDomain, Text: name + ": no name that DNS could hold"}
	}
	rep := reply{name: name, ttl: MaxTTL}
	for {
		in, err := r.exchange(ctx, set, rep.name, qtype)
		if err != nil {
			return reply{}, err
		}
		was := rep
		if rep, err = read(in, was.name, qtype, was.hops); err != nil {
			return reply{}, err
		}
		what := fmt.Sprintf("%s %s", name, dns.TypeToString[qtype])
		switch {
		case len(rep.records) > 0:
			rep.ttl = min(rep.ttl, was.ttl)
			return rep, nil
		case rep.denied:
			return reply{}, &Error{Fault: NXDomain, Text: what + ": there is no such name", TTL: rep.ttl}
		case rep.soa || sameName(rep.name, was.name):
			return reply{}, &Error{Fault: NoData, Text: what + ": the name has no such records", TTL: rep.ttl}
		}
		rep.ttl = min(rep.ttl, was.ttl) // of a CNAME whose end is still to be asked for
	}
}
