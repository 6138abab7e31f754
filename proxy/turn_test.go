package proxy

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// told is a relay that says what it is told to and then closes its half.
func told(t *testing.T) (relay *smtptest.Relay, say chan string, hush func()) {
	t.Helper()
	say = make(chan string, 1)
	hush = sync.OnceFunc(func() { close(say) })
	relay = bare(t, func(conn *net.TCPConn) {
		for line := range say {
			_, _ = io.WriteString(conn, line)
		}
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{conn})
	})
	t.Cleanup(hush)
	return relay, say, hush
}

// says has the relay say a line and waits until the client has it.
func (h *hand) says(c *smtptest.Client, s *session, say chan string, line string) {
	h.t.Helper()
	before := s.down.bytes
	say <- line
	h.until(func() bool { return s.down.bytes == before+int64(len(line)) && unsent(s.client) == 0 }, "the relay's words go down")
	wantRead(h.t, c.Conn(), line)
}

// sends has the client say a line and waits until the relay has it.
func (h *hand) sends(c *smtptest.Client, s *session, line string) {
	h.t.Helper()
	before := s.up.bytes
	send(h.t, c.Conn(), line)
	h.until(func() bool { return s.up.bytes == before+int64(len(line)) }, "the client's words go up")
}

func (h *hand) wantOpen(why string) {
	h.t.Helper()
	if h.in(stateRelaying) == nil {
		h.t.Fatalf("the session was cut: %s", why)
	}
}

func (h *hand) wantCut(c *smtptest.Client, end End, why string) {
	h.t.Helper()
	if h.in(stateRelaying) != nil {
		h.t.Fatalf("the session goes on: %s", why)
	}
	wantEnd(h.t, h.r.ended(1), end)
	if rest := readAll(h.t, limited(h.t, c.Conn())); rest != "" {
		h.t.Errorf("read %q, want the end of the connection", rest)
	}
}

func TestIdleClientIsLetGoInItsOwnTurn(t *testing.T) {
	for _, idle := range []time.Duration{defaultIdle, 11 * time.Minute, 10 * time.Second} {
		relay, say, _ := told(t)
		r := newRig(t, relay.Addr())
		r.listener().Pool.Timeouts.Idle = idle
		h := r.byHand()
		c, s := h.greeted()
		h.pass(idle / 2)
		h.sends(c, s, "NOOP\r\n")
		h.says(c, s, say, "250 ok\r\n")
		h.pass(idle * 9 / 10)
		h.wantOpen("it spoke not long ago")
		h.pass(idle / 5)
		h.wantCut(c, Idle, "nobody has spoken")
	}
}

// RFC 5321 lets a client wait ten minutes behind the final dot; whoever cuts it
// meanwhile has the mail sent twice (RFC 1047).
func TestClientThatWaitsForAReplyIsNeverIdle(t *testing.T) {
	relay, say, _ := told(t)
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	h.sends(c, s, ".\r\n")
	h.pass(5 * defaultIdle)
	h.wantOpen("it waits for the reply to its mail")
	h.says(c, s, say, "250 2.0.0 ok\r\n")
	h.pass(defaultIdle - time.Second)
	h.wantOpen("the reply has just come")
	h.pass(keepaliveAfter + 2*time.Second)
	h.wantCut(c, Idle, "the reply came long ago")
}

// A reply to the first of several commands does not answer those that are still
// on their way.
func TestClientWhoseBytesAreHeldIsNeverIdle(t *testing.T) {
	relay, gulp, _ := gulps(t)
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	h.held(c, s, gulp, 1<<40)
	s.lastUp = false // as after words of the relay's
	h.pass(3 * defaultIdle)
	h.wantOpen("its bytes have not reached the relay")
	c.Close()
}

func TestRelayThatClosedLeavesTheClientAMinute(t *testing.T) {
	relay, _, hush := told(t)
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	h.sends(c, s, "NOOP\r\n")
	hush()
	h.until(func() bool { return s.down.shut && unsent(s.client) == 0 }, "the relay's end goes down")
	h.pass(closedTimeout - time.Second)
	h.wantOpen("it may still close by itself")
	h.pass(2 * time.Second)
	h.wantCut(c, BackendClosed, "no reply will ever come")
}

// A client that gave up has closed. The relay that hangs would hold its slot
// and its place for ever.
func TestHungRelayDoesNotKeepAClientThatIsGone(t *testing.T) {
	over := make(chan struct{})
	relay := bare(t, func(*net.TCPConn) { <-over })
	t.Cleanup(func() { close(over) })
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	h.sends(c, s, ".\r\n")
	c.Close()
	h.until(func() bool { return s.up.shut }, "the client's end goes up")
	h.pass(waitAtMost - time.Second)
	h.wantOpen("a client may close its half and wait for the reply")
	h.pass(defaultIdle)
	if !h.gone() {
		t.Fatal("a session whose client is gone is kept for as long as its relay hangs")
	}
	wantEnd(t, h.r.ended(1), Idle)
}

func TestQuietSessionIsLetGoAtShutdown(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	c, s := h.greeted()
	h.exchange(c, s, "NOOP")
	h.drain()
	h.wantOpen("it has just spoken")
	h.pass(defaultQuiet - time.Second)
	h.wantOpen("it has not been quiet for long")
	h.pass(3 * time.Second)
	h.wantCut(c, Drained, "it was quiet")
}

func TestShutdownWaitsForTheReplyToAMail(t *testing.T) {
	relay, say, _ := told(t)
	r := newRig(t, relay.Addr())
	r.listener().Pool.Timeouts.Drain = time.Minute
	h := r.byHand()
	c, s := h.greeted()
	h.sends(c, s, ".\r\n")
	h.drain()
	h.pass(9 * time.Minute)
	h.wantOpen("it waits for a reply, the deadline notwithstanding")
	h.says(c, s, say, "250 2.0.0 ok\r\n")
	h.pass(2 * time.Second)
	h.wantCut(c, Drained, "it has its reply and the deadline is over")
}

func TestShutdownDoesNotWaitLongerThanAnyClient(t *testing.T) {
	relay, _, _ := told(t)
	h := newRig(t, relay.Addr()).byHand()
	c, s := h.greeted()
	h.sends(c, s, ".\r\n")
	h.drain()
	h.pass(waitAtMost + time.Minute)
	h.wantOpen("the deadline has not come")
	h.pass(defaultDrain)
	h.wantCut(c, Shut, "RFC 5321's ten minutes and the deadline are over")
}

// A client that goes on talking ends at the deadline, in its turn.
func TestBusyClientIsLetGoAtTheDeadline(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().Pool.Timeouts.Drain = time.Minute
	h := r.byHand()
	c, s := h.greeted()
	h.drain()
	for range 15 {
		h.exchange(c, s, "NOOP")
		h.pass(3900 * time.Millisecond)
		h.wantOpen("it talks, and there is time")
	}
	h.exchange(c, s, "NOOP")
	h.pass(3900 * time.Millisecond)
	h.wantCut(c, Drained, "the deadline has come")
}

// Setting up goes on while the server shuts down; what comes of it is let go
// like any other session.
func TestSessionThatBeganBeforeShutdownIsServedAndLetGo(t *testing.T) {
	b := startHears(t)
	r := newRig(t, b.Addr())
	r.listener().Pool.Timeouts.Greeting = time.Hour
	r.listener().Pool.Timeouts.SessionSetup = time.Hour
	h := r.byHand()
	c := r.dial()
	h.reach(stateGreet)
	h.drain()
	h.pass(time.Minute)
	close(b.greet)
	s := h.reach(stateRelaying)
	wantGreeting(t, c, plainGreeting)
	h.until(func() bool { return unsent(s.client) == 0 }, "the greeting acknowledged")
	h.pass(defaultQuiet + 2*time.Second)
	h.wantCut(c, Drained, "it was quiet")
}

func TestHalfClosedSessionsAreLetGoAtShutdown(t *testing.T) {
	for _, side := range []string{"client", "relay"} {
		t.Run(side, func(t *testing.T) {
			relay, say, hush := told(t)
			h := newRig(t, relay.Addr()).byHand()
			c, s := h.greeted()
			h.sends(c, s, "NOOP\r\n")
			if side == "client" {
				_ = c.Conn().CloseWrite()
				h.until(func() bool { return s.up.eof }, "the client's end goes up")
				h.says(c, s, say, "250 ok\r\n") // and then the relay stays, though it need not
			}
			h.drain()
			if side == "relay" {
				hush()
				h.until(func() bool { return s.down.shut && unsent(s.client) == 0 }, "the relay's end goes down")
			}
			h.pass(defaultQuiet + 2*time.Second)
			h.wantCut(c, Drained, "it was quiet")
		})
	}
}

func TestClientsInTheQueueReadThatWeShutDown(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().AcceptProxy = prefixes("127.0.0.2/32")
	h := r.byHand()
	plain, proxied := r.raw(), limited(t, r.dialFrom("127.0.0.2").Conn())
	send(t, proxied, headerOfClient)
	h.drain()
	for _, conn := range []*net.TCPConn{plain, proxied} {
		if got := readAll(t, conn); !strings.HasPrefix(got, "421 4.3.2 lb.test shutting down (session ") {
			t.Errorf("read %q", got)
		}
	}
	wantEnd(t, r.ended(1), Shut)
	wantEnd(t, r.ended(2), Shut)
}
