package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"smtplb/internal/admin"
	"smtplb/internal/config"
	"smtplb/internal/resolve"
)

// How long names are waited for: at a start, where those that have no answer by then are
// looked up beside what else goes on, and at a reload, where a new one must be found.
const (
	startTime  = 7 * time.Second // more than one silent server takes
	reloadTime = 10 * time.Second
)

// names are those that relays are found under, and what was found.
type names struct {
	resolver *resolve.Resolver // of watcher
	watcher  *resolve.Watcher
	changed  chan struct{} // holds one: records have become others
	own      atomic.Pointer[[]netip.AddrPort]
	before   []resolve.Known // what the process before had found

	// fails is told of names that fail, and with nil that they do not; nil: nobody
	// is told. Not to be changed once names are looked up by Run.
	fails func(name string, err error)
}

// newNames makes them with none. What people should know goes to the log.
func newNames(log *zap.Logger) *names {
	n := &names{resolver: resolve.NewResolver(), changed: make(chan struct{}, 1)}
	n.watcher = &resolve.Watcher{
		Lookup: n.resolver.Lookup, Refuse: n.refuse,
		Changed: func() {
			select {
			case n.changed <- struct{}{}:
			default: // one that has not been seen is as good as two
			}
		},
		Tell: func(news resolve.News) {
			logNews(log, news)
			if n.fails != nil && len(news.Notes) == 0 {
				n.fails(news.Query.String(), news.Err)
			}
		},
	}
	return n
}

func logNews(log *zap.Logger, n resolve.News) {
	name := zap.Stringer("name", n.Query)
	switch {
	case n.Err != nil:
		log.Warn("name not found", name, zap.Stringer("fault", resolve.FaultOf(n.Err)), zap.Error(n.Err), zap.Int("relays_kept", n.Kept))
	case len(n.Notes) > 0:
		log.Warn("name: left out", name, zap.Strings("what", n.Notes))
	default:
		log.Info("name found again", name, zap.Duration("after", n.Again))
	}
}

// queries are all that a configuration asks DNS for.
func queries(cfg *config.Config) []resolve.Query {
	var all []resolve.Query
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		if p.Discover.Kind != "" {
			all = append(all, discoverQuery(p))
		}
		for j := range p.Backends {
			if q, ok := backendQuery(&p.Backends[j]); ok {
				all = append(all, q)
			}
		}
	}
	slices.SortFunc(all, func(a, b resolve.Query) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// finder tells what was found under a query. Where that is an error, nothing may be
// made of the configuration that asks.
type finder func(resolve.Query) ([]resolve.Record, error)

// learn looks up what a configuration asks for, and waits for it, but not for ever.
//
// Of what the process before had found nothing is lost where DNS fails just now.
// A name that cannot be looked up is no reason not to start: at a reboot DNS may come
// up later than this, and other relays are there. It is for a reload, though, if the
// file had it not before: whoever has written it is there to mend it. A name
// that says that there is no such service is a mistake at any time.
func (n *names) learn(ctx context.Context, cfg, before *config.Config) finder {
	n.use(cfg)
	asked := queries(cfg)
	if before == nil {
		n.watcher.Learn(slices.DeleteFunc(n.before, func(k resolve.Known) bool { return !slices.Contains(asked, k.Query) }))
	}
	patience := startTime
	if before != nil {
		patience = reloadTime
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n.watcher.Refresh(ctx, asked...)
	excused := func(_ resolve.Query, err error) bool { return resolve.FaultOf(err) != resolve.NoService }
	if before != nil {
		known := map[resolve.Query]bool{}
		for _, q := range queries(before) {
			known[q] = true
		}
		excused = func(q resolve.Query, _ error) bool { return known[q] }
	}
	return func(q resolve.Query) ([]resolve.Record, error) {
		records, err := n.watcher.Records(q)
		if err != nil && excused(q, err) {
			return nil, nil
		}
		return records, err
	}
}

// use has names be looked up as a configuration says.
func (n *names) use(cfg *config.Config) {
	var servers []netip.AddrPort
	for _, s := range cfg.DNS.Servers {
		servers = append(servers, s.AddrPort)
	}
	n.resolver.Use(servers, cfg.DNS.Timeout)
	var own []netip.AddrPort
	for i := range cfg.Listeners {
		own = append(own, cfg.Listeners[i].Address)
	}
	n.own.Store(&own)
}

// keep has those be looked up that a configuration asks for, and no others.
func (n *names) keep(cfg *config.Config) {
	n.use(cfg)
	n.watcher.Set(queries(cfg)...)
}

// known is what was found, for a configuration that runs already.
func (n *names) known(q resolve.Query) ([]resolve.Record, error) {
	records, err := n.watcher.Records(q)
	if err != nil {
		return nil, nil //nolint:nilerr // told when it began; the others are used meanwhile
	}
	return records, nil
}

// refuse leaves our own listeners out: each session would open the next until
// nothing is left.
func (n *names) refuse(at netip.AddrPort) string {
	own := n.own.Load()
	if own == nil {
		return ""
	}
	for _, l := range *own {
		if l == at || l.Port() == at.Port() && l.Addr().IsUnspecified() && ofThisMachine(at.Addr()) {
			return "our own listener " + l.String() + ": mail would go in circles"
		}
	}
	return ""
}

func ofThisMachine(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == addr
	})
}

// follow goes by what is found under the names now.
func (d *daemon) follow(ctx context.Context) {
	plans, err := planPools(d.cfg, d.names.known)
	if err != nil {
		d.log.Error("names: nothing changed", zap.Strings("errors", admin.Mistakes(err)))
		return
	}
	changes := foundChanges(d.pools, plans)
	if len(changes) == 0 {
		return
	}
	for name, p := range plans {
		r := d.pools[name]
		if maps.Equal(r.found, p.found) {
			continue
		}
		if err := r.change(ctx, p, d.news(), d.log); err != nil {
			d.log.Error("names", zap.String("pool", name), zap.Error(err)) // never seen: it was checked
		}
	}
	d.show(d.cfg, plans)
	d.log.Info("names changed", zap.Strings("changes", changes))
	d.admin.NamesChanged(changes)
}

// logFound says at a start what was found.
func logFound(log *zap.Logger, plans map[string]*plan) {
	none := map[string]*relays{}
	for name := range plans {
		none[name] = &relays{}
	}
	if found := foundChanges(none, plans); len(found) > 0 {
		log.Info("names", zap.Strings("changes", found))
	}
}

// foundDifference is what is found now and was not, is no more, or is otherwise.
func foundDifference(was, is map[string]string) []string {
	var texts []string
	for at, what := range is {
		switch before, there := was[at]; {
		case !there:
			texts = append(texts, at+" is found now"+inBrackets(what))
		case before != what:
			texts = append(texts, fmt.Sprintf("%s: %s -> %s", at, before, what))
		}
	}
	for at := range was {
		if _, there := is[at]; !there {
			texts = append(texts, at+" is found no more")
		}
	}
	return texts
}

func inBrackets(what string) string {
	if what == "" {
		return ""
	}
	return " (" + what + ")"
}

// shownNames are what the admin server shows of the names.
func (n *names) shown() []admin.Name {
	var all []admin.Name
	for _, st := range n.watcher.Status() {
		name := admin.Name{Name: st.Query.String(), Relays: st.Records, Answered: st.Answered, Failures: map[string]uint64{}}
		if st.Err != nil {
			name.Error = st.Err.Error()
		}
		for fault, count := range st.Failures {
			name.Failures[resolve.Fault(fault).String()] = count
		}
		all = append(all, name)
	}
	slices.SortFunc(all, func(a, b admin.Name) int { return strings.Compare(a.Name, b.Name) })
	return all
}
