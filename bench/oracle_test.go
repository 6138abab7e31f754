package bench

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// exchange is a conversation in which both sides talk at once. Whoever is not
// last ends its way as soon as it has said all; the other one waits for that.
type exchange struct {
	name       string
	up, down   int // bytes that the client says, and the relay after its greeting
	clientLast bool
}

// witnessed is what arrived, the ends included: both sides read to the end.
type witnessed struct{ atRelay, atClient [sha256.Size]byte }

// TestBytesArriveAsThroughTheSimplestProxy has io.Copy say what is right.
func TestBytesArriveAsThroughTheSimplestProxy(t *testing.T) {
	exchanges := []exchange{
		{"nothing but the greeting", 0, 0, false},
		{"one byte each", 1, 1, false},
		{"less than a buffer up", 5000, 0, false},
		{"a buffer to the byte", 64 << 10, 64 << 10, true},
		{"up only", 3 << 20, 0, false},
		{"down only", 0, 3 << 20, true},
		{"both at once, client first", 3<<20 + 1, 2<<20 + 7, false},
		{"both at once, relay first", 2<<20 + 7, 3<<20 + 1, true},
	}
	for _, e := range exchanges {
		t.Run(e.name, func(t *testing.T) {
			want := e.through(t, openBaseline)
			if got := e.through(t, openServer); got != want {
				t.Errorf("arrived at relay %x and client %x, through io.Copy %x and %x",
					got.atRelay[:4], got.atClient[:4], want.atRelay[:4], want.atClient[:4])
			}
			direct := e.through(t, func(_ testing.TB, relay netip.AddrPort) netip.AddrPort { return relay })
			if direct != want {
				t.Error("the oracle errs: io.Copy does not pass on what was sent")
			}
		})
	}
}

const oracleGreeting = "220-relay.example\r\n220 ESMTP\r\n"

func (e exchange) through(t *testing.T, open func(testing.TB, netip.AddrPort) netip.AddrPort) (w witnessed) {
	t.Helper()
	ln, err := listenLoopback()
	if err != nil {
		t.Fatal(err)
	}
	relay := make(chan error, 1)
	go func() {
		conn, err := ln.AcceptTCP()
		if err == nil {
			w.atRelay, err = converse(conn, append([]byte(oracleGreeting), said(2, e.down)...), !e.clientLast)
		}
		relay <- err
	}()
	t.Cleanup(func() { _ = ln.Close() })
	conn, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(open(t, netip.MustParseAddrPort(ln.Addr().String()))))
	if err != nil {
		t.Fatal(err)
	}
	if w.atClient, err = converse(conn, said(1, e.up), e.clientLast); err != nil {
		t.Errorf("client: %v", err)
	}
	if err := <-relay; err != nil {
		t.Errorf("relay: %v", err)
	}
	return w
}

// said is the same for the same arguments.
func said(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

// converse says words while it listens, and returns the sum of all it heard.
// The last one to end waits for the other's end before its own.
func converse(conn *net.TCPConn, words []byte, last bool) (sum [sha256.Size]byte, err error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(peerPatience)); err != nil {
		return sum, err
	}
	heard := make(chan error, 1)
	hash := sha256.New()
	go func() {
		_, err := io.Copy(hash, conn)
		heard <- err
	}()
	_, writeErr := io.Copy(conn, bytes.NewReader(words))
	if last {
		err = <-heard
	}
	endErr := conn.CloseWrite()
	if !last {
		err = <-heard
	}
	hash.Sum(sum[:0])
	if err := errors.Join(writeErr, err, endErr); err != nil {
		return sum, fmt.Errorf("with %d bytes to say: %w", len(words), err)
	}
	return sum, nil
}
