package cluster

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's, with connections that end with a context: those to a peer that does not answer would take ten seconds each, and an
// upgrade, in which nobody is accepted, waits for them.
type transport struct {
	*memberlist.NetTransport
	open    context.Context
	dials   *atomic.Int64 // so many were begun
	streams chan net.Conn
	over    chan struct{} // closed when nothing comes in any more
	once    sync.Once     // closes it
}

// newTransport takes over a transport until open ends, and keeps what others hold by connecting bounded: a connection has ten
// seconds to say something, and whoever reaches the port may begin any number of them.
func newTransport(open context.Context, network *memberlist.NetTransport, peers int, dials *atomic.Int64) *transport {
	t := &transport{NetTransport: network, open: open, dials: dials, streams: make(chan net.Conn), over: make(chan struct{})}
	go t.admit(mostStreams(peers))
	return t
}

// mostStreams are the connections that may come in at one time. A peer has one or two, now and then.
func mostStreams(peers int) int64 { return int64(16 + 4*peers) }

// admit hands on what comes in, as far as there is room for it. It takes everything until the listener is closed, which waits for
// what it has accepted to be taken.
func (t *transport) admit(most int64) {
	var there atomic.Int64
	for {
		select {
		case <-t.over:
			return
		case c := <-t.NetTransport.StreamCh():
			if there.Load() >= most || t.open.Err() != nil {
				_ = c.Close()
				continue
			}
			there.Add(1)
			leave := sync.OnceFunc(func() { there.Add(-1) })
			select {
			case t.streams <- &conn{c, func() bool { leave(); return true }}:
			case <-t.open.Done():
				_ = c.Close()
			}
		}
	}
}

// Shutdown ends what comes in.
func (t *transport) Shutdown() error {
	err := t.NetTransport.Shutdown()
	t.once.Do(func() { close(t.over) })
	return err
}

// StreamCh is what memberlist takes connections from.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	t.dials.Add(1)
	dialer := net.Dialer{Timeout: timeout}
	c, err := dialer.DialContext(t.open, "tcp", to.Addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(t.open, func() { _ = c.Close() })
	return &conn{c, stop}, nil
}

type conn struct {
	net.Conn
	stop func() bool
}

func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}
