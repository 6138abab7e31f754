package proxy

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// echo is a relay that greets and sends everything back.
func echo(t *testing.T) *smtptest.Relay {
	t.Helper()
	return bare(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}) // no splice of its own
		_ = conn.CloseWrite()
	})
}

func TestBytesOfAnySizeArriveAsTheyWereSent(t *testing.T) {
	relay := echo(t)
	r := newRig(t, relay.Addr()).run()
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, seed))
		chunks := make([][]byte, 1+random.IntN(60))
		total := 0
		for i := range chunks {
			// From single bytes to several of the loop's buffers, so that
			// directions go over to splicing and back.
			chunks[i] = stream(seed*100+uint64(i), 1+random.IntN(1<<(1+random.IntN(19))))
			total += len(chunks[i])
		}
		conn := r.raw()
		wantRead(t, conn, plainGreeting)
		sent := make(chan error, 1)
		go func() {
			for _, chunk := range chunks {
				if _, err := conn.Write(chunk); err != nil {
					sent <- err
					return
				}
			}
			sent <- conn.CloseWrite()
		}()
		in := io.Reader(conn)
		for i, chunk := range chunks {
			got := make([]byte, len(chunk))
			if _, err := io.ReadFull(in, got); err != nil || string(got) != string(chunk) {
				t.Fatalf("seed %d: chunk %d of %d bytes came back changed (%v)", seed, i, len(chunk), err)
			}
		}
		if rest := readAll(t, conn); rest != "" {
			t.Fatalf("seed %d: %d bytes too many", seed, len(rest))
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		rec := r.ended(int(seed) + 1)
		if want := int64(total); rec.BytesUp != want || rec.BytesDown != want+int64(len(plainGreeting)) {
			t.Errorf("seed %d: recorded %d bytes up and %d down, want %d and the greeting more", seed, rec.BytesUp, rec.BytesDown, want)
		}
		wantEnd(t, rec, ClientClosed)
	}
}

// stream is n bytes that depend on the seed.
func stream(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// The client closes its half; the relay's bytes go on.
func TestClientsHalfCloseLetsTheRelayFinish(t *testing.T) {
	relay := bare(t, func(conn *net.TCPConn) {
		up, _ := io.ReadAll(conn)
		_, _ = conn.Write(stream(7, 3<<20))
		_, _ = conn.Write(up)
	})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	wantRead(t, conn, plainGreeting)
	send(t, conn, "the last words")
	_ = conn.CloseWrite()
	if got := readAll(t, conn); got != string(stream(7, 3<<20))+"the last words" {
		t.Errorf("%d bytes came after the half-close, or other ones", len(got))
	}
	wantEnd(t, r.ended(1), ClientClosed)
}

// The relay closes its half; the client's bytes go on.
func TestRelaysHalfCloseLetsTheClientFinish(t *testing.T) {
	heard := make(chan int, 1)
	relay := bare(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "bye\r\n")
		_ = conn.CloseWrite()
		b, _ := io.ReadAll(conn)
		heard <- len(b)
	})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	if got := readAll(t, conn); got != plainGreeting+"bye\r\n" {
		t.Errorf("read %q", got)
	}
	send(t, conn, string(stream(1, 3<<20)))
	_ = conn.Close()
	if n := <-heard; n != 3<<20 {
		t.Errorf("the relay heard %d bytes after its half-close, want %d", n, 3<<20)
	}
	wantEnd(t, r.ended(1), BackendClosed)
}

// A relay that is shut down says 421 and closes while mail still comes in: the
// client must read why, whatever it has sent meanwhile.
func TestRelaysLast421ReachesAClientInTheMiddleOfItsMail(t *testing.T) {
	for name, last := range map[string]func(*net.TCPConn){
		"orderly": func(conn *net.TCPConn) {
			_ = conn.CloseWrite()
			_, _ = io.CopyN(io.Discard, conn, 512<<10)
		},
		"at once": func(*net.TCPConn) {}, // with the client's bytes unread
	} {
		t.Run(name, func(t *testing.T) {
			relay := bare(t, func(conn *net.TCPConn) {
				_, _ = io.ReadFull(conn, make([]byte, 10))
				_, _ = io.WriteString(conn, "421 4.3.2 shutting down\r\n")
				last(conn)
			})
			r := newRig(t, relay.Addr()).run()
			conn := r.raw()
			wantRead(t, conn, plainGreeting)
			mail := stream(3, 600<<10)
			for len(mail) > 0 { // a slow client: many pieces, the relay gone meanwhile
				n := min(4<<10, len(mail))
				if _, err := conn.Write(mail[:n]); err != nil {
					break // it may meet a reset; what counts is what it can read
				}
				mail = mail[n:]
			}
			wantRead(t, conn, "421 4.3.2 shutting down\r\n")
			if name == "orderly" {
				if rest := readAll(t, conn); rest != "" {
					t.Errorf("read %q after the 421", rest)
				}
			}
			_ = conn.Close()
			// The bytes that the relay did not read come back as a reset, at
			// times before its end was looked at.
			if end := r.ended(1).End; end != BackendClosed && end != BackendReset {
				t.Errorf("the session's end is %v", end)
			}
		})
	}
}

func TestRelaysResetIsPassedOn(t *testing.T) {
	relay := bare(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 6))
		_ = conn.SetLinger(0)
	})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	wantRead(t, conn, plainGreeting)
	send(t, conn, "NOOP\r\n")
	if b, err := io.ReadAll(conn); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read %q and %v, want a reset", b, err)
	}
	wantEnd(t, r.ended(1), BackendReset)
}

// The same, when the loop meets the reset in writing to the relay: it has used
// up the error that reading would have met.
func TestRelaysResetThatAWriteMeetsIsPassedOn(t *testing.T) {
	relay := bare(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 6))
		_ = conn.SetLinger(0)
	})
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	send(t, c.Conn(), "NOOP\r\n")
	h.until(func() bool { return s.up.bytes == 6 }, "the command goes up")
	broken(t, s.backend)
	send(t, c.Conn(), "more\r\n")
	smtptest.Eventually(t, patience, func() bool { return inQueue(s.client) > 0 }, "the client's bytes arrive")
	s.up.ready = true
	h.relay(s) // as if the client's event came first
	h.until(func() bool { return h.records() == 1 }, "the session ends")
	wantEnd(t, h.r.ended(1), BackendReset)
	if b, err := io.ReadAll(limited(t, c.Conn())); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read %q and %v, want a reset", b, err)
	}
}

// A 250 that is lost is a mail that is sent twice.
func TestRelaysReplyBeforeItsResetIsNotLost(t *testing.T) {
	const reply = "250 2.0.0 queued\r\n"
	relay := bare(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 3))
		_, _ = io.WriteString(conn, reply)
		_ = conn.SetLinger(0)
	})
	r := newRig(t, relay.Addr()).run()
	for range 100 {
		conn := r.raw()
		wantRead(t, conn, plainGreeting)
		send(t, conn, ".\r\n")
		wantRead(t, conn, reply)
		_ = conn.Close()
	}
}

// A slow client has much of what the relay said still before it when the relay
// resets. A reset of ours would take it away.
func TestRelaysResetDoesNotOvertakeItsWords(t *testing.T) {
	words := string(stream(11, 100<<10))
	resetNow := make(chan struct{})
	relay := bare(t, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, words)
		<-resetNow
		_ = conn.SetLinger(0)
	})
	free := sync.OnceFunc(func() { close(resetNow) })
	t.Cleanup(free)
	h := newRig(t, relay.Addr()).byHand()
	conn := h.r.raw()
	if err := conn.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	s := h.reach(stateRelaying)
	h.until(func() bool { return s.down.bytes == int64(len(plainGreeting+words)) && !s.down.holds() }, "the relay's words come")
	if unsent(s.client) == 0 {
		t.Fatal("the client has acknowledged everything: this tests nothing")
	}
	free()
	h.until(func() bool { return h.records() == 1 }, "the session ends")
	wantEnd(t, h.r.ended(1), BackendReset)
	if got := readAll(t, conn); got != plainGreeting+words {
		t.Errorf("%d bytes came, or other ones, want %d", len(got), len(plainGreeting+words))
	}
}

func TestClientsResetReachesTheRelay(t *testing.T) {
	got := make(chan error, 1)
	relay := bare(t, func(conn *net.TCPConn) {
		_, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
		got <- err
	})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	wantRead(t, conn, plainGreeting)
	send(t, conn, strings.Repeat("x", 1000))
	resets(t, conn)
	if err := <-got; !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the relay met %v, want a reset", err)
	}
	wantEnd(t, r.ended(1), ClientReset)
}

// A client that sends QUIT and does not wait for the 221 has closed, not reset.
func TestClientThatDoesNotWaitForTheLastReplyHasClosed(t *testing.T) {
	release := make(chan struct{})
	relay := bare(t, func(conn *net.TCPConn) {
		_, _ = io.ReadAll(conn)
		<-release
		_, _ = io.WriteString(conn, "221 bye\r\n")
	})
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	send(t, c.Conn(), "QUIT\r\n")
	c.Close()
	h.until(func() bool { return s.up.shut }, "the client's end goes up")
	close(release)
	h.until(h.gone, "the session ends")
	wantEnd(t, h.r.ended(1), ClientClosed)
}
