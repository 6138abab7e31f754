package admin

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"smtplb/balancer"
	"smtplb/proxy"
)

// Bounds of a scrape.
const (
	scrapesAtOnce = 4
	scrapeTimeout = 10 * time.Second
)

// metrics is what answers /metrics.
func (s *Server) metrics() (http.Handler, error) {
	registry := prometheus.NewRegistry()
	if err := s.register(registry); err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: lines(s.report), ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
		MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTimeout,
	}), nil
}

// register names everything that is measured.
func (s *Server) register(registry prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{
		newCollector(s.status),
		s.observations.collector(s.known),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// family is a metric that each T has one of: its value is read from T.
type family[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*T) float64
}

func gauge[T any](name, help string, labels []string, value func(*T) float64) family[T] {
	return family[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, value}
}

func counter[T any](name, help string, labels []string, value func(*T) float64) family[T] {
	return family[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, value}
}

// put sends the value of each family.
func put[T any](ch chan<- prometheus.Metric, families []family[T], of *T, labels ...string) {
	for i := range families {
		f := &families[i]
		ch <- constant(f.desc, f.kind, f.value(of), labels...)
	}
}

// constant is a metric of this moment. A name that is no UTF-8, as DNS may hold,
// is mended: it must not take the other metrics with it.
func constant(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) prometheus.Metric {
	clean := make([]string, len(labels))
	for i, l := range labels {
		clean[i] = label(l)
	}
	m, err := prometheus.NewConstMetric(desc, kind, value, clean...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}

func label(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

// collector makes metrics of the state at the moment of a scrape.
type collector struct {
	status func() *status

	sessions []family[sessionStatus]
	pools    []family[poolStatus]
	tiers    []family[tierStatus]
	backends []family[backendStatus]
	names    nameMetrics
	cluster  clusterMetrics

	build, ready, refused, ends, bytes, late, info, state, habit *prometheus.Desc
}

func newCollector(state func() *status) *collector {
	pool, backend := []string{"pool"}, []string{"pool", "backend"}
	return &collector{
		status:   state,
		sessions: sessionFamilies(),
		pools:    poolFamilies(pool),
		tiers:    tierFamilies([]string{"pool", "tier"}),
		backends: backendFamilies(backend),
		names:    newNameMetrics(),
		cluster:  newClusterMetrics(),
		build: prometheus.NewDesc("smtplb_build_info", "Always 1, with the version that runs.",
			[]string{"version", "goversion"}, nil),
		ends: prometheus.NewDesc("smtplb_sessions_total", "Sessions that have ended, refused ones too, by why.",
			[]string{"end"}, nil),
		bytes: prometheus.NewDesc("smtplb_session_bytes_total",
			"Bytes that ended sessions carried, up to the relays and down to the clients.", []string{"direction"}, nil),
		ready: prometheus.NewDesc("smtplb_ready", "1 while clients are accepted, as /readyz says.", nil, nil),
		refused: prometheus.NewDesc("smtplb_reload_refused",
			"1 while the configuration that runs is not that of the file, as the last reload was refused.", nil, nil),
		late: prometheus.NewDesc("smtplb_loop_late_seconds",
			"How late event loops came round, where that was more than 5 ms: a long turn, or a machine that did not run them.", nil, nil),
		info: prometheus.NewDesc("smtplb_backend_info", "Always 1, with a backend's tier and site.",
			[]string{"pool", "backend", "tier", "site"}, nil),
		state: prometheus.NewDesc("smtplb_backend_state", "1 for the state that a backend is in, 0 for the others.",
			[]string{"pool", "backend", "state"}, nil),
		habit: prometheus.NewDesc("smtplb_backend_greeting_habit_seconds",
			"What 99 of 100 recent greetings of a backend stay below; there is none until it is known.", backend, nil),
	}
}

func sessionFamilies() []family[sessionStatus] {
	type of = sessionStatus
	return []family[of]{
		counter("smtplb_connections_accepted_total", "Connections accepted from clients.", nil,
			func(s *of) float64 { return float64(s.Accepted) }),
		gauge("smtplb_sessions_open", "Sessions that run now, being set up and lingering ones too.", nil,
			func(s *of) float64 { return float64(s.Open) }),
		gauge("smtplb_sessions_hedging", "Sessions that ask two relays now.", nil,
			func(s *of) float64 { return float64(s.Hedging) }),
		counter("smtplb_hedges_total", "Times that a second relay was asked beside a late one.", nil,
			func(s *of) float64 { return float64(s.Hedged) }),
		gauge("smtplb_descriptors", "File descriptors that sessions hold or have reserved.", nil,
			func(s *of) float64 { return float64(s.Descriptors) }),
		gauge("smtplb_descriptors_limit", "With so many no client is accepted until a session ends.", nil,
			func(s *of) float64 { return float64(s.Limit) }),
	}
}

func poolFamilies(labels []string) []family[poolStatus] {
	type of = poolStatus
	return []family[of]{
		gauge("smtplb_pool_failover", "1 while new sessions go to another tier than the first.", labels,
			func(p *of) float64 { return truth(p.Failover) }),
		gauge("smtplb_warm_share_ratio", "The part of new sessions that the next tier down is to have.", labels,
			func(p *of) float64 { return p.WarmShare }),
		counter("smtplb_warm_sessions_total", "Sessions established to keep the next tier down warm.", labels,
			func(p *of) float64 { return float64(p.WarmSessions) }),
	}
}

func tierFamilies(labels []string) []family[tierStatus] {
	type of = tierStatus
	return []family[of]{
		gauge("smtplb_tier_active", "1 for the tier that new sessions go to.", labels,
			func(t *of) float64 { return truth(t.Active) }),
		gauge("smtplb_tier_healthy_backends", "Backends that are up and have a weight.", labels,
			func(t *of) float64 { return float64(t.Healthy) }),
		gauge("smtplb_tier_min_healthy_backends", "With fewer the tier is not usable.", labels,
			func(t *of) float64 { return float64(t.MinHealthy) }),
		gauge("smtplb_tier_idle_seconds", "How long ago the last session was established; since the start where none was. "+
			"Addresses that send nothing lose their reputation.", labels,
			func(t *of) float64 { return t.Idle }),
		gauge("smtplb_tier_ramp_ratio", "The part of new sessions that a tier takes: below 1 while it takes over slowly.", labels,
			func(t *of) float64 { return t.Ramp }),
	}
}

func backendFamilies(labels []string) []family[backendStatus] {
	type of = backendStatus
	return []family[of]{
		gauge("smtplb_backend_sessions", "Sessions that hold a slot now, attempts under way included.", labels,
			func(b *of) float64 { return float64(b.Sessions) }),
		gauge("smtplb_backend_max_sessions", "The most sessions at one time; 0: no limit.", labels,
			func(b *of) float64 { return float64(b.MaxSessions) }),
		gauge("smtplb_backend_weight", "The configured weight.", labels,
			func(b *of) float64 { return float64(b.Weight) }),
		gauge("smtplb_backend_weight_part_ratio", "The part of its weight that counts now: below 1 in a slow start.", labels,
			func(b *of) float64 { return b.Part }),
		counter("smtplb_backend_picks_total", "Times that the backend was chosen for a session.", labels,
			func(b *of) float64 { return float64(b.Picks) }),
		counter("smtplb_backend_established_total", "Sessions that it greeted well.", labels,
			func(b *of) float64 { return float64(b.Established) }),
		counter("smtplb_backend_failures_total", "Attempts of sessions that failed; checks are not counted.", labels,
			func(b *of) float64 { return float64(b.Failures) }),
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Describe names every metric, so that a clash shows when the server starts.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	describe(ch, c.sessions)
	describe(ch, c.pools)
	describe(ch, c.tiers)
	describe(ch, c.backends)
	c.names.describe(ch)
	c.cluster.describe(ch)
	for _, d := range []*prometheus.Desc{c.build, c.ready, c.refused, c.ends, c.bytes, c.late, c.info, c.state, c.habit} {
		ch <- d
	}
}

func describe[T any](ch chan<- *prometheus.Desc, families []family[T]) {
	for i := range families {
		ch <- families[i].desc
	}
}

// Collect asks for the state once and sends all of it.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	st := c.status()
	ch <- constant(c.build, prometheus.GaugeValue, 1, st.Version, runtime.Version())
	ch <- constant(c.ready, prometheus.GaugeValue, truth(st.Ready))
	ch <- constant(c.refused, prometheus.GaugeValue, truth(st.refused))
	put(ch, c.sessions, &st.Sessions)
	ch <- lateness(c.late, st.Sessions.late)
	for end, n := range st.Sessions.Ends {
		ch <- constant(c.ends, prometheus.CounterValue, float64(n), end)
	}
	ch <- constant(c.bytes, prometheus.CounterValue, float64(st.Sessions.BytesUp), "up")
	ch <- constant(c.bytes, prometheus.CounterValue, float64(st.Sessions.BytesDown), "down")
	c.names.collect(ch, st.Names)
	c.cluster.collect(ch, st.Cluster)
	for i := range st.Pools {
		p := &st.Pools[i]
		put(ch, c.pools, p, p.Name)
		for j := range p.Tiers {
			t := &p.Tiers[j]
			put(ch, c.tiers, t, p.Name, strconv.Itoa(t.Tier))
			for k := range t.Backends {
				c.backend(ch, p.Name, &t.Backends[k])
			}
		}
	}
}

func lateness(desc *prometheus.Desc, of proxy.Lateness) prometheus.Metric {
	within := make(map[float64]uint64, len(of.Within))
	for bound, n := range of.Within {
		within[bound.Seconds()] = uint64(n)
	}
	m, err := prometheus.NewConstHistogram(desc, uint64(of.Times), of.Sum.Seconds(), within)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}

func (c *collector) backend(ch chan<- prometheus.Metric, pool string, b *backendStatus) {
	put(ch, c.backends, b, pool, b.Name)
	ch <- constant(c.info, prometheus.GaugeValue, 1, pool, b.Name, strconv.Itoa(b.Tier), b.Site)
	for state := balancer.Up; state <= balancer.Disabled; state++ {
		ch <- constant(c.state, prometheus.GaugeValue, truth(state.String() == b.State), pool, b.Name, state.String())
	}
	if b.Habit > 0 {
		ch <- constant(c.habit, prometheus.GaugeValue, b.Habit/1e3, pool, b.Name)
	}
}
