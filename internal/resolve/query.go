package resolve

import (
	"net/netip"
	"strconv"
	"time"
)

// Kind is how relays are found under a name.
type Kind uint8

// The kinds.
const (
	Address Kind = iota // the name's own A and AAAA records
	MX                  // the hosts of its MX records, RFC 5321 section 5.1
	SRV                 // the hosts and ports of its SRV records, RFC 2782
)

// Query is a name, and how relays are found under it.
type Query struct {
	Kind Kind
	Name string // with a final dot it is absolute: no search domain is tried
	Port uint16 // of the relays; unused with SRV, whose records say it
}

// smtpPort is the one that MX records are about.
const smtpPort = 25

// String names the query as the configuration does.
func (q Query) String() string {
	port := ":" + strconv.Itoa(int(q.Port))
	switch {
	case q.Kind == SRV:
		return "srv:" + q.Name
	case q.Kind == MX && q.Port == smtpPort:
		return "mx:" + q.Name
	case q.Kind == MX:
		return "mx:" + q.Name + port
	default:
		return q.Name + port
	}
}

// Record is a relay that was found.
type Record struct {
	Host     string // whose address it is: in lower case, without the final dot
	Address  netip.AddrPort
	Priority int // of MX and SRV: the smaller is to be used first
	Weight   int // against the others of its priority, 1 to 1000
}

// The bounds of what is taken from DNS.
const (
	// MaxRecords is how many relays a name may stand for: a mistake in a zone
	// must not become ten thousand health checks.
	MaxRecords = 200

	// MinTTL and MaxTTL bound how long an answer is used before it is asked for
	// again: a TTL of 0 must not become a query a moment, nor one of a week hide a
	// change for a week.
	MinTTL = 5 * time.Second
	MaxTTL = time.Hour

	// MaxRetry bounds the time from one failure to the next try, whatever the
	// zone says about negative answers: whoever has mended it is waiting.
	MaxRetry   = time.Minute
	firstRetry = time.Second
)
