package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"
)

// Times of the agreement.
const (
	lease = 10 * time.Second // for how long a slot is lent, from when who borrows it last asked
	slack = 2 * time.Second  // clocks of two machines run apart by less in a lease and a hold
	near  = 2 * time.Second  // a peer that was not heard for so long is out of reach
)

// Ceiling is a limit that holds for all balancers together, as one of them sees it at a moment.
type Ceiling struct {
	Key   string // the same at all balancers
	Limit int    // as configured here, 1 at least
	Share int    // of it, what is this balancer's own
	Keep  int    // of the share, what is lent to nobody: it may be used even where it is not known what the process before has lent
	Here  int    // sessions that run here
	Elder int    // sessions that a process may have that this one has replaced
	Busy  bool   // there are new sessions
}

func (c *Ceiling) use() int { return c.Here + c.Elder }

// Grant is what this process may use of a ceiling.
type Grant struct {
	Key      string
	Sessions int
	Until    time.Time // when Then holds instead; zero: never
	Then     int
}

// Lent is what of each ceiling was lent to whom: by key, and by peer.
type Lent map[string]map[string]int

// book is what one balancer knows of all ceilings and of its peers, and the arithmetic of it. It does no I/O and reads no clock.
//
// What holds, in every partition: the slots of a ceiling are the sum of the balancers' own shares. A slot is in one place at a
// time: with whose it is, or reserved there for a peer. A peer may use it only while it has it from a message that answers one
// which the peer sent less than a lease ago; and it is taken back only when the peer has said that it does without, has
// begun anew, has left, or was not heard for so long that its lease has ended and after that the longest session.
type book struct {
	self   string
	inc    uint64        // of this process: later ones of the same balancer have a higher one
	hold   time.Duration // how long a session lasts at most
	start  time.Time
	digest uint64 // of the names of all balancers
	knows  bool   // what the process before has lent is known
	peers  []*peer
	items  map[string]*item
	before Lent // what the process before has lent and nobody has asked for here yet
	held   Lent // what it had borrowed, likewise
	number uint64

	strangers map[string]bool // what only peers have, and whether that was told
}

// peer is another balancer.
type peer struct {
	name   string
	inc    uint64 // of its process; 0: never heard
	number uint64 // of its latest message
	stamp  int64  // of that
	heard  time.Time
	left   bool
	digest uint64
}

func (p *peer) near(now time.Time) bool {
	return p.inc != 0 && !p.left && now.Sub(p.heard) <= near
}

// item is a ceiling.
type item struct {
	Ceiling
	seen  bool // it is configured here
	room  int  // what was granted last
	pairs []*pair
}

// newBook makes a book for a balancer and its peers. lent is nil where nobody knows what the process before has lent.
func newBook(now time.Time, self string, peers []string, inc uint64, hold time.Duration, lent, held Lent) *book {
	b := &book{
		self: self, inc: inc, hold: hold, start: now, knows: lent != nil, items: map[string]*item{},
		before: lent, held: held, strangers: map[string]bool{},
	}
	all := slices.Sorted(slices.Values(append([]string{self}, peers...)))
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(strings.Join(all, " ")))
	b.digest = sum.Sum64()
	// From the next one on, so that not all borrow from the first.
	at := slices.Index(all, self)
	for _, name := range append(slices.Clone(all[at+1:]), all[:at]...) {
		b.peers = append(b.peers, &peer{name: name})
	}
	return b
}

// lapse is after how long a peer that is not heard has no slot of ours any more.
func (b *book) lapse() time.Duration { return near + lease + slack + b.hold }

// item returns the ceiling of a key.
func (b *book) item(now time.Time, key string) *item {
	it := b.items[key]
	if it != nil {
		return it
	}
	it = &item{}
	for _, p := range b.peers {
		it.pairs = append(it.pairs, &pair{
			peer: p, raise: -1, acked: true, told: b.start, reserved: b.before[key][p.name], held: b.held[key][p.name],
			unknown: !b.knows && now.Sub(b.start) < b.lapse(),
		})
	}
	b.items[key] = it
	return it
}

// reserved is what of the share is not this balancer's to use.
func (it *item) reserved() int {
	sum, unknown := 0, false
	for _, p := range it.pairs {
		sum += p.reserved
		unknown = unknown || p.unknown
	}
	if unknown {
		sum = max(sum, it.Share-it.Keep)
	}
	return sum
}

// borrowed is what the peers lend now, and until when all of it does.
func (it *item) borrowed(now time.Time) (sum int, until time.Time) {
	for _, p := range it.pairs {
		if n := p.usable(now); n > 0 {
			sum += n
			if until.IsZero() || p.until.Before(until) {
				until = p.until
			}
		}
	}
	return sum, until
}

// headroom is what a balancer wants above what it uses: sessions come faster than balancers agree.
func headroom(use int) int { return max(4, use/2) }

// want is what the balancer would like to have.
func (it *item) want() int {
	if !it.seen {
		return 0
	}
	use := it.use()
	if it.Busy {
		use += headroom(use)
	}
	return min(use, it.Limit)
}

// lendable is what of the share others may have.
func (it *item) lendable() int {
	if it.seen {
		return it.Share - min(max(it.want(), it.Keep), it.Share)
	}
	return 0
}

// plan decides, and returns what this process may use from now on. Offers of more are not made before commit.
func (b *book) plan(now time.Time, ceilings []Ceiling) []Grant {
	for _, it := range b.items {
		it.seen, it.Here, it.Elder, it.Busy = false, 0, 0, false
	}
	for _, c := range ceilings {
		it := b.item(now, c.Key)
		it.Ceiling, it.seen = c, true
	}
	var grants []Grant
	for _, key := range slices.Sorted(maps.Keys(b.items)) {
		it := b.items[key]
		for _, p := range it.pairs {
			b.expire(now, p)
		}
		it.divide(now)
		it.spread(now)
		if !it.seen {
			continue
		}
		own := it.Share - it.reserved() - it.Elder
		more, until := it.borrowed(now)
		it.room = max(own+more, 0)
		grants = append(grants, Grant{key, it.room, until, max(own, 0)})
	}
	return grants
}

// expire takes back what a peer has that was not heard for too long.
func (b *book) expire(now time.Time, p *pair) {
	if now.Sub(p.told) > b.lapse() {
		p.unknown, p.reserved = false, 0
		p.lower(0)
	}
}

// divide decides what each peer is to be offered: the least that some ask for first, so that who asks for much does not take it from
// who asks for little.
func (it *item) divide(now time.Time) {
	var askers []*pair
	left := it.lendable()
	for _, p := range it.pairs {
		p.raise = -1
		switch {
		case p.unknown:
			left = 0 // it may have more than we know
		case p.near(now) && now.Sub(p.told) <= near:
			askers = append(askers, p)
		default:
			left -= p.reserved
		}
	}
	slices.SortStableFunc(askers, func(a, b *pair) int { return cmp.Compare(a.ask, b.ask) })
	spare := it.Share - it.reserved() - it.use()
	for i, p := range askers {
		target := min(p.ask, max(left, 0)/(len(askers)-i))
		left -= target
		if !p.acked || target == p.offer {
			continue
		}
		if target < p.offer {
			p.lower(target)
			continue
		}
		if target = min(target, p.reserved+max(spare, 0)); target > p.offer {
			p.was, p.raise = p.reserved, target
			spare -= max(target-p.reserved, 0)
			p.reserved = max(p.reserved, target)
		}
	}
}

// spread decides what to ask each peer for: to leave what it lends, then for what it could.
func (it *item) spread(now time.Time) {
	left := max(it.want()-it.Share, 0)
	for _, p := range it.pairs {
		p.wish = min(left, p.usable(now))
		left -= p.wish
	}
	for _, p := range it.pairs {
		if p.near(now) {
			more := min(left, p.free)
			p.wish += more
			left -= more
		}
	}
}

// commit takes in how many sessions of each ceiling run here, counted after the grants of plan were applied, and makes the offers of
// more, if write can note them where a later process finds them.
func (b *book) commit(now time.Time, here map[string]int, write func(Lent) error) error {
	var raised []*pair
	for key, it := range b.items {
		if it.seen {
			it.Here = here[key]
		}
		over := it.account(now)
		for _, p := range it.pairs {
			switch {
			case p.raise < 0:
			case over > 0: // sessions were faster
				p.reserved, p.raise = p.was, -1
			default:
				raised = append(raised, p)
			}
		}
	}
	if len(raised) == 0 {
		return nil
	}
	if err := write(b.lent()); err != nil {
		for _, p := range raised {
			p.reserved, p.raise = p.was, -1
		}
		return err
	}
	for _, p := range raised {
		p.seq, p.offer, p.acked, p.raise = p.seq+1, p.raise, false, -1
	}
	return nil
}

// account says what is held of each peer's: what it lends, and of what it lent before so much as sessions run on. It returns how many
// sessions run beyond all that.
func (it *item) account(now time.Time) (over int) {
	over = it.use() - (it.Share - it.reserved())
	for _, p := range it.pairs {
		over -= p.usable(now)
	}
	for _, p := range it.pairs {
		floor := p.usable(now)
		more := min(max(over, 0), max(p.held-floor, 0))
		p.held = floor + more
		over -= more
	}
	return over
}

// lent is what is reserved for peers.
func (b *book) lent() Lent {
	return b.sums(b.before, func(p *pair) int { return p.reserved })
}

// unknown tells whether more than lent may be reserved for peers, as the process before may have lent it.
func (b *book) unknown() bool {
	for _, it := range b.items {
		if slices.ContainsFunc(it.pairs, func(p *pair) bool { return p.unknown }) {
			return true
		}
	}
	return false
}

// borrows is what this balancer has of its peers.
func (b *book) borrows() Lent {
	return b.sums(b.held, func(p *pair) int { return p.held })
}

func (b *book) sums(before Lent, of func(*pair) int) Lent {
	all := Lent{}
	for key, byPeer := range before {
		if b.items[key] == nil {
			all[key] = byPeer
		}
	}
	for key, it := range b.items {
		for _, p := range it.pairs {
			if n := of(p); n > 0 {
				if all[key] == nil {
					all[key] = map[string]int{}
				}
				all[key][p.name] = n
			}
		}
	}
	return all
}

// Why a message is not taken in.
var (
	errStranger = errors.New("it is not among peers")
	errEarlier  = errors.New("it is of a process before the one that was heard last: was the clock set back?")
)

// receive takes in a message.
func (b *book) receive(now time.Time, m *message) error {
	at := slices.IndexFunc(b.peers, func(p *peer) bool { return p.name == m.From })
	if at < 0 {
		return fmt.Errorf("%.100q: %w", m.From, errStranger)
	}
	p := b.peers[at]
	switch {
	case m.Inc < p.inc && now.Sub(p.heard) <= b.lapse():
		return fmt.Errorf("%.100q: %w", m.From, errEarlier)
	case m.Inc != p.inc:
		b.begins(p, m.Inc)
	}
	if m.Number > p.number {
		p.number, p.stamp, p.heard, p.digest, p.left = m.Number, m.Stamp, now, m.Digest, m.Leave
	}
	if m.Leave {
		if p.left {
			b.leaves(p)
		}
		return nil
	}
	if p.left {
		return nil // it was on its way when the peer left, and tells of what is over
	}
	forUs := m.To == b.inc
	var until time.Time // of what it lends
	if forUs && m.Echo > 0 && m.Echo <= b.stamp(now) {
		until = b.start.Add(time.Duration(m.Echo)).Add(lease)
	}
	for i := range m.Records {
		r := &m.Records[i]
		it := b.items[r.Key]
		if it == nil {
			b.strange(r.Key)
			continue
		}
		if pr := it.pairs[at]; m.Number > pr.number {
			pr.number, pr.limit = m.Number, r.Limit
			if forUs {
				pr.take(now, r, until)
			}
		}
	}
	return nil
}

// begins notes that another process of a peer is heard. The one before is gone, or what it has is the new one's; what it was
// offered is nobody's any more.
func (b *book) begins(p *peer, inc uint64) {
	p.inc, p.number, p.stamp, p.left = inc, 0, 0, false
	for _, it := range b.items {
		pr := it.pairs[b.at(p)]
		pr.number, pr.limit, pr.ask, pr.free = 0, 0, 0, 0
		pr.seq, pr.offer, pr.acked = pr.seq+1, 0, false
		pr.from, pr.have, pr.until = 0, 0, time.Time{}
	}
}

// leaves notes that a peer has ended in order: it has no session any more.
func (b *book) leaves(p *peer) {
	for _, it := range b.items {
		pr := it.pairs[b.at(p)]
		pr.unknown, pr.reserved, pr.ask, pr.free = false, 0, 0, 0
		pr.seq, pr.offer, pr.acked = pr.seq+1, 0, false
	}
}

func (b *book) at(p *peer) int { return slices.Index(b.peers, p) }

// strange notes a ceiling that only peers have, a bounded number of them.
func (b *book) strange(key string) {
	const most = 100
	if _, known := b.strangers[key]; !known && len(b.strangers) < most {
		b.strangers[key] = false
	}
}

// stamp is now in messages.
func (b *book) stamp(now time.Time) int64 { return int64(now.Sub(b.start)) + 1 }
