package cluster

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/memberlist"
)

// engine carries messages between the balancers: memberlist, which seals each with the key, refuses what is not sealed, and finds
// out by probes, over others too, who is alive.
type engine struct {
	list   *memberlist.Memberlist
	peers  []netip.AddrPort
	hangUp func()       // ends all connections to peers, and those that are being made
	dials  atomic.Int64 // of them
}

// label marks what is ours on the wire, so that two products with one key do not mix.
const label = "smtplb"

// newEngine binds the address, TCP and UDP. receive is called by several goroutines and must not block; complain is told what is wrong
// with what comes in, while the engine holds locks of its own.
func newEngine(c *Config, receive func([]byte), complain func(string)) (*engine, error) {
	known := map[string]bool{c.Bind.String(): true}
	for _, p := range c.Peers {
		known[p.String()] = true
	}
	m := memberlist.DefaultLANConfig()
	m.Name = c.Bind.String()
	m.BindAddr, m.BindPort = c.Bind.Addr().String(), int(c.Bind.Port())
	m.AdvertiseAddr, m.AdvertisePort = m.BindAddr, m.BindPort
	m.SecretKey, m.Label = c.Key, label
	m.GossipVerifyIncoming, m.GossipVerifyOutgoing = true, true
	m.EnableCompression = false // of a few hundred bytes nothing is gained
	m.Delegate = &delegate{receive}
	m.Alive = aliveFunc(func(n *memberlist.Node) error {
		if !known[n.Name] || n.Address() != n.Name {
			return fmt.Errorf("%.100q at %s is not among peers", n.Name, n.Address())
		}
		return nil
	})
	m.Logger = log.New(&complaints{complain}, "", 0)
	network, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{m.BindAddr}, BindPort: m.BindPort, Logger: m.Logger})
	if err != nil {
		return nil, bindError(c.Bind, err)
	}
	open, hangUp := context.WithCancel(context.Background())
	e := &engine{peers: c.Peers, hangUp: hangUp}
	m.Transport = newTransport(open, network, len(c.Peers), &e.dials)
	if e.list, err = memberlist.Create(m); err != nil {
		hangUp()
		return nil, errors.Join(bindError(c.Bind, err), m.Transport.Shutdown())
	}
	return e, nil
}

// bindError says why the address cannot be had.
func bindError(bind netip.AddrPort, err error) error {
	// memberlist gives the text of the cause, not the cause.
	for _, known := range []struct {
		errno syscall.Errno
		help  string
	}{
		{syscall.EADDRINUSE, "another program has it, TCP or UDP: end it, or give another port here and in the peers' files"},
		{syscall.EADDRNOTAVAIL, "this machine does not have it: want this machine's own address for its peers"},
		{syscall.EACCES, "want a port of 1024 or more"},
	} {
		if strings.Contains(err.Error(), known.errno.Error()) {
			return fmt.Errorf("cluster.bind: %s: %w: %s", bind, known.errno, known.help)
		}
	}
	return fmt.Errorf("cluster.bind: %s: %w", bind, err)
}

// send sends a packet to a peer, whether it is thought to be alive or not: so one that is back is heard at once.
func (e *engine) send(to string, text []byte) error {
	err := e.list.SendToAddress(memberlist.Address{Addr: to, Name: to}, text)
	var no net.Error
	if errors.As(err, &no) || errors.Is(err, net.ErrClosed) {
		return nil // out of reach: seen by what is not heard
	}
	return err
}

// join greets those that are not known to be alive. It waits for them.
func (e *engine) join() {
	alive := e.alive()
	for _, p := range e.peers {
		if name := p.String(); !alive[name] {
			_, _ = e.list.Join([]string{name + "/" + name}) // seen by what is not heard
		}
	}
}

// alive are those that the engine thinks to be alive: seen by any balancer, not by this one alone.
func (e *engine) alive() map[string]bool {
	alive := map[string]bool{}
	for _, n := range e.list.Members() {
		alive[n.Name] = true
	}
	return alive
}

func (e *engine) close() error {
	e.hangUp()
	return e.list.Shutdown()
}

// delegate has memberlist carry packets and nothing else.
type delegate struct{ receive func([]byte) }

func (d *delegate) NodeMeta(int) []byte             { return nil }
func (d *delegate) NotifyMsg(text []byte)           { d.receive(text) }
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d *delegate) LocalState(bool) []byte          { return nil }
func (d *delegate) MergeRemoteState([]byte, bool)   {}

type aliveFunc func(*memberlist.Node) error

func (f aliveFunc) NotifyAlive(n *memberlist.Node) error { return f(n) }

// complaints picks from memberlist's log what a person must know: who speaks to us and is not understood.
type complaints struct{ tell func(string) }

// Write takes one line.
func (c *complaints) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	switch {
	case strings.Contains(text, "no installed keys could decrypt"):
		c.tell(sender(text) + " has another key than cluster.key_file here")
	case strings.Contains(text, "ecrypt"), strings.Contains(text, "unacceptable label"), strings.Contains(text, "label header"):
		c.tell(sender(text) + " sends what is not sealed with a key: it is refused")
	case strings.Contains(text, "is not among peers"):
		_, what, _ := strings.Cut(text, "': ")
		c.tell(what + " here: add it to cluster.peers of every balancer, or take it away")
	}
	return len(line), nil
}

// sender is who a line is about, without the port, which is another one each time.
func sender(text string) string {
	_, from, _ := strings.Cut(text, "from=")
	at, err := netip.ParseAddrPort(from)
	if err != nil {
		return "an unknown address"
	}
	return at.Addr().Unmap().String()
}
