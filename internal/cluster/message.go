package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// version is that of messages. A balancer does not understand another one's, and is then out of its reach.
const version = 1

// Bounds of what comes from the network.
const (
	messageMost = 64 << 10 // bytes
	keyMost     = 700
	numberMost  = 10_000_000 // sessions
	partMost    = 1000       // bytes of records in one message, so that it fits into a packet
)

// refresh is how often a peer is told what has not changed.
const refresh = time.Second

// message is what one balancer tells another: of its ceilings and its tiers, those that fit.
type message struct {
	Version int      `json:"v"`
	From    string   `json:"from"`
	Inc     uint64   `json:"inc"`           // of the sender's process
	Number  uint64   `json:"n"`             // of the message: each has a higher one
	Stamp   int64    `json:"t"`             // the sender's clock
	To      uint64   `json:"to,omitempty"`  // the receiver's process, as it was last heard
	Echo    int64    `json:"e,omitempty"`   // its clock then
	Digest  uint64   `json:"d"`             // of the names of all balancers
	Leave   bool     `json:"bye,omitempty"` // the sender ends, and has no sessions
	Records []record `json:"r,omitempty"`
	Tiers   []tier   `json:"w,omitempty"`
}

// record is about one ceiling.
type record struct {
	Key   string `json:"k"`
	Limit int    `json:"l"`
	Seq   uint64 `json:"s,omitempty"` // of the offer; 0: nothing is said of it
	Offer int    `json:"o,omitempty"` // so many of the sender's slots the receiver may use
	Seen  uint64 `json:"a,omitempty"` // the receiver's offer that the sender goes by
	Held  int    `json:"h,omitempty"` // so many of the receiver's slots the sender uses or may use
	Ask   int    `json:"q,omitempty"` // so many it would like to have
	Free  int    `json:"f,omitempty"` // so many more it could lend to somebody
}

// tier is what the sender has given to a tier of a pool.
type tier struct {
	Pool     string        `json:"p"`
	Tier     int           `json:"i"`
	Sessions uint64        `json:"n"`
	Last     time.Duration `json:"l,omitempty"` // how long ago the last one was; 0: there was none
	Ramp     time.Duration `json:"r,omitempty"` // how long ago the tier began to take its sessions up slowly; 0: it does not
}

// encode writes a message.
func (m *message) encode() ([]byte, error) { return json.Marshal(m) }

// decode reads a message, and refuses what cannot be meant.
func decode(text []byte) (*message, error) {
	if len(text) > messageMost {
		return nil, fmt.Errorf("a message of %d bytes: want %d at most", len(text), messageMost)
	}
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("a message that is none: %w", err)
	}
	if m.Version != version {
		return nil, fmt.Errorf("a message of version %d: this program knows %d", m.Version, version)
	}
	if m.From == "" || m.Inc == 0 || m.Number == 0 || m.Stamp <= 0 {
		return nil, errors.New("a message without its sender, process, number or clock")
	}
	for i := range m.Records {
		if err := m.Records[i].check(); err != nil {
			return nil, err
		}
	}
	for i := range m.Tiers {
		if t := &m.Tiers[i]; len(t.Pool) > keyMost || t.Last < 0 || t.Ramp < 0 {
			return nil, fmt.Errorf("a message about tier %d of %.100q with times in the future", t.Tier, t.Pool)
		}
	}
	return &m, nil
}

func (r *record) check() error {
	if len(r.Key) > keyMost {
		return fmt.Errorf("a message about %.100q...: want %d bytes at most", r.Key, keyMost)
	}
	for _, n := range []int{r.Limit, r.Offer, r.Held, r.Ask, r.Free} {
		if n < 0 || n > numberMost {
			return fmt.Errorf("a message about %.100q with %d sessions: want 0 to %d", r.Key, n, numberMost)
		}
	}
	return nil
}

// messages are what is to be told to a peer now. Call it after commit, with nothing received between.
func (b *book) messages(now time.Time, p *peer, tiers []tier) []*message {
	var all []*message
	begin := func() *message {
		b.number++
		m := &message{
			Version: version, From: b.self, Inc: b.inc, Number: b.number, Stamp: b.stamp(now), To: p.inc, Echo: p.stamp, Digest: b.digest,
		}
		all = append(all, m)
		return m
	}
	m, size := begin(), 0
	room := func(bytes int) {
		if size += bytes; size > partMost {
			m, size = begin(), bytes
		}
	}
	at := b.at(p)
	for _, key := range slices.Sorted(maps.Keys(b.items)) {
		it := b.items[key]
		pr := it.pairs[at]
		r := it.record(now, pr)
		if r == pr.sent && now.Sub(pr.sentAt) < refresh {
			continue
		}
		// What is not known to have arrived is said again.
		if pr.sentAt = now; pr.acked {
			pr.sent = r
		} else {
			pr.sent = record{}
		}
		room(len(key) + 90)
		m.Records = append(m.Records, r)
	}
	for i := range tiers {
		room(len(tiers[i].Pool) + 80)
		m.Tiers = append(m.Tiers, tiers[i])
	}
	return all
}

// record is what a peer is to know of a ceiling.
func (it *item) record(now time.Time, p *pair) record {
	r := record{Key: it.Key, Seen: p.from, Held: p.held, Ask: p.wish, Free: max(min(it.lendable(), it.Share-it.use())-it.reserved(), 0)}
	if it.seen {
		r.Limit = it.Limit
	}
	if now.Sub(p.told) <= near { // what is lent for a lease begins with its being asked for
		r.Seq, r.Offer = p.seq, p.offer
	}
	return r
}

// farewell tells a peer that this balancer has ended.
func (b *book) farewell(now time.Time, p *peer) *message {
	b.number++
	return &message{
		Version: version, From: b.self, Inc: b.inc, Number: b.number, Stamp: b.stamp(now), To: p.inc, Digest: b.digest, Leave: true,
	}
}
