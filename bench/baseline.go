package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Baseline is the proxy that one writes in an afternoon: two goroutines and
// io.Copy for each session, everything to one relay. It is what a data path of
// one's own has to beat, and an oracle: bytes and half-closes that go through a
// proxy.Server must arrive as they do through this.
//
// It holds no greeting, asks no second relay and has no timeout but that of the
// connect; a reset comes out on the other side as an orderly end.
type Baseline struct {
	Target netip.AddrPort // the relay
}

const baselineConnect = 5 * time.Second

// Serve proxies the connections of ln until ln is closed, then waits for the
// last session to end and returns nil. Any other error of accept ends it too
// and is returned.
func (b Baseline) Serve(ln *net.TCPListener) error {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for {
		client, err := ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("bench: accept on %s: %w", ln.Addr(), err)
		}
		sessions.Go(func() { b.session(client) })
	}
}

func (b Baseline) session(client *net.TCPConn) {
	defer func() { _ = client.Close() }() // nothing follows from its failing
	dialer := net.Dialer{Timeout: baselineConnect}
	relay, err := dialer.DialTCP(context.Background(), "tcp", netip.AddrPort{}, b.Target)
	if err != nil {
		return // the client sees its connection closed: a baseline has nothing to say
	}
	defer func() { _ = relay.Close() }()
	var up sync.WaitGroup
	up.Go(func() { pass(relay, client) })
	pass(client, relay)
	up.Wait()
}

// pass moves bytes until from ends, and passes the end on. The TCPConns are
// bare so that io.Copy can splice. Where a connection breaks both are closed,
// which ends the other way too.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = from.Close()
		_ = to.Close()
		return
	}
	_ = to.CloseWrite() // fails where the peer has gone, which the other way notices
}
