package proxy

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// tolerance is how long the relays of these tests may take to greet before a
// second one is asked.
const tolerance = time.Second

// hedging is a rig with such relays, and timeouts that are not met by chance.
func hedging(t *testing.T, relays ...netip.AddrPort) *rig {
	t.Helper()
	r := newRig(t, relays...)
	r.listener().Pool = hedgingPool(t, "pool", tolerance, relays...)
	r.listener().Pool.Timeouts = Timeouts{Greeting: 10 * time.Second, SessionSetup: 50 * time.Second}
	return r
}

// slow is a relay that says nothing but what it is told to, and tells how its
// connections ended that it did not end itself.
type slow struct {
	*smtptest.Relay
	say   chan string
	ended chan error // nil: an end of the stream and no reset
}

const hangUp = "" // in place of words

func startSlow(t *testing.T) *slow {
	t.Helper()
	r := &slow{say: make(chan string), ended: make(chan error, 16)}
	r.Relay = smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		heard := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
			heard <- err
		}()
		for {
			select {
			case text := <-r.say:
				if text == hangUp {
					return
				}
				_, _ = io.WriteString(conn, text)
			case err := <-heard:
				r.ended <- err
				return
			}
		}
	}})
	return r
}

// wantFin waits for the end of a relay's connection, which must not be a reset.
func (h *hand) wantFin(r *slow, who string) {
	h.t.Helper()
	h.until(func() bool { return len(r.ended) > 0 }, who+" sees the end of its connection")
	if err := <-r.ended; err != nil {
		h.t.Errorf("%s saw %v, want the end of the connection", who, err)
	}
}

// late passes the first relay's time and returns the session, which has asked a
// second one.
func (h *hand) late(at state) *session {
	h.t.Helper()
	s := h.reach(at)
	h.pass(tolerance / 2)
	if s.second != nil {
		h.t.Fatal("a second relay was asked before the first one was late")
	}
	h.pass(tolerance)
	h.accounts()
	if s.second == nil || h.r.Stats().Hedging != 1 {
		h.t.Fatalf("no second relay was asked: %+v", h.r.Stats())
	}
	h.until(func() bool { return s.second.connected != 0 }, "the second relay is connected")
	return s
}

// accounts checks what is counted against what is there. No session splices.
func (h *hand) accounts() {
	h.t.Helper()
	var descriptors, hedges int64
	h.sessions.each(func(s *session) {
		descriptors += 2
		if s.state == stateLeave {
			descriptors--
		}
		if s.second != nil {
			descriptors++
			hedges++
		}
	})
	if st := h.r.Stats(); st.Descriptors != descriptors || st.Hedging != hedges {
		h.t.Errorf("%d descriptors are counted and %d sessions that hedge, there are %d and %d",
			st.Descriptors, st.Hedging, descriptors, hedges)
	}
}

// serves waits for the session to run and checks which relay has it.
func (h *hand) serves(c *smtptest.Client, s *session, greeting, backend string) {
	h.t.Helper()
	h.until(func() bool { return s.state == stateRelaying }, "a relay serves")
	h.accounts()
	wantGreeting(h.t, c, greeting)
	if got := s.served.Name(); got != backend || s.second != nil {
		h.t.Errorf("%s serves, want %s alone", got, backend)
	}
}

// over closes the client and checks the record's attempts and, by backend, how
// many failures the balancer was told.
func (h *hand) over(c *smtptest.Client, attempts string, failures ...int64) {
	h.t.Helper()
	c.Close()
	h.until(h.gone, "nothing is left")
	h.accounts()
	if got := outcomes(h.r.ended(1)); got != attempts {
		h.t.Errorf("attempts %q, want %q", got, attempts)
	}
	h.wantFailures(failures...)
}

func (h *hand) wantFailures(failures ...int64) {
	h.t.Helper()
	for i, b := range h.r.listener().Pool.Balancer.Snapshot(h.now) {
		if int64(b.Failures) != failures[i] || b.Active != 0 {
			h.t.Errorf("%s has %d failures and %d slots taken, want %d and none", b.Name, b.Failures, b.Active, failures[i])
		}
	}
}

func TestSilentRelayCostsItsPatience(t *testing.T) {
	smtptest.CheckDescriptors(t)
	a, b := startSlow(t), smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	c := h.r.dial()
	s := h.reach(stateGreet)
	h.pass(2 * tolerance)
	h.serves(c, s, goodGreeting, "b")
	h.wantFin(a, "the silent relay")
	if st := h.r.Stats(); st.Hedged != 1 {
		t.Errorf("%d hedges are counted, want 1", st.Hedged)
	}
	h.exchange(c, s, "NOOP")
	h.over(c, "a greeting_timeout, b ok", 1, 0)
}

// A connection that nobody answers is no better than a greeting.
func TestDeafRelayCostsItsPatience(t *testing.T) {
	b := smtptest.Start(t, smtptest.Script{})
	h := hedging(t, deafAddress(t), b.Addr()).byHand()
	c := h.r.dial()
	s := h.reach(stateConnect)
	h.pass(2 * tolerance)
	h.serves(c, s, plainGreeting, "b")
	h.over(c, "a connect_timeout, b ok", 1, 0)
}

// The greeting's time begins with the connection, however long that took.
func TestPatienceBeginsAnewWithTheConnection(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	h.r.dial()
	s := h.reach(stateConnect)
	h.pass(tolerance * 8 / 10)
	h.late(stateGreet)
	if got, want := s.second.asked-s.connected, int64(tolerance); got < want || got > 3*want/2 {
		t.Errorf("the second relay was asked %v after the connection, want %v", time.Duration(got), tolerance)
	}
}

// Whoever wins, the other one is left in good order, whatever it has said so
// far and says from then on.
func TestLoserSeesAnEndAndNoReset(t *testing.T) {
	for _, before := range []string{"", "2", "220-wait\r\n"} {
		for _, winner := range []string{"a", "b"} {
			t.Run(winner+" wins, the other said "+before, func(t *testing.T) {
				a, b := startSlow(t), startSlow(t)
				h := hedging(t, a.Addr(), b.Addr()).byHand()
				c := h.r.dial()
				s := h.late(stateGreet)
				wins, loses, attempts, failures := a, b, "a ok", []int64{0, 0}
				if winner == "b" {
					wins, loses, attempts, failures = b, a, "a greeting_timeout, b ok", []int64{1, 0}
				}
				if before != "" {
					loses.say <- before
				}
				wins.say <- plainGreeting
				h.serves(c, s, plainGreeting, winner)
				h.wantFin(loses, "the loser")
				h.wantGone(wins)
				h.over(c, attempts, failures...)
			})
		}
	}
}

// wantGone waits until the only connection left is the one that serves.
func (h *hand) wantGone(wins *slow) {
	h.t.Helper()
	h.until(func() bool { return h.sessions.used == 1 && wins.Active() == 1 }, "the loser's connection is over")
	h.accounts()
}

// The loser's greeting is on its way when it has lost: a socket that was closed
// would answer it with a reset.
func TestLosersLateGreetingIsTaken(t *testing.T) {
	speak, quiet := make(chan struct{}), make(chan error, 1)
	a := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{conn})
		<-speak
		_, _ = io.WriteString(conn, plainGreeting)
		quiet <- delivered(conn.(*net.TCPConn))
	}})
	b := smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	c := h.r.dial()
	s := h.reach(stateGreet)
	h.pass(2 * tolerance)
	h.serves(c, s, goodGreeting, "b")
	close(speak)
	h.until(func() bool { return len(quiet) > 0 }, "the late greeting is taken")
	if err := <-quiet; err != nil {
		t.Errorf("the late greeting: %v", err)
	}
	h.over(c, "a greeting_timeout, b ok", 1, 0)
}

// delivered waits until the peer has taken all that was written, or has reset
// the connection.
func delivered(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	for left := 1; left > 0; {
		if err := raw.Control(func(fd uintptr) { left = unsent(int(fd)) }); err != nil {
			return err
		}
	}
	broke := error(nil)
	if err := raw.Control(func(fd uintptr) { broke = brokenNow(int(fd)) }); err != nil {
		return err
	}
	return broke
}

func brokenNow(fd int) error {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Poll(fds, 0); err != nil {
		return err
	}
	if fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
		return unix.ECONNRESET
	}
	return nil
}

// A relay that never closes its side is not waited for long.
func TestLoserThatStaysIsClosedAfterAWhile(t *testing.T) {
	stay := make(chan struct{})
	a := smtptest.Start(t, smtptest.Script{Raw: func(net.Conn) { <-stay }})
	t.Cleanup(func() { close(stay) })
	b := smtptest.Start(t, smtptest.Script{})
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	c := h.r.dial()
	s := h.reach(stateGreet)
	h.pass(2 * tolerance)
	h.serves(c, s, plainGreeting, "b")
	if h.sessions.used != 2 {
		t.Fatalf("%d entries of the table are used, want the session and the loser", h.sessions.used)
	}
	h.pass(lingerTimeout + 2*granularity)
	if h.sessions.used != 1 {
		t.Errorf("%d entries of the table are used, want the session's", h.sessions.used)
	}
	h.over(c, "a greeting_timeout, b ok", 1, 0)
}

func TestSecondGoesOnAloneWhenTheFirstFails(t *testing.T) {
	for said, outcome := range map[string]string{
		"421 4.3.2 busy\r\n": "greeting_4xx",
		"554 5.7.1 no\r\n":   "greeting_5xx",
		"SSH-2.0\r\n":        "not_smtp",
	} {
		a, b := startSlow(t), startSlow(t)
		h := hedging(t, a.Addr(), b.Addr()).byHand()
		c := h.r.dial()
		s := h.late(stateGreet)
		a.say <- said
		h.until(func() bool { return s.second == nil }, "the first relay is given up")
		h.accounts()
		if name := s.lease.Backend().Name(); name != "b" || s.state != stateGreet {
			t.Errorf("%s is asked in state %d, want b whose greeting is awaited", name, s.state)
		}
		h.pass(3 * tolerance) // and there is no third one
		b.say <- plainGreeting
		h.serves(c, s, plainGreeting, "b")
		h.over(c, "a "+outcome+", b ok", 1, 0)
	}
}

func TestThirdIsAskedWhenTheSecondFails(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	third := smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
	h := hedging(t, a.Addr(), b.Addr(), third.Addr()).byHand()
	c := h.r.dial()
	s := h.late(stateGreet)
	b.say <- "450 4.7.1 no\r\n"
	h.serves(c, s, goodGreeting, "c") // at once: the clock stands still
	h.wantFin(a, "the first relay")
	h.over(c, "b greeting_4xx, a greeting_timeout, c ok", 1, 1, 0)
}

// A third one is asked when the second refuses the connection itself, and none
// is where that was the last.
func TestFirstIsWaitedForWhenNoOtherIsLeft(t *testing.T) {
	a, refuses := startSlow(t), smtptest.Start(t, smtptest.Script{})
	refuses.StopListening()
	h := hedging(t, a.Addr(), refuses.Addr(), refuses.Addr()).byHand()
	c := h.r.dial()
	s := h.reach(stateGreet)
	h.pass(tolerance + tolerance/4)
	h.until(func() bool { return s.alone }, "all others are tried")
	h.accounts()
	h.pass(3 * tolerance)
	if st := h.r.Stats(); st.Hedging != 0 || st.Hedged != 2 {
		t.Errorf("%d hedges go on of %d, want none of 2", st.Hedging, st.Hedged)
	}
	a.say <- plainGreeting
	h.serves(c, s, plainGreeting, "a")
	h.over(c, "b refused, c refused, a ok", 0, 1, 1)
}

// Both relays of a site that is dead are late, long before their own time is
// over: the first makes room for one that may not be dead.
func TestThirdTakesThePlaceOfTheFirstWhenBothAreLate(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	third := smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
	h := hedging(t, a.Addr(), b.Addr(), third.Addr()).byHand()
	c := h.r.dial()
	s := h.late(stateGreet)
	h.pass(tolerance / 4)
	if name := s.lease.Backend().Name(); name != "a" {
		t.Fatalf("%s is asked first, though the second one is not late", name)
	}
	h.pass(tolerance)
	h.serves(c, s, goodGreeting, "c")
	h.wantFin(a, "the first relay")
	h.wantFin(b, "the second relay")
	h.over(c, "a greeting_timeout, b greeting_timeout, c ok", 1, 1, 0)
}

// The last two are waited for, and one that has begun to greet is not left.
func TestNobodyIsLeftWithoutNeed(t *testing.T) {
	for _, first := range []string{"", "220-a.test ESMTP\r\n"} {
		a, b := startSlow(t), startSlow(t)
		addrs := []netip.AddrPort{a.Addr(), b.Addr()}
		if first != "" {
			addrs = append(addrs, smtptest.Start(t, smtptest.Script{}).Addr())
		}
		h := hedging(t, addrs...).byHand()
		c := h.r.dial()
		s := h.late(stateGreet)
		if first != "" {
			a.say <- first
			h.until(func() bool { return len(s.held) > 0 }, "the first line")
		}
		h.pass(5 * tolerance)
		if s.second == nil || s.lease.Backend().Name() != "a" || s.second.lease.Backend().Name() != "b" {
			t.Fatal("one of the two was left")
		}
		a.say <- "220 a.test\r\n"
		h.serves(c, s, first+"220 a.test\r\n", "a")
		h.wantFin(b, "the second relay")
		c.Close()
		h.until(h.gone, "nothing is left")
		h.accounts()
	}
}

// The first one's own time is over while the second is still awaited, which is
// late itself by then: a third is asked beside it.
func TestSecondIsHedgedLikeTheFirst(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	third := smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
	r := hedging(t, a.Addr(), b.Addr(), third.Addr())
	r.listener().Pool.Timeouts.Greeting = 3 * tolerance
	h := r.byHand()
	c := r.dial()
	s := h.late(stateGreet)
	h.pass(2 * tolerance)
	if name := s.lease.Backend().Name(); name != "b" {
		t.Fatalf("%s is asked first now, want b", name)
	}
	h.serves(c, s, goodGreeting, "c")
	h.over(c, "a greeting_timeout, b greeting_timeout, c ok", 1, 1, 0)
}

// When none greets, the client is told when the session's time is over. Relays
// that had less than their own time are not blamed.
func TestAllSilentIsA421(t *testing.T) {
	for _, test := range []struct {
		greeting, setup time.Duration
		reason          string
		failures        int64
	}{
		{10 * tolerance, 3 * tolerance, "out of time", 0},
		{2 * tolerance, 30 * tolerance, "each was tried", 1},
	} {
		a, b := startSlow(t), startSlow(t)
		r := hedging(t, a.Addr(), b.Addr())
		r.listener().Pool.Timeouts = Timeouts{Greeting: test.greeting, SessionSetup: test.setup}
		h := r.byHand()
		conn := r.raw()
		h.late(stateGreet)
		h.pass(4 * tolerance)
		h.accounts()
		want := "421 4.3.2 lb.test no relay available: a greeting_timeout, b greeting_timeout; " + test.reason + " (session "
		if got := readAll(t, conn); !strings.HasPrefix(got, want) {
			t.Errorf("read %q, want %q", got, want)
		}
		_ = conn.Close()
		h.until(h.gone, "the session is over")
		wantEnd(t, r.ended(1), NoBackend)
		h.wantFailures(test.failures, test.failures)
	}
}

func TestRelaysOfTLSListenersAreNotHedged(t *testing.T) {
	b := smtptest.Start(t, smtptest.Script{})
	r := hedging(t, deafAddress(t), b.Addr())
	r.listener().Protocol = TCP
	h := r.byHand()
	conn := r.raw()
	h.reach(stateConnect)
	h.pass(3 * tolerance)
	if st := r.Stats(); st.Hedged != 0 || b.Connections() != 0 {
		t.Errorf("%d hedges, %d connections to the second relay, want none", st.Hedged, b.Connections())
	}
	resets(t, conn)
	h.until(h.gone, "the session is over")
}

func TestNeverLateIsNeverHedged(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	r := hedging(t, a.Addr(), b.Addr())
	pool := hedgingPool(t, "off", -1, a.Addr(), b.Addr())
	pool.Timeouts = r.listener().Pool.Timeouts
	r.listener().Pool = pool
	h := r.byHand()
	c := r.dial()
	s := h.reach(stateGreet)
	h.pass(9 * tolerance)
	a.say <- plainGreeting
	h.serves(c, s, plainGreeting, "a")
	if st := r.Stats(); st.Hedged != 0 {
		t.Errorf("%d hedges, want none", st.Hedged)
	}
	h.over(c, "a ok", 0, 0)
}

// What the balancer is told is what it learns the habit from.
func TestWinnersOwnTimeIsRecorded(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	c := h.r.dial()
	s := h.late(stateGreet)
	h.pass(2 * tolerance)
	b.say <- plainGreeting
	h.serves(c, s, plainGreeting, "b")
	h.over(c, "a greeting_timeout, b ok", 1, 0)
	rec := h.r.ended(1)
	if rec.Greeting < 2*tolerance || rec.Greeting >= rec.Setup || rec.Setup < 3*tolerance {
		t.Errorf("greeting %v of a setup of %v, want the second relay's 2 s or a bit more of 3 s", rec.Greeting, rec.Setup)
	}
	if took := rec.Attempts[1].Took; took < rec.Greeting || took >= rec.Setup {
		t.Errorf("the attempt took %v, want the greeting's %v and the connection", took, rec.Greeting)
	}
	if b := h.r.listener().Pool.Balancer.Snapshot(h.now); b[0].Established != 0 || b[1].Established != 1 {
		t.Errorf("established %d and %d, want the second alone", b[0].Established, b[1].Established)
	}
}
