package sink

import (
	"sync"
	"sync/atomic"
	"time"

	"smtplb/bench/mail"
)

// shared is what all relays of a sink have in common.
type shared struct {
	plan      atomic.Pointer[plan]
	receipts  mail.Receipts
	now       func() time.Time
	offersTLS bool
	transfers sync.Pool // of *transfer
}

func newShared(now func() time.Time, offersTLS bool) *shared {
	s := &shared{now: now, offersTLS: offersTLS}
	s.transfers.New = func() any { return new(transfer) }
	return s
}

// relay is one relay while the sink runs. Safe for concurrent use, but for what
// its loop alone knows.
type relay struct {
	*shared
	Relay
	index  int // in the plan
	counts counts

	// What it says, ready made:
	greeting, ehlo, ehloTLS, helo []byte
	host, taken                   string
}

func newRelay(s *shared, r Relay, index int) *relay {
	host := r.Name + ".smtpbench.invalid"
	// SIZE 0: no fixed limit, RFC 1870, 4.
	const extensions = "\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE 0\r\n"
	return &relay{
		shared: s, Relay: r, index: index,
		host: host, taken: "250 2.0.0 taken by " + r.Name,
		greeting: []byte("220 " + host + " ESMTP smtpbench\r\n"),
		ehlo:     []byte("250-" + host + extensions + "250 CHUNKING\r\n"),
		ehloTLS:  []byte("250-" + host + extensions + "250-CHUNKING\r\n250 STARTTLS\r\n"),
		helo:     []byte("250 " + host + "\r\n"),
	}
}

// draw returns the fault that strikes at a point now, or nil.
func (r *relay) draw(p Point) *armed {
	return r.plan.Load().draw(r.index, p, r.now)
}

// keep adds a message to what the sink has.
func (r *relay) keep(a mail.Arrival) {
	r.receipts.Add(a)
	r.counts.arrived(a)
}

// newTransfer takes a transfer for a message that begins, and giveBack returns
// it, so that idle sessions hold none.
func (r *relay) newTransfer() *transfer {
	t := r.transfers.Get().(*transfer) //nolint:errcheck // the pool holds nothing else
	t.checker.Reset()
	t.state = lineStart
	return t
}

func (r *relay) giveBack(t *transfer) { r.transfers.Put(t) }
