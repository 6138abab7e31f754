package proxy

import (
	"net/netip"
	"time"

	"smtplb/balancer"
	"smtplb/internal/epoll"
)

// state is where a session stands. A session belongs to the loop that accepted
// it; nobody else touches it.
//
//	header    -> connect   the PROXY header is whole, the client may come in
//	header    -> linger    no header, or a client that may not
//	connect   -> connect   this relay failed, the next is asked
//	connect   -> greet     connected (protocol SMTP)
//	connect   -> relaying  connected (protocol TCP)
//	greet     -> connect   this relay greeted badly or not at all
//	greet     -> relaying  a whole 220 greeting; it is on its way to the client
//	connect, greet -> connect, greet   the first relay failed, the second goes on in its place
//	connect, greet -> relaying         the second relay's greeting was whole first
//	connect, greet -> linger           nobody is left: the client reads 421
//	relaying  -> linger    over, but the client has not closed yet
//	any       -> free      over
//
// In header, connect and greet the client has seen no byte and its own bytes
// are still in its socket: a relay can be exchanged for another without loss.
// In connect and greet a lease is held and backend is open; which of the two
// states it is says how far the first relay is. Only there may second be set: a
// relay that is asked beside the first, with a lease and a connection of its
// own, see hedge.go. In linger the leases are given back, the relays'
// connections are closed and the record is out; only the client's socket is
// left, so that closing it does not reset what it has yet to read.
//
// leave is no session: an entry of the table whose client is the connection to
// a relay that lost a hedge, until that relay has closed it too.
type state uint8

const (
	stateFree state = iota
	stateHeader
	stateConnect
	stateGreet
	stateRelaying
	stateLinger
	stateLeave
)

// session is one client's connection and, in time, its relay's.
type session struct {
	index      int32 // in the loop's table
	generation int32 // of this use of the table's entry
	client     int   // descriptor; -1 when closed

	contender            // the relay that is asked, at last the one that carries the session
	second    *contender // asked beside it; nil but while the session hedges

	state        state
	clientOut    bool // the client's socket is watched for room to write
	counted      bool // holds a place in its listener's limits
	reached      bool // the client was answered: setup is set
	keepalive    bool // set on the relay's socket
	queued       bool // in the loop's list of sessions with more to do
	relayBroke   bool // the relay's connection broke
	backendFirst bool // the relay closed before the client did
	lastUp       bool // the last bytes went from the client to the relay
	bye          bool // the relay's last bytes were its reply to QUIT
	warm         bool // the session keeps the standby warm
	inQueue      bool // in the loop's queue of sessions that would hedge
	alone        bool // there is no second relay to ask beside the present one

	outside       outside // the row that it is in, with its neighbours there
	before, after place

	id       uint64
	listener *listener
	pool     *Pool
	served   *balancer.Backend // the relay that carries the session, once it greeted
	addr     netip.AddrPort    // the client, or what its PROXY header says
	dest     netip.AddrPort    // what the PROXY header says it connected to; else zero

	// Moments, in nanoseconds since the server's base.
	accepted int64
	greeting int64 // how long the greeting took, once it is there
	setup    int64 // from accept until the client was answered
	lastMove int64 // of the last bytes

	code  int       // of the greeting
	tried []attempt // relays that were asked and did not serve
	why   string    // a client was refused

	up, down direction
}

// contender is a relay that a session asks, from the pick on.
type contender struct {
	backend int // descriptor; -1 while there is none
	lease   balancer.Lease

	// Moments, in nanoseconds since the server's base.
	asked     int64 // picked
	connected int64 // its connection came about; 0 before

	held []byte // the beginning of a greeting that is not whole yet
	seen uint16 // of held: lines that are judged

	side    uint8  // of its connection's epoll token
	in      source // what events told of its socket before the session relays
	blocked bool   // the socket has no room, at first because it is not connected
	noDelay bool   // TCP_NODELAY is set on the socket
}

// attempt is an Attempt before names are looked up.
type attempt struct {
	backend *balancer.Backend
	outcome balancer.Outcome
	took    int64
	reply   string
}

// The sides of a session, the lowest two bits of an epoll token's index. Two
// relays that are asked at once have one each, which they keep: an event that
// was fetched before one of them was dropped is never taken for the other's.
const (
	sideClient  = 0
	sideBackend = 1
	sideOther   = 2

	sideBits = 2
	sideMask = 1<<sideBits - 1
)

func (s *session) token(side uint8) epoll.Token {
	return epoll.Token{Index: s.index<<sideBits | int32(side), Generation: s.generation}
}

// otherSide is the one that the session's relay does not have.
func (s *session) otherSide() uint8 { return sideBackend + sideOther - s.side }

// timeouts are its pool's, defaults filled in.
func (s *session) timeouts() Timeouts { return s.pool.Timeouts.withDefaults() }

// settingUp tells that the client has seen nothing yet.
func (s *session) settingUp() bool {
	return s.state == stateHeader || s.asking()
}

// asking tells that relays are asked.
func (s *session) asking() bool { return s.state == stateConnect || s.state == stateGreet }

// waitsForRelay tells that the client may be waiting for a reply: its bytes
// were the last to move, or some of them have not reached the relay. Whoever
// cuts a session now may have a mail delivered twice (RFC 1047). No reply comes
// from a relay that has closed, or to which the connection is broken.
func (s *session) waitsForRelay() bool {
	relayLeft := s.down.eof || s.up.shut && !s.up.eof
	return !relayLeft && (s.lastUp || s.up.holds())
}

// clientsTurn tells that everything the client sent is answered, as far as the
// direction of the last bytes tells, and that it has been given every answer.
func (s *session) clientsTurn() bool {
	unread := s.up.ready && !s.up.eof
	return !s.waitsForRelay() && !unread && !s.down.holds() && unsent(s.client) == 0
}

// sessionTable hands out sessions by index. They stay where they are, in chunks,
// and are used again: an index with its generation names one session for good.
type sessionTable struct {
	chunks []*[chunkSize]session
	free   []int32
	used   int
}

const chunkSize = 256

func (t *sessionTable) at(index int32) *session {
	chunk := int(index) / chunkSize
	if index < 0 || chunk >= len(t.chunks) {
		return nil
	}
	return &t.chunks[chunk][index%chunkSize]
}

func (t *sessionTable) get() *session {
	if len(t.free) == 0 {
		base := int32(len(t.chunks) * chunkSize)
		t.chunks = append(t.chunks, new([chunkSize]session))
		for i := int32(chunkSize - 1); i >= 0; i-- {
			t.free = append(t.free, base+i)
		}
	}
	index := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.used++
	s := t.at(index)
	s.clear(index, s.generation+1)
	return s
}

func (t *sessionTable) put(s *session) {
	// Clearing drops the references at once; the generation survives, so that
	// an event which was already fetched finds a state that wants none.
	s.clear(s.index, s.generation)
	t.free = append(t.free, s.index)
	t.used--
}

func (s *session) clear(index, generation int32) {
	*s = session{index: index, generation: generation, client: -1, contender: contender{backend: -1, side: sideBackend}}
}

// each calls f for every entry in use; f may free it.
func (t *sessionTable) each(f func(*session)) {
	for _, chunk := range t.chunks {
		for i := range chunk {
			if s := &chunk[i]; s.state != stateFree {
				f(s)
			}
		}
	}
}

// Limits that no one needs to set.
const (
	headerTimeout  = 5 * time.Second  // for a PROXY header; HAProxy's and Postfix's receivers wait as long
	lingerTimeout  = 5 * time.Second  // for the client to read our last word and close
	hedgePause     = 2 * granularity  // until a session looks again whether it may hedge
	closedTimeout  = time.Minute      // for a client to close after its relay did
	waitAtMost     = 10 * time.Minute // that a client waits for a reply, RFC 5321, section 4.5.3.2.6
	keepaliveAfter = 30 * time.Second // so that short sessions do without the calls
	defaultQuiet   = 5 * time.Second
	acceptPause    = 200 * time.Millisecond
	acceptShare    = 32 // events in a turn for which one connection more is accepted
)
