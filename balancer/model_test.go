package balancer

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the package comment again, written without a thought for speed: the reference for Pool.
type model struct {
	backends []*modelBackend // in the order of the configuration
	leaving  []*modelBackend // taken out, with sessions
	tiers    map[int]*modelTier
	active   int // the tier in use, by priority
	added    int // backends so far: the next one's ID

	rise, fall, failures, minHealthy int
}

type modelTier struct{ vtime float64 }

type modelBackend struct {
	id                    int
	name                  string
	weight, priority, max int
	tier                  *modelTier
	stride                float64 // by the last weight above 0

	state                    State
	badProbes, badLive, good int
	active                   int
	pass                     float64
}

func (b *modelBackend) usable() bool { return b.state == Up && b.weight > 0 }

// at returns the backend of an ID, which is configured.
func (m *model) at(id int) *modelBackend {
	return m.backends[slices.IndexFunc(m.backends, func(b *modelBackend) bool { return b.id == id })]
}

// usable returns IDs, in the order of the configuration.
func (m *model) usable() (all []int) {
	for _, b := range m.backends {
		if b.usable() {
			all = append(all, b.id)
		}
	}
	return all
}

// greeted is good news of a backend, that may have been taken out as well.
func (m *model) greeted(id int) {
	for _, b := range slices.Concat(m.backends, m.leaving) {
		if b.id == id {
			b.badLive = 0
		}
	}
}

// over ends a session on a backend that may have been taken out.
func (m *model) over(id int) {
	for _, b := range slices.Concat(m.backends, m.leaving) {
		if b.id == id {
			b.active--
		}
	}
	m.leaving = slices.DeleteFunc(m.leaving, func(b *modelBackend) bool { return b.active == 0 })
}

// pick returns the backend that the rule names, -1 with the error if there is none.
func (m *model) pick(tried []int) (int, error) {
	usable := m.usable()
	if len(usable) == 0 {
		return -1, ErrDown
	}
	untried := slices.DeleteFunc(usable, func(i int) bool { return slices.Contains(tried, i) })
	if len(untried) == 0 {
		return -1, ErrTried
	}
	room := slices.DeleteFunc(untried, func(i int) bool {
		return m.at(i).max > 0 && m.at(i).active >= m.at(i).max
	})
	if len(room) == 0 {
		return -1, ErrFull
	}
	priority := m.tierFor(room, tried)
	pickable := slices.DeleteFunc(room, func(i int) bool { return m.at(i).priority != priority })
	weight, running := 0, 0
	for _, i := range pickable {
		weight += m.at(i).weight
		running += m.at(i).active
	}
	best, bestTag := -1, 0.0
	for _, i := range pickable {
		b := m.at(i)
		tag := b.pass + 1/float64(b.weight)/2
		if b.active*weight < b.weight*(running+1) && (best < 0 || tag < bestTag) {
			best, bestTag = i, tag
		}
	}
	if best < 0 {
		panic("nobody eligible: the rule is wrong")
	}
	return best, nil
}

func (m *model) charge(i int) {
	b := m.at(i)
	stride := 1 / float64(b.weight)
	start := max(b.pass, b.tier.vtime-16*stride)
	b.pass = start + stride
	b.active++
	b.tier.vtime = max(b.tier.vtime, start)
}

// tierFor returns the priority of the tier that serves, of those that have room: the one in use, the ones below it, then those
// above from the nearest on; but those that the session asked three relays of come last.
func (m *model) tierFor(room, tried []int) int {
	order := slices.SortedFunc(maps.Keys(m.tiers), func(a, b int) int {
		above := func(p int) bool { return p < m.active }
		switch {
		case above(a) && above(b):
			return b - a
		case above(a) != above(b) && above(a):
			return 1
		case above(a) != above(b):
			return -1
		}
		return a - b
	})
	asked := map[int]int{}
	for _, b := range m.backends {
		if slices.Contains(tried, b.id) {
			asked[b.priority]++
		}
	}
	last := -1
	for _, priority := range order {
		if !slices.ContainsFunc(room, func(i int) bool { return m.at(i).priority == priority }) {
			continue
		}
		if asked[priority] < 3 {
			return priority
		}
		if last < 0 {
			last = priority
		}
	}
	return last
}

// settle is what follows a change: ejected ones come back if nobody is left, and the tier in use is the first usable one,
// else the same while it has anybody, else the first with anybody. (Without a failback delay it is the first one at any moment.)
func (m *model) settle() {
	if len(m.usable()) == 0 {
		for _, b := range m.backends {
			if b.weight > 0 && (b.state == Ejected || b.state == Busy) {
				m.up(b.id)
			}
		}
	}
	healthy, size := map[int]int{}, map[int]int{}
	for _, b := range m.backends {
		if b.weight > 0 {
			size[b.priority]++
		}
		if b.usable() {
			healthy[b.priority]++
		}
	}
	priorities := slices.Sorted(maps.Keys(m.tiers))
	for _, p := range priorities {
		if healthy[p] >= max(1, min(m.minHealthy, size[p])) {
			m.active = p
			return
		}
	}
	if healthy[m.active] > 0 {
		return
	}
	for _, p := range priorities {
		if healthy[p] > 0 {
			m.active = p
			return
		}
	}
}

func (m *model) up(i int) {
	b := m.at(i)
	b.state, b.good, b.badLive = Up, 0, 0
	b.pass = max(b.pass, b.tier.vtime)
}

func (m *model) othersUp(i int) bool {
	return len(slices.DeleteFunc(m.usable(), func(u int) bool { return u == i })) > 0
}

func (m *model) fail(i int) {
	if !m.has(i) {
		return
	}
	b := m.at(i)
	if b.state != Up {
		return
	}
	b.badLive++
	if b.badLive >= m.failures && m.othersUp(i) {
		b.state, b.good = Ejected, 0
		m.settle()
	}
}

func (m *model) has(id int) bool {
	return slices.ContainsFunc(m.backends, func(b *modelBackend) bool { return b.id == id })
}

func (m *model) probe(i int, v Verdict) {
	b := m.at(i)
	switch v {
	case VerdictGood:
		b.badProbes = 0
		b.good++
		if b.state == Busy || b.state == Down && b.good >= m.rise {
			m.up(i)
		}
	case VerdictBusy:
		b.badProbes, b.good = 0, 0
		if b.state == Up && m.othersUp(i) {
			b.state = Busy
		}
	default:
		b.good = 0
		b.badProbes++
		if b.badProbes >= m.fall && b.state <= Ejected {
			b.state = Down
		}
	}
	m.settle()
}

// machine drives a Pool and the model with the same events.
type machine struct {
	pool   *Pool
	model  model
	cfg    Config
	leases []*Lease
	heard  map[string]State // by name, as told by OnChange
	most   map[int]int      // sessions that ran on each before it was given a lower limit
}

func newMachine(t *rapid.T, newOrder func(size int) order) *machine {
	m := &machine{}
	cfg := Config{
		Name: "outbound",
		Rise: rapid.IntRange(1, 3).Draw(t, "rise"),
		Fall: rapid.IntRange(1, 3).Draw(t, "fall"),

		Failures:   rapid.IntRange(1, 3).Draw(t, "failures"),
		MinHealthy: rapid.IntRange(0, 3).Draw(t, "min healthy"),
	}
	m.model = model{
		tiers: map[int]*modelTier{}, rise: cfg.Rise, fall: cfg.Fall, failures: cfg.Failures, minHealthy: cfg.MinHealthy,
	}
	m.heard, m.most = map[string]State{}, map[int]int{}
	cfg.OnChange = func(c Change) {
		if c.From != m.heard[c.Backend] || c.To == c.From {
			t.Fatalf("change of %s from %v to %v, it was %v", c.Backend, c.From, c.To, m.heard[c.Backend])
		}
		m.heard[c.Backend] = c.To
	}
	for range rapid.IntRange(1, 12).Draw(t, "backends") {
		cfg.Backends = append(cfg.Backends, m.newBackend(t))
	}
	m.cfg = cfg
	m.model.join(cfg.Backends)
	m.model.settle()
	pool, err := newPool(cfg, newOrder)
	if err != nil {
		t.Fatal(err)
	}
	m.pool = pool
	return m
}

func (m *machine) id(t *rapid.T) int {
	return rapid.SampledFrom(m.model.backends).Draw(t, "backend").id
}

func (m *machine) lease(t *rapid.T) *Lease {
	if len(m.leases) == 0 {
		t.Skip("nobody holds a lease")
	}
	return rapid.SampledFrom(m.leases).Draw(t, "lease")
}

func (m *machine) acquire(t *rapid.T) {
	// Duplicates and indexes that do not exist included.
	tried := rapid.SliceOfN(rapid.IntRange(-1, m.model.added), 0, 4).Draw(t, "tried")
	if rapid.IntRange(0, 2).Draw(t, "first attempt") > 0 {
		tried = nil
	}
	lease, err := m.pool.Acquire(time.Time{}, tried)
	want, wantErr := m.model.pick(tried)
	if !errors.Is(err, wantErr) || lease.Held() != (want >= 0) {
		t.Fatalf("tried %v: error %v, want %v", tried, err, wantErr)
	}
	if err != nil {
		return
	}
	if got := lease.Backend().ID(); got != want || lease.Backend().Name() != m.model.at(want).name {
		t.Fatalf("tried %v: picked %d, want %d", tried, got, want)
	}
	m.model.charge(want)
	m.leases = append(m.leases, &lease)
}

func (m *machine) establish(t *rapid.T) {
	l := m.lease(t)
	if l.Held() && !l.marks.has(greeted) {
		m.model.greeted(l.Backend().ID())
	}
	l.Established(time.Time{}, 0)
}

// Leases that were ended stay in m.leases: ending them again must change nothing.
func (m *machine) fail(t *rapid.T) {
	l := m.lease(t)
	outcome := rapid.SampledFrom([]Outcome{OK, Refused, Greeting5xx}).Draw(t, "outcome")
	if l.Held() {
		m.model.over(l.Backend().ID())
		if outcome != OK {
			m.model.fail(l.Backend().ID())
		}
	}
	l.Fail(time.Time{}, outcome)
}

func (m *machine) release(t *rapid.T) {
	l := m.lease(t)
	if l.Held() {
		m.model.over(l.Backend().ID())
	}
	l.Release(time.Time{})
}

func (m *machine) probe(t *rapid.T) {
	m.report(m.id(t), rapid.SampledFrom([]Verdict{VerdictGood, VerdictFailed, VerdictBusy}).Draw(t, "verdict"))
}

func (m *machine) report(index int, v Verdict) {
	m.model.probe(index, v)
	m.pool.Probe(time.Time{}, index, v, "refused")
}

// quiet is an hour of short sessions, one at a time: the virtual time moves on, while those that are full, down or tried stay
// behind.
func (m *machine) quiet(t *rapid.T) {
	for range rapid.IntRange(1, 60).Draw(t, "sessions") {
		lease, err := m.pool.Acquire(time.Time{}, nil)
		want, wantErr := m.model.pick(nil)
		if !errors.Is(err, wantErr) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if got := lease.Backend().ID(); got != want {
			t.Fatalf("picked %d, want %d", got, want)
		}
		m.model.charge(want)
		m.model.over(want)
		lease.Release(time.Time{})
	}
}

// outage is probes that agree until they are believed.
func (m *machine) outage(t *rapid.T) {
	index, v := m.id(t), verdict(rapid.Bool().Draw(t, "over"))
	for range 3 {
		m.report(index, v)
	}
}

func (m *machine) check(t *rapid.T) {
	for i, s := range m.pool.Snapshot(time.Time{}) {
		b := m.model.backends[i]
		if s.Name != b.name || s.ID != b.id || s.Active != b.active || s.Active < 0 || b.max > 0 && s.Active > max(b.max, m.most[b.id]) {
			t.Fatalf("%s (%d) holds %d sessions, want %s (%d) with %d of %d", s.Name, s.ID, s.Active, b.name, b.id, b.active, b.max)
		}
		if s.State != b.state || s.State != m.heard[s.Name] {
			t.Fatalf("%s is %v, told %v, want %v", s.Name, s.State, m.heard[s.Name], b.state)
		}
	}
	for _, tier := range m.pool.Tiers(time.Time{}) {
		if tier.Active != (tier.Priority == m.model.active) {
			t.Fatalf("tier %d in use: %v, want %d", tier.Priority, tier.Active, m.model.active)
		}
	}
	checkTiers(t, m.pool)
}

func TestEveryChoiceIsTheRules(t *testing.T) {
	for name, newOrder := range orders {
		t.Run(name, func(t *testing.T) { everyChoiceIsTheRules(t, newOrder) })
	}
}

func everyChoiceIsTheRules(t *testing.T, newOrder func(size int) order) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, newOrder)
		actions := map[string]func(*rapid.T){
			"acquire":       m.acquire,
			"acquire again": m.acquire, // twice as likely, so that backends fill up
			"establish":     m.establish,
			"fail":          m.fail,
			"release":       m.release,
			"probe":         m.probe,
			"outage":        m.outage,
			"reconfigure":   m.reconfigure,
			"quiet":         m.quiet,
			"":              m.check,
		}
		for range 10 { // long histories: debts of sessions take a while to build up
			t.Repeat(actions)
		}
		for _, l := range m.leases {
			l.Release(time.Time{})
			l.Release(time.Time{})
		}
		for _, s := range m.pool.Snapshot(time.Time{}) {
			if s.Active != 0 {
				t.Fatalf("%s holds %d sessions after the last one ended", s.Name, s.Active)
			}
		}
		if len(m.pool.leaving) > 0 {
			t.Fatalf("%d backends that were taken out are kept after the last session ended", len(m.pool.leaving))
		}
	})
}
