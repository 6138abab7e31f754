package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// parting is how one side of a session leaves it, once it has said everything.
type parting uint16

const (
	leavesLast  parting = iota // not before the other side, or a moment
	leavesByFIN                // says that it has said everything, and reads on
	leavesAtOnce
	leavesByReset
	partings
)

// side is one end of a connection as the fuzzer has it.
type side struct {
	says  []byte
	piece int // is said at a time
	leave parting
}

// play says everything and leaves, and returns what was heard meanwhile. What
// goes wrong is what the other side has done.
func (s side) play(conn *net.TCPConn) []byte {
	defer conn.Close()
	const moment = 50 * time.Millisecond
	var heard bytes.Buffer
	var reading sync.WaitGroup
	_ = conn.SetDeadline(time.Now().Add(patience))
	reading.Go(func() { _, _ = io.Copy(&heard, conn) })
	for rest := s.says; len(rest) > 0; {
		n := min(len(rest), s.piece)
		if _, err := conn.Write(rest[:n]); err != nil {
			break
		}
		rest = rest[n:]
	}
	switch s.leave {
	case leavesByFIN:
		_ = conn.CloseWrite()
		fallthrough
	case leavesLast:
		_ = conn.SetReadDeadline(time.Now().Add(moment))
		reading.Wait()
	case leavesByReset:
		_ = conn.SetLinger(0)
	default:
	}
	_ = conn.Close()
	reading.Wait()
	return heard.Bytes()
}

// sides are taken from a number, so that the fuzzer can try them all.
func sideOf(says []byte, n uint16) side {
	return side{says: says, piece: []int{1, 2, 7, 1 << 20}[n/uint16(partings)%4], leave: parting(n) % partings}
}

// Whatever a client and two relays send, however it is cut and however they
// leave: one relay at most hears the client, after it has greeted well, and hears
// what the client said from its first byte on; the client hears one refusal of
// ours, or one relay from its first byte on; and nothing is held afterwards.
func FuzzSession(f *testing.F) {
	mail := []byte("EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
	header := []byte("PROXY TCP4 127.0.0.9 127.0.0.1 40000 25\r\n")
	f.Add(mail, []byte(plainGreeting+"250 a\r\n"), []byte(postfix), uint16(0))
	f.Add(mail, []byte("421 4.3.2 no\r\n"), []byte("220-b\r\n220 b\r\n250 b\r\n"), uint16(4*3))
	f.Add([]byte(nil), []byte("SSH-2.0-x\r\n"), []byte("554 5.7.1 no\r\n"), uint16(1))
	f.Add(append(header, mail...), []byte("220-teaser\r\n450 no\r\n"), []byte(plainGreeting), uint16(1<<12|7))
	f.Add([]byte(sigV2+"\x21\x11\x00\x0c\x0a\x01\x02\x03"), []byte("22"), []byte("220 b\r\n"), uint16(1<<12|2))
	f.Add(mail, []byte("2"), []byte("\xff\x00"), uint16(2<<4|3<<8))
	oracle := newGreetingOracle()
	greetsWell := func(says []byte) bool {
		return oracle.judge(says[:min(len(says), maxGreeting)]) == good
	}
	f.Fuzz(func(t *testing.T, client, a, b []byte, how uint16) {
		if len(client)+len(a)+len(b) > 16<<10 {
			t.Skip("larger ones take time and tell no more")
		}
		var mu sync.Mutex
		var heard [2][]byte // by the relays, of the client
		relay := func(i int, s side, strip bool) *smtptest.Relay {
			return smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
				all := s.play(conn.(*net.TCPConn))
				if _, rest, whole := bytes.Cut(all, []byte("\r\n")); strip && whole {
					all = rest
				} else if strip {
					all = nil // part of our own header
				}
				mu.Lock()
				defer mu.Unlock()
				heard[i] = append(heard[i], all...)
			}})
		}
		relays := []*smtptest.Relay{relay(0, sideOf(a, how>>4), false), relay(1, sideOf(b, how>>8), true)}
		r := newRig(t, relays[0].Addr(), relays[1].Addr())
		r.listener().Pool.Targets[1].ProxyProtocol = 1
		r.listener().Pool.Timeouts.Greeting = 100 * time.Millisecond
		from := 0 // of the client's bytes that are for a relay
		if how&(1<<12) != 0 {
			r.listener().AcceptProxy = prefixes("127.0.0.0/8")
			if n, err := headerLength(client); err == nil {
				from = n
			}
		}
		r.run()
		var got []byte
		switch conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(r.addr)); {
		case err == nil:
			got = sideOf(client, how).play(conn)
		case !errors.Is(err, unix.ECONNRESET): // a relay's reset can be that fast
			t.Fatal(err)
		}
		r.idle()
		for _, relay := range relays {
			relay.Close()
		}
		mu.Lock()
		defer mu.Unlock()
		if len(heard[0]) > 0 && len(heard[1]) > 0 {
			t.Errorf("both relays hear the client: %q, %q", heard[0], heard[1])
		}
		for i, says := range [][]byte{a, b} {
			if !bytes.HasPrefix(client[from:], heard[i]) {
				t.Errorf("relay %d hears %q, the client said %q", i, heard[i], client[from:])
			}
			if !greetsWell(says) && len(heard[i]) > 0 {
				t.Errorf("relay %d hears %q, and greeted by %q", i, heard[i], says)
			}
		}
		fromA, fromB := greetsWell(a) && bytes.HasPrefix(a, got), greetsWell(b) && bytes.HasPrefix(b, got)
		if text := string(got); !fromA && !fromB && text != "" &&
			(!strings.HasPrefix(text, "421 4.") || strings.Index(text, "\r\n") != len(text)-2) {
			t.Errorf("the client got what no relay that greeted well said: %q", text)
		}
	})
}
