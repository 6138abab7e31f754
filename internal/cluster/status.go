package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Reaches of a peer.
const (
	InReach    = "in reach"
	OutOfReach = "out of reach"
	HasLeft    = "left"
)

// Status is what there is to see of a node.
type Status struct {
	Self     string
	Peers    []PeerStatus
	Ceilings []CeilingStatus
}

// PeerStatus is another balancer.
type PeerStatus struct {
	Name   string
	Reach  string        // InReach, OutOfReach or HasLeft
	Silent time.Duration // for how long it was not heard; negative: it never was
	Others bool          // this balancer or another hears it
}

// CeilingStatus is a limit that is shared.
type CeilingStatus struct {
	Key      string
	Limit    int
	Share    int // this balancer's own
	Quota    int // what it may use
	Lent     int // of its own
	Borrowed int // of the peers'
	Elder    int // kept for sessions of processes that were replaced
}

// shown is a status, and when each peer was heard; zero: it never was.
type shown struct {
	Status
	heard []time.Time
}

// Status returns what there was to see at the last tick. It waits for nothing: a tick may take as long as the disk on which it notes what
// is lent, and who asks may have to answer keepalived.
func (n *Node) Status() Status {
	last := n.shown.Load()
	now := time.Now()
	st := last.Status
	st.Peers, st.Ceilings = slices.Clone(st.Peers), slices.Clone(st.Ceilings)
	for i, at := range last.heard {
		st.Peers[i].Silent = -1
		if !at.IsZero() {
			st.Peers[i].Silent = now.Sub(at)
		}
		if st.Peers[i].Reach == InReach && now.Sub(at) > near {
			st.Peers[i].Reach = OutOfReach // no tick has told so, as one hangs
		}
	}
	return st
}

// show has Status return what there is to see now. The caller holds n.mu, or has the node alone.
func (n *Node) show(now time.Time) {
	st := &shown{Status: Status{Self: n.book.self}}
	var others map[string]bool
	if n.engine != nil {
		others = n.engine.alive()
	}
	peers := slices.SortedFunc(slices.Values(n.book.peers), func(a, b *peer) int { return strings.Compare(a.name, b.name) })
	for _, p := range peers {
		st.Peers = append(st.Peers, PeerStatus{Name: p.name, Reach: p.reach(now), Others: others[p.name]})
		var heard time.Time
		if p.inc != 0 {
			heard = p.heard
		}
		st.heard = append(st.heard, heard)
	}
	for _, key := range slices.Sorted(maps.Keys(n.book.items)) {
		if it := n.book.items[key]; it.seen {
			borrowed, _ := it.borrowed(now)
			st.Ceilings = append(st.Ceilings, CeilingStatus{
				Key: key, Limit: it.Limit, Share: it.Share, Quota: it.room, Lent: min(it.reserved(), it.Share), Borrowed: borrowed, Elder: it.Elder,
			})
		}
	}
	n.shown.Store(st)
}

func (p *peer) reach(now time.Time) string {
	switch {
	case p.near(now):
		return InReach
	case p.left:
		return HasLeft
	default:
		return OutOfReach
	}
}

// patience is how long a node waits before it says that a peer was never heard: they may be started together.
const patience = 5 * time.Second

// review tells what has changed about the peers, and what does not fit together.
func (n *Node) review(now time.Time) {
	old := now.Sub(n.book.start) > patience
	for i, p := range n.book.peers {
		reach := p.reach(now)
		if reach == OutOfReach && p.inc == 0 && !old {
			continue
		}
		if was := n.reach[p.name]; was != reach {
			n.reach[p.name] = reach
			// That it has left is not bad, though its share is nobody's until it is back.
			n.config.Told(Event{Bad: reach == OutOfReach, Peer: p.name, What: reach})
		}
		if reach == InReach {
			n.reviewPeer(now, i, p, old)
		}
	}
	for key, told := range n.book.strangers {
		if !told && old && n.book.items[key] == nil {
			n.book.strangers[key] = true
			n.say(now, Event{Bad: true, What: fmt.Sprintf("%.300s: a peer has a max_sessions for it, and here it is not known: names of pools and "+
				"backends must be the same", key)})
		}
	}
}

// reviewPeer tells what of a peer's configuration does not fit this one.
func (n *Node) reviewPeer(now time.Time, i int, p *peer, old bool) {
	wrong := func(format string, args ...any) {
		n.say(now, Event{Bad: true, Peer: p.name, What: fmt.Sprintf(format, args...)})
	}
	if p.digest != n.book.digest {
		wrong("it has other balancers in its file: cluster.bind and cluster.peers of all must name the same addresses, or the sum of the " +
			"shares is not the limit")
	}
	for key, it := range n.book.items {
		pr := it.pairs[i]
		switch {
		case !it.seen:
		case pr.limit > 0 && pr.limit != it.Limit:
			wrong("%s: max_sessions is %d there and %d here: until they are the same, each goes by its own share", key, pr.limit, it.Limit)
		case pr.limit == 0 && old && now.Sub(pr.told) > patience:
			wrong("%s: it has no max_sessions there, or there is no such name: nothing is lent or borrowed", key)
		}
	}
}
