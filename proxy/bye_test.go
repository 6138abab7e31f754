package proxy

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// lastWords is a relay that greets, waits for a line, says the words and closes.
func lastWords(t *testing.T, words ...string) *smtptest.Relay {
	t.Helper()
	return bare(t, func(conn *net.TCPConn) {
		var b [64]byte
		for _, w := range words {
			if _, err := conn.Read(b[:]); err != nil {
				return
			}
			_, _ = io.WriteString(conn, w)
		}
	})
}

// After 221 nothing is said: the session does not wait for its client to close,
// who reads the reply and the end all the same.
func TestSessionIsOverWithTheReplyToQuit(t *testing.T) {
	h := newRig(t, lastWords(t, "250 ok\r\n", "221 bye\r\n").Addr()).byHand()
	c, s := h.greeted()
	h.exchange(c, s, "NOOP")
	send(t, c.Conn(), "QUIT\r\n")
	h.until(h.gone, "the session's end while the client is there")
	if got := readAll(t, c.Conn()); got != "221 bye\r\n" {
		t.Errorf("read %q, want the reply to QUIT", got)
	}
	wantEnd(t, h.r.ended(1), BackendClosed)
}

// A relay may close after any other reply, too, but then its client may be about
// to speak. What would be answered by a reset takes the reply with it.
func TestOtherLastWordsWaitForTheClient(t *testing.T) {
	for _, words := range []string{"421 closing\r\n", "250 ok\r\n", "250 ok\r\n221 bye\r\n", "22"} {
		t.Run(words, func(t *testing.T) {
			h := newRig(t, lastWords(t, words).Addr()).byHand()
			c, s := h.greeted()
			send(t, c.Conn(), "QUIT\r\n")
			h.until(func() bool { return s.down.shut }, "the relay's end goes down")
			if s.state != stateRelaying {
				t.Fatalf("the session is over before its client has closed")
			}
			send(t, c.Conn(), "MAIL FROM:<a@example.com>\r\n")
			if got := readAll(t, c.Conn()); got != words {
				t.Errorf("read %q, want %q", got, words)
			}
			_ = c.Conn().Close()
			h.until(h.gone, "the session's end")
		})
	}
}

// Bytes that were on their way before the relay's end are the relay's.
func TestClientThatSpeaksBehindItsQuitIsHeard(t *testing.T) {
	h := newRig(t, lastWords(t, "221 bye\r\n").Addr()).byHand()
	_, s := h.greeted()
	s.bye, s.down.shut = true, true
	if !s.parted() {
		t.Error("nothing is under way, yet the session goes on")
	}
	s.up.ready = true
	if s.parted() {
		t.Error("the client may have spoken, yet the session is over")
	}
	s.up.ready = false
	s.up.rest = []byte("more")
	if s.parted() {
		t.Error("the client's bytes are held, yet the session is over")
	}
	s.up.rest, s.down.shut = nil, false
}

// In lock-step a reply acknowledges what went before it, and Nagle's algorithm
// has nothing to wait for. Else it is switched off.
func TestNothingIsDelayedOnTheWayToTheRelay(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	c, s := h.greeted()
	noDelay := func() bool {
		v, err := unix.GetsockoptInt(s.backend, unix.IPPROTO_TCP, unix.TCP_NODELAY)
		if err != nil {
			t.Fatal(err)
		}
		return v != 0
	}
	h.exchange(c, s, "EHLO client.test")
	h.exchange(c, s, "NOOP")
	if noDelay() {
		t.Error("a call was spent in lock-step")
	}
	for _, half := range []string{"NO", "OP\r\n"} {
		before := s.up.bytes
		send(t, c.Conn(), half)
		h.until(func() bool { return s.up.bytes == before+int64(len(half)) }, "half a line goes up")
	}
	if !noDelay() {
		t.Error("what follows unanswered bytes may be held back by the kernel")
	}
}

func TestFirstBytesOfAClientThatSpeaksFirstAreNotDelayed(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"protocol tcp": func(r *rig) { r.Listeners[0].Protocol = TCP },
		"PROXY header": func(r *rig) { r.Listeners[0].Pool.Targets[0].ProxyProtocol = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, smtptest.Start(t, smtptest.Script{Proxy: name != "protocol tcp"}).Addr())
			change(r)
			h := r.byHand()
			r.dial()
			s := h.reach(stateRelaying)
			if v, err := unix.GetsockoptInt(s.backend, unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
				t.Errorf("TCP_NODELAY is %d, %v; want it set", v, err)
			}
		})
	}
}
