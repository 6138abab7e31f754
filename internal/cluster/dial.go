package cluster

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's, with connections that end with a context: those to a peer that does not answer would take ten seconds each, and an
// upgrade, in which nobody is accepted, waits for them.
type transport struct {
	*memberlist.NetTransport
	open  context.Context
	dials *atomic.Int64 // so many were begun
}

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
