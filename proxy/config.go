package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"smtplb/balancer"
)

// Listener is one address that clients connect to. The zero value of a field
// is its default.
type Listener struct {
	Name string // in records; default the address

	// Address to listen on. It need not be up on this machine yet (IP_FREEBIND).
	// The IPv6 wildcard takes IPv4 clients too, unless an IPv4 wildcard listener
	// has the same port. Port 0 takes a free one: see Server.Addresses.
	Address netip.AddrPort

	Pool   *Pool   // required; where clients go that no route names
	Routes []Route // the first whose From holds the client wins

	// Allow holds the clients that may connect; nobody may while it is empty.
	// Deny takes some of them out again. Of all prefixes that hold a client the
	// longest decides: 10.1.2.3/32 of Allow is let in out of 10.1.0.0/16 of Deny.
	// One that both name is denied. Both look at the client's address: the
	// peer's, or for a peer in AcceptProxy the one that its PROXY header names.
	// IPv4 clients of an IPv6 listener are IPv4; zones are not looked at.
	Allow, Deny []netip.Prefix

	Protocol    Protocol
	DeniedReply DeniedReply

	// AcceptProxy holds the peers that must send a PROXY header, version 1 or
	// 2, before anything else. A header from anybody else is the client's own
	// bytes and means nothing.
	AcceptProxy []netip.Prefix

	Hostname             string // in our own replies; default "smtplb"
	MaxSessions          int    // at once; 0: 10,000
	MaxSessionsPerClient int    // at once from one address; 0: no limit
	MaxRatePerClient     Rate   // from one IPv4 address or one IPv6 /64 network; kept over a Reload
}

// Route sends the clients in From to Pool.
type Route struct {
	From []netip.Prefix
	Pool *Pool
}

// Pool is a balancer.Pool with what it takes to reach its backends. Listeners
// may share one.
type Pool struct {
	Balancer *balancer.Pool
	Timeouts Timeouts

	// Targets has one for each backend of the Config that the balancer was made
	// of, in its order. A backend whose Data is a *Target, which must not change
	// any more, is reached by that one instead: so a backend and its target are
	// replaced at one moment (balancer.Pool.Reconfigure), and Targets may be nil.
	Targets []Target
}

// Target is where and how a backend is reached.
type Target struct {
	Address netip.AddrPort

	// ProxyProtocol is the version of the PROXY header that the backend gets
	// before anything else: 1, 2, or 0 for none.
	ProxyProtocol int

	// Source is the local address to connect from, Interface the network
	// interface (SO_BINDTODEVICE) and Mark the firewall mark (SO_MARK), so that
	// a relay behind the second ISP is reached through it. Zero: as the kernel
	// chooses. Interface and Mark need CAP_NET_RAW or CAP_NET_ADMIN, socket(7).
	Source    netip.Addr
	Interface string
	Mark      uint32

	// Transparent connects from the client's own address, or the one that its
	// PROXY header names, so that the relay sees that; it excludes Source and
	// needs CAP_NET_RAW or CAP_NET_ADMIN, ip(7). What the relay answers has to
	// come back to this machine, which is a matter of routes: without them no
	// connection comes about. A client of the other family, IPv4 or IPv6, than
	// the relay's goes to another one.
	Transparent bool
}

// Timeouts of a pool's sessions; zero is the default.
type Timeouts struct {
	Connect      time.Duration // of one attempt, until the connection is there; 5 s
	Greeting     time.Duration // of one attempt, from the connection to the end of the greeting; 15 s
	SessionSetup time.Duration // from accept until the client is answered, over all attempts; 60 s

	// Idle ends a session on which no byte moved for so long, unless the client
	// waits for a reply: RFC 5321, section 4.5.3.2.6, lets it wait ten minutes
	// after the final dot, and a cut then means that the mail is sent twice. 15 min.
	Idle time.Duration

	// Drain is how long after Shutdown a session may go on; 15 min.
	Drain time.Duration
}

// Protocol tells who speaks first.
type Protocol uint8

// The protocols of a listener.
const (
	SMTP Protocol = iota // the relay greets, and its greeting is held until it is complete and good
	TCP                  // nobody is waited for: bytes move as soon as the relay is connected (SMTP over TLS, port 465)
)

// DeniedReply is what a client reads that is not allowed.
type DeniedReply uint8

// The replies to a client that is not allowed.
const (
	Denied421  DeniedReply = iota // 421 4.7.1: a forgotten server keeps its mail and tries again
	Denied554                     // 554 5.7.1: a forgotten server bounces its mail
	DeniedDrop                    // closed without a byte
)

const (
	defaultConnect      = 5 * time.Second
	defaultGreeting     = 15 * time.Second
	defaultSessionSetup = 60 * time.Second
	defaultIdle         = 15 * time.Minute
	defaultDrain        = 15 * time.Minute
	defaultMaxSessions  = 10000
	defaultHostname     = "smtplb"
)

func (t Timeouts) withDefaults() Timeouts {
	t.Connect = durationOr(t.Connect, defaultConnect)
	t.Greeting = durationOr(t.Greeting, defaultGreeting)
	t.SessionSetup = durationOr(t.SessionSetup, defaultSessionSetup)
	t.Idle = durationOr(t.Idle, defaultIdle)
	t.Drain = durationOr(t.Drain, defaultDrain)
	return t
}

func durationOr(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (l *Listener) hostname() string {
	if l.Hostname != "" {
		return l.Hostname
	}
	return defaultHostname
}

func (l *Listener) maxSessions() int64 {
	if l.MaxSessions > 0 {
		return int64(l.MaxSessions)
	}
	return defaultMaxSessions
}

// check returns every mistake in the listener, joined.
func (l *Listener) check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("listener %s: "+format, append([]any{l.name()}, args...)...))
	}
	if !l.Address.IsValid() {
		wrong("no address")
	}
	if err := l.Pool.check(); err != nil {
		wrong("pool: %w", err)
	}
	for i, r := range l.Routes {
		if err := r.Pool.check(); err != nil {
			wrong("route %d: pool: %w", i, err)
		}
	}
	if l.Protocol > TCP {
		wrong("protocol %d is neither SMTP nor TCP", l.Protocol)
	}
	if r := l.MaxRatePerClient; r.PerMinute < 0 || r.PerMinute > maxRate || r.Burst < 0 || r.Burst > maxRate {
		wrong("rate of %d a minute, %d at once: each must be 0 to %d", r.PerMinute, r.Burst, maxRate)
	}
	if l.DeniedReply > DeniedDrop {
		wrong("denied reply %d is not known", l.DeniedReply)
	}
	return errors.Join(errs...)
}

func (l *Listener) name() string {
	if l.Name != "" {
		return l.Name
	}
	return l.Address.String()
}

func (p *Pool) check() error {
	if p == nil || p.Balancer == nil {
		return errors.New("missing")
	}
	backends := p.Balancer.Backends()
	for i, b := range backends {
		t := p.target(b)
		if t == nil {
			return fmt.Errorf("%s has %d targets for %d backends", p.Balancer.Name(), len(p.Targets), len(backends))
		}
		if err := t.Check(); err != nil {
			return fmt.Errorf("%s: target %d: %w", p.Balancer.Name(), i, err)
		}
	}
	return nil
}

// target is how a backend is reached; nil if nobody said so.
func (p *Pool) target(b *balancer.Backend) *Target {
	if t, ok := b.Data().(*Target); ok {
		return t
	}
	if id := b.ID(); id < len(p.Targets) {
		return &p.Targets[id]
	}
	return nil
}
