package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/internal/egress"
)

// By which way a relay is reached: the address, the interface and the mark that
// a connection leaves with.

// Check returns what is wrong with the target, whatever machine it is.
func (t *Target) Check() error {
	if !t.Address.IsValid() || t.Address.Port() == 0 {
		return fmt.Errorf("%v is not an address with a port", t.Address)
	}
	if t.ProxyProtocol < 0 || t.ProxyProtocol > 2 {
		return fmt.Errorf("PROXY version %d is not 0, 1 or 2", t.ProxyProtocol)
	}
	if !t.Source.IsValid() {
		return nil
	}
	if t.Transparent {
		return fmt.Errorf("source %s and transparent exclude each other", t.Source)
	}
	if family(t.Source) != family(t.Address.Addr()) {
		return fmt.Errorf("source %s is not of the family of %s", t.Source, t.Address.Addr())
	}
	return nil
}

// Try returns what keeps this machine from connecting by the way that the target
// names, so that it need not be a session that finds out. It is an
// os.ErrPermission where a right is missing; an address or an interface that is
// not there may come later. Nothing is sent.
func (t *Target) Try() error {
	client := netip.MustParseAddr("192.0.2.1") // anybody's, RFC 5737
	if family(t.Address.Addr()) == unix.AF_INET6 {
		client = netip.MustParseAddr("2001:db8::1") // RFC 3849
	}
	fd, err := unix.Socket(family(t.Address.Addr()), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	return prepare(fd, t, client)
}

// prepare sets what a socket needs before it connects to target for client.
func prepare(fd int, target *Target, client netip.Addr) error {
	if err := (egress.Way{Interface: target.Interface, Mark: target.Mark}).Prepare(fd); err != nil {
		return err
	}
	if target.Transparent {
		if err := setTransparent(fd, client); err != nil {
			return egress.Unable("transparent", err)
		}
		if err := bindSource(fd, client, 0); err != nil {
			return egress.Unable("transparent: the client's address", err)
		}
		return nil
	}
	if target.Source.IsValid() {
		if err := bindSource(fd, target.Source, target.scope()); err != nil {
			return egress.Unable(fmt.Sprint("source ", target.Source), err)
		}
	}
	return nil
}

// bindSource has a socket connect from addr.
func bindSource(fd int, addr netip.Addr, zone uint32) error {
	egress.LatePort(fd)
	return unix.Bind(fd, sockaddr(netip.AddrPortFrom(addr, 0), zone))
}

// scope is the number of the interface that a link-local Source is of: its own
// zone, or the relay's; 0 where Interface says it, or nobody.
func (t *Target) scope() uint32 {
	if !t.Source.IsLinkLocalUnicast() {
		return 0
	}
	addr := t.Source
	if addr.Zone() == "" {
		addr = t.Address.Addr()
	}
	zone, _ := zoneIndex(addr) // one that is not there is 0, which bind refuses
	return zone
}

// setTransparent lets a socket be bound to an address that is not this
// machine's, and get what is sent there if it is routed here.
func setTransparent(fd int, client netip.Addr) error {
	if family(client) == unix.AF_INET {
		return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
}

// Why a transparent relay is not for a client.
var (
	errFamily   = errors.New("transparent: the client and the relay are not both IPv4 or both IPv6")
	errItself   = errors.New("transparent: the client is the relay itself, which takes nothing from its own address")
	errNoAnswer = errors.New("transparent: the client's address is none that a relay could answer to")
)

// cannotActFor tells why the relay cannot be reached from a client's address.
func (t *Target) cannotActFor(client netip.Addr) error {
	relay := t.Address.Addr().Unmap()
	switch {
	case !client.IsValid(), client.IsUnspecified(), client.IsMulticast(), client.IsLinkLocalUnicast():
		return errNoAnswer // unspecified would be this machine's own, which the relay may trust
	case client.Is4() != relay.Is4():
		return errFamily
	case client == relay && !client.IsLoopback():
		return errItself
	default:
		return nil
	}
}

// complainAgain is how long after a complaint the same one may come again: every
// session meets what it is about.
const complainAgain = 10 * time.Minute

// complaints are those that were made. Its lock is taken by sessions that
// meet one, and by no others.
type complaints struct {
	mu   sync.Mutex
	told map[complaint]int64 // when, since the server's base
}

type complaint struct {
	target *Target
	what   string
}

const maxComplaints = 1000 // targets that were replaced are forgotten so

// complain reports what keeps this machine from reaching a target: once, and
// every ten minutes while that lasts.
func (l *loop) complain(b *balancer.Backend, t *Target, err error) {
	what := complaint{t, err.Error()}
	if !l.server.complaints.news(what, l.ns) {
		return
	}
	if !l.report(fmt.Errorf("backend %s: %w", b.Name(), err)) {
		l.server.complaints.forget(what)
	}
}

// news tells whether one is to be told now, and then takes it as told.
func (c *complaints) news(what complaint, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, told := c.told[what]; told && now-at < int64(complainAgain) {
		return false
	}
	if c.told == nil || len(c.told) >= maxComplaints {
		c.told = map[complaint]int64{}
	}
	c.told[what] = now
	return true
}

func (c *complaints) forget(what complaint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.told, what)
}
