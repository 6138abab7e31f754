package cluster

import "time"

// pair is what two balancers have to do with each other about a ceiling.
type pair struct {
	*peer
	number uint64    // of the peer's latest message about it
	told   time.Time // when that was, of those to this process
	limit  int       // the peer's, 0: not known

	// As the one whose slots they are.
	unknown  bool   // what the process before has lent to it
	reserved int    // for the peer: nobody else may use them
	seq      uint64 // of the offer
	offer    int    // reserved is never less
	acked    bool   // the peer knows the offer
	raise    int    // an offer that is not made yet; -1: none
	was      int    // reserved before it
	ask      int    // what the peer would like to have, in all

	// As the one who uses the peer's.
	from  uint64    // the seq of the offer
	have  int       // the offer
	until time.Time // when it ends
	held  int       // slots that the peer must think are used
	free  int       // what it could lend besides
	wish  int       // what we would like to have of it, in all

	sent   record // what it was told last
	sentAt time.Time
}

// usable is what the peer lends now.
func (p *pair) usable(now time.Time) int {
	if now.Before(p.until) {
		return p.have
	}
	return 0
}

// lower makes an offer of less. What is reserved stays so until the peer has seen it.
func (p *pair) lower(to int) {
	if p.offer > to {
		p.seq, p.offer, p.acked = p.seq+1, to, false
	}
}

// take takes in what a peer says to this process. It is not called between plan and commit.
func (p *pair) take(now time.Time, r *record, until time.Time) {
	p.told, p.unknown, p.ask, p.free = now, false, r.Ask, r.Free
	p.reserved = max(p.reserved, r.Held)
	if r.Seen == p.seq {
		// It goes by this offer, and has begun to when it counted what it holds.
		p.acked, p.reserved = true, max(r.Held, p.offer)
	}
	if r.Seq >= p.from && r.Seq > 0 && !until.IsZero() {
		p.from, p.have = r.Seq, r.Offer
		if until.After(p.until) {
			p.until = until
		}
	}
}
