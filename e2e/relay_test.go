package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// 100 MB, by DATA and by BDAT: the sum that the relay takes is the sum of what
// was sent, and the log line counts every byte.
func TestMessageOf100MBArrivesByteForByte(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{backends: []string{backend("relay-a", relay.Addr())}})
	const size = 100 << 20
	var ledger smtptest.Ledger
	client := smtptest.Dial(t, p.address)
	body := smtptest.Body("large", size)
	for _, m := range []smtptest.Outgoing{{ID: "large", Body: body}, {ID: "large", Body: body, Chunked: true}} {
		if err := ledger.Record(m, client.Send(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Quit(); err != nil {
		t.Error(err)
	}
	messages := relay.Messages()
	if err := ledger.Compare(messages).Err(); err != nil || len(messages) != 2 || messages[0].Size != size {
		t.Errorf("%d messages: %v; want two of %d bytes", len(messages), err, size)
	}
	if s := p.only(t); s.BytesUp < 2*size || s.End != "backend_closed" {
		t.Errorf("session line has %d bytes up, end %s; want more than %d, and that the relay closed after QUIT", s.BytesUp, s.End, 2*size)
	}
}

// A message that a reader does not take stays with its sender: 20 of 50 MB each,
// half of them towards slow relays, half towards slow clients, cost the process
// a buffer each. When the readers wake up, every byte arrives.
func TestSlowReadersHoldBoundedMemory(t *testing.T) {
	const readers, size, allowed = 20, 50 << 20, 32 << 10 // KB
	var moved [readers]atomic.Int64
	var asked atomic.Int64
	wake := make(chan struct{})
	relay := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		n := asked.Add(1) - 1
		_, _ = io.WriteString(conn, rawGreeting) // where this fails, bytes are missing below
		if n%2 == 0 {
			pour(conn, size, &moved[n])
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		<-wake
		n64, _ := io.Copy(io.Discard, conn)
		_, _ = fmt.Fprintf(conn, "250 %d\r\n", n64)
	}})
	health := smtptest.Start(t, smtptest.Script{}) // checks are no readers
	p := startReleased(t, site{pool: fmt.Sprintf("probe: {address: %q}", health.Addr()),
		backends: []string{backend("relay-a", relay.Addr())}})
	before := p.procStatus(t, "VmRSS")

	var got [readers]int64
	var wg sync.WaitGroup
	for n := range readers {
		conn := dialGreeted(t, p.address) // one after the other, so that the relay's count is ours
		wg.Go(func() {
			if n%2 == 0 {
				<-wake
				got[n], _ = io.Copy(io.Discard, conn) // too few are reported below
				return
			}
			pour(conn, size, &moved[n])
			_ = conn.CloseWrite()
			_, _ = fmt.Fscanf(conn, "250 %d", &got[n])
		})
	}
	waitStalled(t, moved[:])
	during := p.procStatus(t, "VmRSS")
	t.Logf("resident: %d KB before, %d KB with %d readers that do not read", before, during, readers)
	if during-before > allowed {
		t.Errorf("grew by %d KB, want at most %d", during-before, allowed)
	}
	close(wake)
	wg.Wait()
	for n, bytes := range got {
		if bytes != size {
			t.Errorf("reader %d got %d bytes, want %d", n, bytes, size)
		}
	}
}

// pour writes size bytes and counts those that the kernel took.
func pour(conn net.Conn, size int, moved *atomic.Int64) {
	block := []byte(strings.Repeat("x", 64<<10))
	for sent := 0; sent < size; sent += len(block) {
		if _, err := conn.Write(block); err != nil {
			return
		}
		moved.Add(int64(len(block)))
	}
}

// waitStalled waits until every writer has begun and none gets on.
func waitStalled(t *testing.T, moved []atomic.Int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	smtptest.Eventually(t, patience, func() bool {
		total, begun := int64(0), true
		for i := range moved {
			n := moved[i].Load()
			total, begun = total+n, begun && n > 0
		}
		if total != last {
			last, since = total, time.Now()
		}
		return begun && time.Since(since) > 500*time.Millisecond
	}, "the writers stall")
}

const rawGreeting = "220 relay.test\r\n"

// dialGreeted returns a connection of which exactly rawGreeting was read.
func dialGreeted(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	greeting := make([]byte, len(rawGreeting))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != rawGreeting {
		t.Fatalf("greeting %q: %v, want %q", greeting, err, rawGreeting)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// A half-close passes as one: the other way stays open until its own end.
func TestHalfClosePassesBothWays(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	tests := []struct {
		name     string
		relay    func(conn *net.TCPConn) int64 // after its greeting; returns what it got
		client   func(conn *net.TCPConn) int64
		toRelay  int64
		toClient int64
		end      string
	}{
		{
			"the client has said all, and reads on",
			func(conn *net.TCPConn) int64 { n := count(conn); fill(conn, size); return n },
			func(conn *net.TCPConn) int64 { fill(conn, size); return count(conn) },
			size, size, "client_closed",
		},
		{
			"the relay has said all, and reads on",
			func(conn *net.TCPConn) int64 { fill(conn, size); return count(conn) },
			func(conn *net.TCPConn) int64 { n := count(conn); fill(conn, size); return n },
			size, size, "backend_closed",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			health := smtptest.Start(t, smtptest.Script{})
			atRelay := make(chan int64, 1)
			relay := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
				_, _ = io.WriteString(conn, rawGreeting) // the client waits for it
				atRelay <- test.relay(conn.(*net.TCPConn))
			}})
			p := start(t, site{pool: fmt.Sprintf("probe: {address: %q}", health.Addr()),
				backends: []string{backend("relay-a", relay.Addr())}})
			conn := dialGreeted(t, p.address)
			if n := test.client(conn); n != test.toClient {
				t.Errorf("client got %d bytes, want %d", n, test.toClient)
			}
			if n := <-atRelay; n != test.toRelay {
				t.Errorf("relay got %d bytes, want %d", n, test.toRelay)
			}
			s := p.only(t)
			if s.End != test.end || s.BytesUp != test.toRelay || s.BytesDown != test.toClient+int64(len(rawGreeting)) {
				t.Errorf("session line: end %s, %d bytes up, %d down", s.End, s.BytesUp, s.BytesDown)
			}
		})
	}
}

// fill writes n bytes and ends its way; count reads to the end. What fails in
// either is missing at the other end.
func fill(conn *net.TCPConn, n int) {
	pour(conn, n, new(atomic.Int64))
	_ = conn.CloseWrite()
}

func count(conn *net.TCPConn) int64 {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, _ := io.Copy(io.Discard, conn)
	return n
}

// A relay that resets while its client goes on sending line after line: whether
// a read or a write finds out first, the log says reset, not closed.
func TestRelaysResetIsNamedAsOne(t *testing.T) {
	t.Parallel()
	const sessions = 200
	health := smtptest.Start(t, smtptest.Script{})
	relay := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, rawGreeting) // the client waits for it
		_, _ = io.CopyN(io.Discard, conn, 4<<10)
		_ = conn.(*net.TCPConn).SetLinger(0) // the close to come is a reset, socket(7)
	}})
	p := start(t, site{pool: fmt.Sprintf("probe: {address: %q}", health.Addr()), backends: []string{backend("relay-a", relay.Addr())}})
	eachOf(sessions, func(n int) {
		client, err := smtptest.DialTimeout(p.address, patience)
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		_, err = client.Greeting()
		_ = client.Conn().SetDeadline(time.Now().Add(patience))
		for err == nil {
			_, err = io.WriteString(client.Conn(), "a line, of which there are many more to come\r\n")
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("client %d never learns that its relay is gone", n)
		}
	})
	if got, want := ends(p.sessions(t, sessions)), fmt.Sprintf("map[backend_reset:%d]", sessions); got != want {
		t.Errorf("ends %s, want %s", got, want)
	}
}
