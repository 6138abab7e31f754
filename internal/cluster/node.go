package cluster

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// tickTime is how often the balancers tell each other what is new.
const tickTime = 200 * time.Millisecond

// joinTime is how often those that are not there are greeted.
const joinTime = 2 * time.Second

// Config is what a Node needs. Read and Apply are called by the node's goroutine; Told by any, several at a time, and it must not call
// the node.
type Config struct {
	Bind  netip.AddrPort   // this balancer's address for its peers, and its name
	Peers []netip.AddrPort // the others', one at least
	Key   []byte           // 16, 24 or 32 bytes, the same everywhere
	Hold  time.Duration    // how long a session lasts at most, as far as anybody waits for it

	// Journal is the file in which to note what is lent, "" for none: then a process that begins uses a part of its share until the
	// peers have said what they hold.
	Journal string

	// Before is what the process that this one replaces has handed over (Node.HandOver); nil: none.
	Before *Handed

	// Read returns the ceilings and the tiers as they are now.
	Read func(now time.Time) ([]Ceiling, []TierUse)

	// Apply has the grants hold from now on, and takes in what peers did. It returns for each key the sessions that run here, counted
	// after that.
	Apply func(now time.Time, grants []Grant, news []TierNews) map[string]int

	// Told is told of what people should know.
	Told func(Event)
}

// Event is something that people should know.
type Event struct {
	Bad  bool
	Peer string // "" where it is about all
	What string // InReach, OutOfReach, HasLeft, or a sentence
}

// Handed is what one process of a balancer hands over to the next.
type Handed struct {
	Inc  uint64 `json:"process"`
	Lent Lent   `json:"lent"`
	Held Lent   `json:"held"`

	Unknown bool `json:"unknown,omitempty"` // more may be lent
}

// Node is one balancer among others. New makes one, Open has it begin.
type Node struct {
	config  Config
	journal journal

	mu       sync.Mutex // guards what is below; held for a tick
	book     *book
	exchange exchange
	reach    map[string]string // of each peer, as was told
	engine   *engine
	handed   bool // another process may have gone on from here

	shown atomic.Pointer[shown]

	saying sync.Mutex // guards said; taken last, and by the engine while it holds locks of its own
	said   map[string]time.Time

	stop chan struct{}
	done sync.WaitGroup
}

// New makes a node, which does nothing yet. The error tells that what was noted cannot be read, or is another balancer's, and was not
// handed over either; the node is as one without a journal then.
func New(c Config) (*Node, error) {
	n := &Node{
		config: c, journal: journal{file: c.Journal, self: c.Bind.String()},
		exchange: exchange{map[tierKey]map[string]*tierHeard{}}, reach: map[string]string{}, said: map[string]time.Time{},
	}
	before, err := n.journal.read()
	handed := Handed{Inc: before.Inc, Lent: before.Lent, Unknown: before.Unknown}
	if c.Before != nil {
		handed = *c.Before
		handed.Inc = max(before.Inc, handed.Inc)
		if handed.Lent == nil {
			handed.Lent = Lent{}
		}
	}
	n.begin(handed)
	if c.Before != nil {
		err = nil // what was handed over says all
	}
	return n, err
}

// begin makes the book of a process after another.
func (n *Node) begin(before Handed) {
	now := time.Now()
	var peers []string
	for _, p := range n.config.Peers {
		peers = append(peers, p.String())
	}
	inc := max(uint64(now.UnixNano()), before.Inc+1) //nolint:gosec // after 1970
	n.book = newBook(now, n.config.Bind.String(), peers, inc, n.config.Hold, before.Lent, before.Held)
	n.book.knows = n.book.knows && !before.Unknown
	n.show(now)
}

// takeBack is what is known after a process that it was handed over to, and that has ended. What that one has lent is in the journal;
// without one nobody knows.
func (n *Node) takeBack() Handed {
	before := Handed{Inc: n.book.inc, Held: n.book.borrows()}
	noted, err := n.journal.read()
	if err != nil || noted.Lent == nil {
		return before
	}
	n.journal.written = noted // it is not what this process has written
	before.Inc, before.Lent, before.Unknown = max(before.Inc, noted.Inc), n.book.lent(), noted.Unknown || n.book.unknown()
	for key, byPeer := range noted.Lent {
		if before.Lent[key] == nil {
			before.Lent[key] = map[string]int{}
		}
		for name, sessions := range byPeer {
			before.Lent[key][name] = max(before.Lent[key][name], sessions)
		}
	}
	return before
}

// Rank returns the number of balancers, and which of them bind is, from 0: the same at all of them.
func Rank(bind netip.AddrPort, peers []netip.AddrPort) (balancers, rank int) {
	for _, p := range peers {
		if p.String() < bind.String() {
			rank++
		}
	}
	return len(peers) + 1, rank
}

// Open has hold what holds, binds the address and begins to talk, unless it is open. After Close, and after an error, it may be called
// again, and goes on where it was; after HandOver, as a process after the one that it was handed over to.
func (n *Node) Open() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.engine != nil {
		return nil
	}
	if n.handed {
		n.begin(n.takeBack())
	}
	n.tickLocked(time.Now()) // whoever can be reached
	e, err := newEngine(&n.config, n.receive, n.complain)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	n.engine, n.stop, n.handed = e, stop, false
	n.done.Go(func() { n.run(stop) })
	n.done.Go(func() { greet(e, stop) })
	return nil
}

// Close ends the talk, and gives the address back. With leave, which is for a balancer that has no session any more, the peers are
// told so.
func (n *Node) Close(leave bool) error {
	n.mu.Lock()
	e := n.engine
	if e == nil {
		n.mu.Unlock()
		return nil
	}
	n.engine = nil
	close(n.stop)
	if leave {
		now := time.Now()
		for range 3 { // one may be lost
			for _, p := range n.book.peers {
				n.send(e, p, n.book.farewell(now, p))
			}
		}
	}
	n.show(time.Now())
	n.mu.Unlock()
	err := e.close()
	n.done.Wait()
	return err
}

// HandOver returns what the next process of this balancer is to know. Call it after Close, when no session begins here any more.
func (n *Node) HandOver() Handed {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handed = true
	return Handed{n.book.inc, n.book.lent(), n.book.borrows(), n.book.unknown()}
}

// Refresh has hold what holds, at once: for who has changed something that Read returns. It does nothing before Open and after Close.
func (n *Node) Refresh() { n.tick(time.Now()) }

func (n *Node) run(stop <-chan struct{}) {
	t := time.NewTicker(tickTime)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			n.tick(time.Now())
		}
	}
}

// greet has the engine look for those that it does not know.
func greet(e *engine, stop <-chan struct{}) {
	t := time.NewTicker(joinTime)
	defer t.Stop()
	for {
		e.join()
		select {
		case <-stop:
			return
		case <-t.C:
		}
	}
}

func (n *Node) tick(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.engine != nil {
		n.tickLocked(now)
	}
}

// tickLocked is what is done each time: decide, apply, tell.
func (n *Node) tickLocked(now time.Time) {
	defer n.show(now)
	ceilings, uses := n.config.Read(now)
	grants := n.book.plan(now, ceilings)
	here := n.config.Apply(now, grants, n.exchange.news(func(name string) bool { return n.book.near(now, name) }))
	note := func(lent Lent) error {
		return n.journal.note(now, noted{Inc: n.book.inc, Lent: lent, Unknown: n.book.unknown()})
	}
	err := n.book.commit(now, here, note)
	if err == nil {
		err = note(n.book.lent())
	}
	if err != nil {
		n.say(now, Event{Bad: true, What: "nothing more is lent, as it cannot be noted: " + err.Error()})
	}
	if n.engine == nil {
		return
	}
	tiers := told(now, uses)
	for _, p := range n.book.peers {
		for _, m := range n.book.messages(now, p, tiers) {
			n.send(n.engine, p, m)
		}
	}
	n.review(now)
}

func (b *book) near(now time.Time, name string) bool {
	for _, p := range b.peers {
		if p.name == name {
			return p.near(now)
		}
	}
	return false
}

func (n *Node) send(e *engine, to *peer, m *message) {
	text, err := m.encode()
	if err == nil {
		err = e.send(to.name, text)
	}
	if err != nil {
		n.say(time.Now(), Event{Bad: true, Peer: to.name, What: "nothing can be sent to it: " + err.Error()})
	}
}

// receive takes in a packet. The engine calls it, and goes on when it returns.
func (n *Node) receive(text []byte) {
	m, err := decode(text)
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		err = n.book.receive(now, m)
	}
	if err != nil {
		n.say(now, Event{Bad: true, What: "a message is not taken in: " + err.Error()})
		return
	}
	n.exchange.receive(now, m)
}

// complain passes on what is wrong with what the engine hears.
func (n *Node) complain(what string) { n.say(time.Now(), Event{Bad: true, What: what}) }

// Bounds of what is said.
const (
	sayAgain = 10 * time.Minute
	sayMost  = 100
)

// say tells of something once in a while.
func (n *Node) say(now time.Time, e Event) {
	n.saying.Lock()
	defer n.saying.Unlock()
	key := fmt.Sprint(e.Peer, " ", e.What)
	for k, at := range n.said {
		if now.Sub(at) >= sayAgain {
			delete(n.said, k)
		}
	}
	if _, said := n.said[key]; said || len(n.said) >= sayMost {
		return
	}
	n.said[key] = now
	n.config.Told(e)
}
