package chaos

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"smtplb/internal/smtptest"
)

// What clients do that are no mail servers. Nobody looks at what they are answered:
// it is the others who must not notice.

const nuisancePatience = 10 * time.Second

// visitor connects from an address of the clients.
func visitor(network, from string) (*net.TCPConn, error) {
	return smtptest.Inside(network, func() (*net.TCPConn, error) {
		d := net.Dialer{Timeout: nuisancePatience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		conn, err := d.Dial("tcp", balancerAddress)
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	})
}

// sendGarbage makes such visits until ctx ends, and returns when all are over.
func sendGarbage(ctx context.Context, network string, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		how, pause := random.IntN(len(nuisances())), time.Duration(20+random.IntN(80))*time.Millisecond
		var noise [4096]byte
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		running.Go(func() {
			conn, err := visitor(network, choose(how == 0, outsiderAddress, nuisanceAddress))
			if err != nil {
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(nuisancePatience)) // else it fails below
			nuisances()[how](ctx, conn, noise[:])
		})
		wait(ctx, pause)
	}
}

// wait passes the time, or less of it where ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// nuisances are what such a visitor may do. Errors are what they are after. The
// first one is a stranger's.
func nuisances() []func(ctx context.Context, conn *net.TCPConn, noise []byte) {
	write := func(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }
	read := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	return []func(ctx context.Context, conn *net.TCPConn, noise []byte){
		func(_ context.Context, conn *net.TCPConn, _ []byte) { write(conn, "EHLO me\r\n"); read(conn) },
		func(_ context.Context, conn *net.TCPConn, _ []byte) { _ = conn.SetLinger(0) }, // a scan of ports
		func(_ context.Context, conn *net.TCPConn, noise []byte) {
			write(conn, string(noise))
			_ = conn.CloseWrite()
			read(conn)
		},
		func(_ context.Context, conn *net.TCPConn, noise []byte) {
			write(conn, strings.Repeat(string(noise), 25))
			_ = conn.SetLinger(0)
		},
		func(_ context.Context, conn *net.TCPConn, _ []byte) {
			write(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			_ = conn.CloseWrite()
			read(conn)
		},
		func(_ context.Context, conn *net.TCPConn, _ []byte) { _ = conn.CloseWrite(); read(conn) },
		func(ctx context.Context, conn *net.TCPConn, _ []byte) { // says hello for as long as it lasts
			for ctx.Err() == nil {
				write(conn, "E")
				wait(ctx, 50*time.Millisecond)
			}
		},
		func(ctx context.Context, conn *net.TCPConn, _ []byte) { // sends, and does not read
			write(conn, strings.Repeat("EHLO me\r\nNOOP\r\nRSET\r\n", 2000))
			<-ctx.Done()
		},
		func(_ context.Context, conn *net.TCPConn, _ []byte) { // TLS where there is none
			_ = tls.Client(conn, &tls.Config{ServerName: "x", MinVersion: tls.VersionTLS12}).Handshake()
		},
		func(_ context.Context, conn *net.TCPConn, _ []byte) { // leaves in the middle of a message
			write(conn, "EHLO me\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nX-Test-ID: never\r\n\r\nhalf of")
			_ = conn.CloseWrite()
			read(conn)
		},
	}
}

// crowdIn has so many clients connect and say nothing, until ctx ends: half of them
// leave with a reset then.
func crowdIn(ctx context.Context, network string, n int) {
	var running sync.WaitGroup
	defer running.Wait()
	for i := range n {
		running.Go(func() {
			conn, err := visitor(network, nuisanceAddress)
			if err != nil {
				return // the queue is full, which is what this is for
			}
			defer conn.Close()
			<-ctx.Done()
			if i%2 == 0 {
				_ = conn.SetLinger(0) // else it is closed in good order
			}
		})
	}
}
