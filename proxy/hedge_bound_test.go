package proxy

import (
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtplb/internal/smtptest"
)

func TestAtMostATenthOfTheSessionsHedge(t *testing.T) {
	for _, test := range []struct{ open, allowed int64 }{
		{1, 1}, {2, 1}, {19, 1}, {20, 2}, {29, 2}, {1000, 100},
	} {
		var s Server
		s.fdLimit.Store(1 << 20)
		s.counts.open.Store(test.open)
		n := int64(0)
		for n <= test.open && s.beginHedge() {
			n++
		}
		if n != test.allowed || s.counts.hedging.Load() != n || s.fds.Load() != n {
			t.Errorf("of %d sessions %d hedge, with %d descriptors, want %d", test.open, n, s.fds.Load(), test.allowed)
		}
	}
}

// One that finds no room waits for it and for the first relay alike.
func TestSessionWithoutRoomHedgesLater(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	first, second := h.r.dial(), h.r.dial()
	h.until(func() bool { return a.Active() == 2 && h.asking(stateGreet) == 2 }, "both sessions wait")
	h.pass(4 * tolerance)
	h.accounts()
	if st := h.r.Stats(); st.Hedging != 1 || st.Hedged != 1 {
		t.Fatalf("%d sessions hedge, %d did, want one", st.Hedging, st.Hedged)
	}
	h.until(func() bool { return b.Active() == 1 }, "the second relay is asked")
	b.say <- plainGreeting
	h.until(func() bool { return h.in(stateRelaying) != nil }, "the second relay serves")
	h.pass(2 * hedgePause)
	h.accounts()
	if st := h.r.Stats(); st.Hedging != 1 || st.Hedged != 2 {
		t.Fatalf("%d sessions hedge, %d did, want the other one now", st.Hedging, st.Hedged)
	}
	first.Close()
	second.Close()
}

// asking counts the sessions in a state.
func (h *hand) asking(want state) (n int) {
	h.sessions.each(func(s *session) {
		if s.state == want {
			n++
		}
	})
	return n
}

func TestNoDescriptorNoHedge(t *testing.T) {
	a := startSlow(t)
	b := smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	h.r.fdLimit.Store(2)
	c := h.r.dial()
	s := h.reach(stateGreet)
	h.pass(3 * tolerance)
	if st := h.r.Stats(); st.Hedging != 0 || st.Descriptors != 2 {
		t.Fatalf("%d sessions hedge with %d descriptors, want none with 2", st.Hedging, st.Descriptors)
	}
	h.r.fdLimit.Store(3)
	h.pass(2 * hedgePause)
	h.serves(c, s, goodGreeting, "b")
	h.over(c, "a greeting_timeout, b ok", 1, 0)
}

func TestClientThatLeavesAHedgeCostsNothing(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	conn := h.r.raw()
	h.late(stateGreet)
	resets(t, conn)
	h.until(h.gone, "the session is over")
	h.accounts()
	h.until(func() bool { return a.Active() == 0 && b.Active() == 0 }, "both relays are left")
	if rec := h.r.ended(1); rec.End != ClientReset || len(rec.Attempts) != 0 {
		t.Errorf("recorded as %+v", rec)
	}
	h.wantFailures(0, 0)
}

func TestCloseEndsAHedge(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	conn := h.r.raw()
	h.late(stateGreet)
	h.stop()
	h.accounts()
	if got := readAll(t, conn); !strings.HasPrefix(got, "421 4.3.2 lb.test shutting down") {
		t.Errorf("read %q", got)
	}
	h.wantFin(a, "the first relay")
	h.wantFin(b, "the second relay")
	wantEnd(t, h.r.ended(1), Shut)
	h.wantFailures(0, 0)
}

// Close comes while a relay that lost has not closed yet.
func TestCloseDoesNotWaitForALoser(t *testing.T) {
	stay := make(chan struct{})
	a := smtptest.Start(t, smtptest.Script{Raw: func(net.Conn) { <-stay }})
	t.Cleanup(func() { close(stay) })
	h := hedging(t, a.Addr(), smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	c := h.r.dial()
	s := h.reach(stateGreet)
	h.pass(2 * tolerance)
	h.serves(c, s, plainGreeting, "b")
	h.stop()
	if !h.gone() {
		t.Errorf("%d entries of the table are used", h.sessions.used)
	}
	h.accounts()
}

func TestDrainLetsAHedgeEnd(t *testing.T) {
	a, b := startSlow(t), startSlow(t)
	h := hedging(t, a.Addr(), b.Addr()).byHand()
	c := h.r.dial()
	s := h.late(stateGreet)
	h.drain()
	b.say <- plainGreeting
	h.serves(c, s, plainGreeting, "b")
	h.until(func() bool { return unsent(s.client) == 0 }, "the greeting acknowledged")
	h.wantFin(a, "the loser")
	h.pass(2 * defaultQuiet)
	wantEnd(t, h.r.ended(1), Drained)
	c.Close()
	h.until(h.loop.over, "the loop has nothing left to do")
}

func TestSecondRelayLearnsTheClientToo(t *testing.T) {
	a := startSlow(t)
	for version := 1; version <= 2; version++ {
		b := smtptest.Start(t, smtptest.Script{Proxy: true})
		r := hedging(t, a.Addr(), b.Addr())
		r.listener().Pool.Targets[1].ProxyProtocol = version
		h := r.byHand()
		c := r.dial()
		s := h.reach(stateGreet)
		h.pass(2 * tolerance)
		h.serves(c, s, plainGreeting, "b")
		sent := make(chan error, 1)
		go func() { sent <- c.Send(smtptest.Outgoing{ID: "m", Size: 2000}) }()
		h.until(func() bool { return len(sent) > 0 }, "the mail is sent")
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		client := unmapped(c.Conn().LocalAddr().(*net.TCPAddr).AddrPort())
		if m := b.Messages(); len(m) != 1 || m[0].Source != client {
			t.Errorf("the relay has %+v, want one message from %v", m, client)
		}
		h.over(c, "a greeting_timeout, b ok", 1, 0)
	}
}

// Both speak at once, in pieces of any size: the client reads the greeting of
// one, whole and alone.
func TestGreetingsOfBothDoNotMix(t *testing.T) {
	greetings := map[string]string{
		"a": "220-a.test says\r\n220-a lot\r\n220 a\r\n",
		"b": "220-b.test\r\n220 b is shorter\r\n",
	}
	relays := map[string]*slow{"a": startSlow(t), "b": startSlow(t)}
	h := hedging(t, relays["a"].Addr(), relays["b"].Addr()).byHand()
	rapid.Check(t, func(rt *rapid.T) {
		c := h.r.dial()
		s := h.late(stateGreet)
		left := map[string]string{"a": greetings["a"], "b": greetings["b"]}
		for s.state == stateGreet {
			who := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "who speaks")
			n := rapid.IntRange(1, 12).Draw(rt, "bytes")
			text := left[who][:min(n, len(left[who]))]
			if left[who] = left[who][len(text):]; text == "" {
				continue
			}
			relays[who].say <- text
			want := len(greetings[who]) - len(left[who])
			h.until(func() bool { return s.state == stateRelaying || h.heard(s, who) == want }, "the piece is read")
		}
		winner := s.served.Name()
		h.serves(c, s, greetings[winner], winner)
		if left[winner] != "" {
			rt.Errorf("%s serves before its greeting is whole: %q is left", winner, left[winner])
		}
		c.Close()
		h.until(h.gone, "nothing is left")
		h.accounts()
		for _, r := range relays {
			if err := <-r.ended; err != nil {
				rt.Errorf("a relay saw %v, want the end of the connection", err)
			}
		}
	})
}

// heard is how much of a relay's greeting is held.
func (h *hand) heard(s *session, backend string) int {
	for _, c := range []*contender{&s.contender, s.second} {
		if c != nil && c.lease.Held() && c.lease.Backend().Name() == backend {
			return len(c.held)
		}
	}
	return -1
}

// Relays are silent, late, busy or dead by chance, many sessions at a time on
// two loops. Each session is served, since one relay is always well, and
// nothing stays.
func TestHedgesUnderLoadLeaveNothingBehind(t *testing.T) {
	smtptest.CheckDescriptors(t)
	var relays []*smtptest.Relay
	for range 3 {
		relays = append(relays, smtptest.Start(t, smtptest.Script{Raw: moody}))
	}
	relays = append(relays, smtptest.Start(t, smtptest.Script{}))
	r := newRig(t, relays[0].Addr(), relays[1].Addr(), relays[2].Addr(), relays[3].Addr())
	r.listener().Pool = hedgingPool(t, "pool", granularity, relays[0].Addr(), relays[1].Addr(), relays[2].Addr(), relays[3].Addr())
	r.listener().Pool.Timeouts.Greeting = 200 * time.Millisecond
	r.Workers = 2
	r.run()
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 25 {
				if err := r.greetedOnce(i%5 == 4); err != nil {
					t.Errorf("session %d of client %d: %v", i, worker, err)
					return
				}
			}
		})
	}
	all.Wait()
	r.idle()
	st := r.Stats()
	if st.Hedging != 0 || st.Hedged == 0 || st.Ends[NoBackend] != 0 {
		t.Errorf("%d sessions hedge, %d did, ends %v", st.Hedging, st.Hedged, st.Ends)
	}
	r.wantNoSlots()
}

// greetedOnce is a session that reads its greeting and quits, or one that
// leaves without a word.
func (r *rig) greetedOnce(leaves bool) error {
	c, err := smtptest.DialTimeout(r.addr.String(), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if leaves {
		return c.Conn().SetLinger(0)
	}
	if _, err := c.Greeting(); err != nil {
		return err
	}
	return c.Quit()
}

// moody greets after a while or not at all, and then obeys QUIT.
func moody(conn net.Conn) {
	var wait time.Duration
	greeting := "220-moody.test\r\n220 ready\r\n"
	switch rand.IntN(6) {
	case 0:
		return
	case 1:
		greeting = "421 4.3.2 " + strconv.Itoa(rand.IntN(100)) + "\r\n"
	case 2:
		wait = time.Hour
	case 3, 4:
		wait = time.Duration(rand.IntN(200)) * time.Millisecond
	}
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	if _, err := io.Copy(io.Discard, conn); err == nil && wait > 0 {
		return // the peer left first
	}
	_ = conn.SetReadDeadline(time.Time{})
	_, _ = io.WriteString(conn, greeting)
	b := make([]byte, 64)
	if n, _ := conn.Read(b); strings.HasPrefix(string(b[:n]), "QUIT") {
		_, _ = io.WriteString(conn, "221 bye\r\n")
	}
}
