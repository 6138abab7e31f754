package cluster

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a number of balancers before one relay, the network between them, and a clock.
type world struct {
	t        rapid.TB
	now      time.Time
	limit    int
	hold     time.Duration
	nodes    []*machine
	network  []packet
	cut      map[[2]int]bool
	sessions []*session
	inc      uint64
	between  func() bool // a session begins between plan and commit
	most     int         // sessions that one balancer had above its share
}

// machine is a balancer's: its disk outlives its processes.
type machine struct {
	world   *world
	at      int
	name    string
	peers   []string
	process *process // nil: none runs
	journal Lent     // nil: there is no disk
	disk    bool
	elders  []*process // that drain
	stopped bool       // it does nothing, but its clock goes on
}

type process struct {
	book    *book
	grant   Grant
	running int
	claim   int // as an elder
	asked   bool
}

type session struct {
	of  *process
	end time.Time
}

type packet struct {
	from, to int
	text     []byte
}

const key = "outbound/relay-a"

func newWorld(t rapid.TB, balancers, limit int, hold time.Duration, disk func() bool) *world {
	w := &world{
		t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), cut: map[[2]int]bool{}, limit: limit, hold: hold,
		between: func() bool { return false },
	}
	name := func(i int) string { return fmt.Sprintf("192.0.2.%d:7946", i+1) }
	for i := range balancers {
		m := &machine{world: w, at: i, name: name(i), disk: disk()}
		if m.disk {
			m.journal = Lent{} // nothing was ever lent
		}
		for j := range balancers {
			if j != i {
				m.peers = append(m.peers, name(j))
			}
		}
		w.nodes = append(w.nodes, m)
	}
	for _, m := range w.nodes {
		w.start(m, Lent{}, nil) // the first time ever
	}
	return w
}

func (w *world) start(m *machine, lent, held Lent) {
	w.inc++
	m.process = &process{book: newBook(w.now, m.name, m.peers, w.inc, w.hold, lent, held)}
	m.tick()
}

func (m *machine) share() int {
	n := m.world.limit / len(m.world.nodes)
	if m.at < m.world.limit%len(m.world.nodes) {
		n++
	}
	return n
}

// tick is what a node does each time: read, plan, apply, commit, tell.
func (m *machine) tick() {
	w, p := m.world, m.process
	if p == nil || m.stopped {
		return
	}
	elder := 0
	for _, e := range m.elders {
		e.claim = min(e.claim, e.running)
		elder += e.claim
	}
	c := Ceiling{Key: key, Limit: w.limit, Share: m.share(), Keep: kept(m.share()), Here: p.running, Elder: elder, Busy: p.asked}
	p.asked = false
	p.grant = p.book.plan(w.now, []Ceiling{c})[0]
	if w.between() {
		w.session(m, w.hold)
	}
	if err := p.book.commit(w.now, map[string]int{key: p.running}, func(l Lent) error {
		if m.disk {
			m.journal = maps.Clone(l)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	for _, to := range p.book.peers {
		for _, msg := range p.book.messages(w.now, to, nil) {
			w.post(m.at, to.name, msg)
		}
	}
}

func (w *world) post(from int, to string, msg *message) {
	text, err := msg.encode()
	if err != nil {
		w.t.Fatal(err)
	}
	for i, m := range w.nodes {
		if m.name == to {
			w.network = append(w.network, packet{from, i, text})
		}
	}
}

// session begins one if the balancer may, and tells whether it did.
func (w *world) session(m *machine, lasts time.Duration) bool {
	p := m.process
	if p == nil || m.stopped {
		return false
	}
	p.asked = true
	may := p.grant.Sessions
	if !p.grant.Until.IsZero() && !w.now.Before(p.grant.Until) {
		may = p.grant.Then
	}
	if p.running >= may {
		return false
	}
	p.running++
	w.most = max(w.most, p.running-m.share())
	w.sessions = append(w.sessions, &session{p, w.now.Add(lasts)})
	w.check()
	return true
}

func (w *world) check() {
	if n := len(w.sessions); n > w.limit {
		w.t.Fatalf("%d sessions at a relay that takes %d", n, w.limit)
	}
}

// pass has time go by: sessions end.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.drop(func(s *session) bool { return !s.end.After(w.now) })
}

func (w *world) drop(over func(*session) bool) {
	var left []*session
	for _, s := range w.sessions {
		if over(s) {
			s.of.running--
		} else {
			left = append(left, s)
		}
	}
	w.sessions = left
}

// kill ends all processes of a machine, and their sessions.
func (w *world) kill(m *machine) {
	dead := map[*process]bool{m.process: true}
	for _, e := range m.elders {
		dead[e] = true
	}
	w.drop(func(s *session) bool { return dead[s.of] })
	m.process, m.elders = nil, nil
}

func (w *world) deliver(i int, again bool) {
	p := w.network[i]
	if !again {
		w.network = append(w.network[:i], w.network[i+1:]...)
	}
	to := w.nodes[p.to]
	if w.cut[[2]int{p.from, p.to}] || to.process == nil || to.stopped {
		return
	}
	msg, err := decode(p.text)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = to.process.book.receive(w.now, msg) // an earlier process's is refused
}

// round has every balancer tick and every packet arrive.
func (w *world) round() {
	for _, m := range w.nodes {
		m.tick()
	}
	for len(w.network) > 0 {
		w.deliver(0, false)
	}
	w.pass(tickTime)
}

// upgrade replaces a process, which goes on with its sessions.
func (w *world) upgrade(m *machine) {
	old := m.process
	old.claim, old.grant = old.running, Grant{}
	m.elders = append(m.elders, old)
	w.start(m, old.book.lent(), old.book.borrows())
}

// leave ends a process that has no session.
func (w *world) leave(m *machine) {
	for _, to := range m.process.book.peers {
		w.post(m.at, to.name, m.process.book.farewell(w.now, to))
	}
	m.process = nil
}

// Whatever is lost, late, said twice, cut, killed, stopped and started again: the relay never has more sessions than it takes.
func TestTheSumNeverExceedsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(2, 4).Draw(t, "balancers"), rapid.IntRange(1, 30).Draw(t, "limit"),
			time.Duration(rapid.IntRange(1, 60).Draw(t, "hold"))*time.Second, func() bool { return rapid.Bool().Draw(t, "disk") })
		w.between = func() bool { return rapid.Bool().Draw(t, "a session between") }
		node := func() *machine { return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(t, "node")] }
		lasts := func() time.Duration {
			if rapid.Bool().Draw(t, "lasts long") {
				return w.hold
			}
			return time.Duration(rapid.Int64Range(1, int64(w.hold)).Draw(t, "lasts"))
		}
		t.Repeat(map[string]func(*rapid.T){
			"tick":    func(*rapid.T) { node().tick() },
			"round":   func(*rapid.T) { w.round() },
			"rounds":  func(*rapid.T) { w.round(); w.round(); w.round() },
			"session": func(*rapid.T) { w.session(node(), lasts()) },
			"sessions": func(*rapid.T) {
				m := node()
				for range rapid.IntRange(1, 30).Draw(t, "sessions") {
					w.session(m, lasts())
				}
			},
			"end": func(t *rapid.T) {
				if n := len(w.sessions); n > 0 {
					w.sessions[rapid.IntRange(0, n-1).Draw(t, "session")].end = w.now
					w.pass(0)
				}
			},
			"pass":     func(t *rapid.T) { w.pass(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond) },
			"pass far": func(t *rapid.T) { w.pass(time.Duration(rapid.IntRange(1, 100).Draw(t, "s")) * time.Second) },
			"deliver": func(t *rapid.T) {
				if n := len(w.network); n > 0 {
					w.deliver(rapid.IntRange(0, n-1).Draw(t, "packet"), rapid.Bool().Draw(t, "again"))
				}
			},
			"lose": func(*rapid.T) { w.network = nil },
			"cut": func(*rapid.T) {
				way := [2]int{node().at, node().at}
				w.cut[way] = !w.cut[way]
			},
			"heal":          func(*rapid.T) { w.cut = map[[2]int]bool{} },
			"stop or go on": func(*rapid.T) { m := node(); m.stopped = !m.stopped },
			"kill":          func(*rapid.T) { w.kill(node()) },
			"start": func(*rapid.T) {
				if m := node(); m.process == nil {
					w.start(m, m.journal, nil)
				}
			},
			"upgrade": func(*rapid.T) {
				if m := node(); m.process != nil && !m.stopped {
					w.upgrade(m)
				}
			},
			"leave": func(*rapid.T) {
				if m := node(); m.process != nil && !m.stopped && m.process.running == 0 && len(m.elders) == 0 {
					w.leave(m)
				}
			},
			"": func(*rapid.T) { w.check() },
		})
	})
}
