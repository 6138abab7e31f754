package admin

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtplb/balancer"
	"smtplb/proxy"
)

// Observe takes in a session at its end. It is cheap enough for an event loop: a
// look-up for each relay that was asked and an atomic addition, no lock and no
// allocation, but for the first session of a backend after it came to be. It
// keeps nothing of the record and may be called before Listen.
func (s *Server) Observe(r *proxy.Record) {
	for i := range r.Attempts {
		a := &r.Attempts[i]
		of := s.observations.of(backendKey{r.Pool, a.Backend})
		if a.Outcome > lastOutcome {
			continue
		}
		of.attempts[a.Outcome].Inc()
		// One attempt at most is ok: the one whose greeting the client saw.
		if a.Outcome == balancer.OK && r.GreetingCode != 0 {
			of.greeting.Observe(r.Greeting.Seconds())
		}
	}
}

const lastOutcome = balancer.NotSMTP

type backendKey struct{ pool, backend string }

// series are the counters of one backend.
type series struct {
	attempts [lastOutcome + 1]prometheus.Counter
	greeting prometheus.Observer
}

// observations are what only a single session knows, summed up by backend. The
// zero value is ready.
type observations struct {
	// Who is there; each table is immutable, so that loops look things up
	// without a lock. nil: nobody yet.
	table atomic.Pointer[map[backendKey]*series]

	mu       sync.Mutex // for another table, and for what follows
	attempts *prometheus.CounterVec
	greeting *prometheus.HistogramVec
}

// of returns the counters of a backend.
func (o *observations) of(key backendKey) *series {
	if table := o.table.Load(); table != nil {
		if s := (*table)[key]; s != nil {
			return s
		}
	}
	return o.add(key)
}

// add makes the counters of a backend that is new.
func (o *observations) add(key backendKey) *series {
	o.mu.Lock()
	defer o.mu.Unlock()
	table := o.copyTable()
	if s := table[key]; s != nil {
		return s // another loop was faster
	}
	s := o.newSeries(key)
	table[key] = s
	o.table.Store(&table)
	return s
}

// keep makes the known backends those that are counted: new ones begin with 0,
// so that rate() sees their first event, and those gone are forgotten.
func (o *observations) keep(known []backendKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old, table := o.copyTable(), make(map[backendKey]*series, len(known))
	for _, key := range known {
		if table[key] = old[key]; table[key] == nil {
			table[key] = o.newSeries(key)
		}
	}
	for key := range old {
		if table[key] == nil {
			gone := prometheus.Labels{"pool": label(key.pool), "backend": label(key.backend)}
			o.attempts.DeletePartialMatch(gone)
			o.greeting.Delete(gone)
		}
	}
	o.table.Store(&table)
}

func (o *observations) copyTable() map[backendKey]*series {
	table := map[backendKey]*series{}
	if old := o.table.Load(); old != nil {
		for key, s := range *old {
			table[key] = s
		}
	}
	return table
}

// newSeries is called with mu held.
func (o *observations) newSeries(key backendKey) *series {
	o.vectors()
	pool, backend := label(key.pool), label(key.backend)
	s := &series{greeting: o.greeting.WithLabelValues(pool, backend)}
	for outcome := range s.attempts {
		s.attempts[outcome] = o.attempts.WithLabelValues(pool, backend, balancer.Outcome(outcome).String())
	}
	return s
}

// vectors makes the two metrics, with mu held.
func (o *observations) vectors() {
	if o.attempts != nil {
		return
	}
	o.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "smtplb_backend_attempts_total",
		Help: "Attempts to get a session from a backend, by outcome; counted when the session ends.",
	}, []string{"pool", "backend", "outcome"})
	o.greeting = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "smtplb_backend_greeting_seconds",
		Help: "From the connection to a relay until its greeting of 220 was whole; counted when the session ends.",
		// The fine buckets are kept to 160 by merging, and begin anew each hour at
		// the most if that is not enough. Relays that tarpit take tens of seconds.
		Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{"pool", "backend"})
}

// observed hands the metrics out, of the backends that known names.
type observed struct {
	*observations
	known func() []backendKey
}

func (o *observations) collector(known func() []backendKey) observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.vectors()
	return observed{o, known}
}

// Describe names the metrics.
func (o observed) Describe(ch chan<- *prometheus.Desc) {
	o.attempts.Describe(ch)
	o.greeting.Describe(ch)
}

// Collect sends the metrics of the backends that there are.
func (o observed) Collect(ch chan<- prometheus.Metric) {
	o.keep(o.known())
	o.attempts.Collect(ch)
	o.greeting.Collect(ch)
}

// known are the backends of all pools.
func (s *Server) known() []backendKey {
	now := s.time()
	var keys []backendKey
	for _, p := range s.pools() {
		for _, name := range backendNames(now, &p) {
			keys = append(keys, backendKey{p.Balancer.Name(), name})
		}
	}
	return keys
}
