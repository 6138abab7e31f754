package proxy

import (
	"io"
	"net"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// hears is a relay that greets when told to, and reports what it reads up to
// the client's end, with what it had read before it greeted.
type hears struct {
	*smtptest.Relay
	greet chan struct{}
	early chan int
	all   chan string
}

func startHears(t *testing.T) *hears {
	t.Helper()
	h := &hears{greet: make(chan struct{}), early: make(chan int, 1), all: make(chan string, 1)}
	h.Relay = smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		<-h.greet
		h.early <- received(conn.(*net.TCPConn))
		_, _ = io.WriteString(conn, plainGreeting)
		b, _ := io.ReadAll(conn)
		h.all <- string(b)
	}})
	return h
}

func TestEarlyBytesReachOneRelayOnceAndAfterItsGreeting(t *testing.T) {
	for _, first := range faults() {
		if first.Outcome == "ok" || first.Outcome == "greeting_timeout" {
			continue
		}
		t.Run("first relay "+first.Name, func(t *testing.T) {
			a, b := startFaulty(t, first), startHears(t)
			r := newRig(t, a.Addr(), b.Addr()).run()
			conn := r.raw()
			const early = "EHLO client.test\r\nMAIL FROM:<>\r\n"
			send(t, conn, early)
			smtptest.Eventually(t, patience, func() bool { return b.Connections() == 1 }, "the second relay is not asked")
			close(b.greet)
			if n := <-b.early; n != 0 {
				t.Errorf("%d bytes reached the relay before it had greeted", n)
			}
			wantRead(t, conn, plainGreeting)
			send(t, conn, "RSET\r\n")
			_ = conn.CloseWrite()
			if got := <-b.all; got != early+"RSET\r\n" {
				t.Errorf("the relay read %q, want %q", got, early+"RSET\r\n")
			}
			if rest := readAll(t, conn); rest != "" {
				t.Errorf("read %q after the greeting", rest)
			}
			wantEnd(t, r.ended(1), ClientClosed)
		})
	}
}

func TestEarlyGarbageIsTheRelaysToJudge(t *testing.T) {
	b := startHears(t)
	r := newRig(t, b.Addr()).run()
	garbage := strings.Repeat("\x00\xff\r\nPROXY ", 100<<10)
	close(b.greet)
	conn := r.raw()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, garbage)
		_ = conn.CloseWrite()
		sent <- err
	}()
	wantRead(t, conn, plainGreeting)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := <-b.all; got != garbage {
		t.Errorf("the relay read %d bytes, other ones than the %d that were sent", len(got), len(garbage))
	}
}

// nc -N and scripts close their half before anything came back.
func TestClientThatHalfClosesAtOnceGetsGreetingAndReplies(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	send(t, conn, "NOOP\r\nQUIT\r\n")
	_ = conn.CloseWrite()
	want := plainGreeting + "250 2.0.0 ok\r\n221 2.0.0 bye\r\n"
	if got := readAll(t, conn); got != want {
		t.Errorf("read %q, want %q", got, want)
	}
	rec := r.ended(1)
	wantEnd(t, rec, ClientClosed)
	if rec.BytesUp != 12 || rec.BytesDown != int64(len(want)) {
		t.Errorf("%d bytes up, %d down, want 12 and %d", rec.BytesUp, rec.BytesDown, len(want))
	}
}

func TestClientThatSaysNothingAndHalfClosesIsServed(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).run()
	conn := r.raw()
	_ = conn.CloseWrite()
	if got := readAll(t, conn); got != plainGreeting {
		t.Errorf("read %q, want the greeting", got)
	}
	wantEnd(t, r.ended(1), ClientClosed)
}

func TestClientThatResetsCostsNothing(t *testing.T) {
	silent := smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent})
	good := smtptest.Start(t, smtptest.Script{})
	for _, test := range []struct {
		name  string
		setup func(r *rig)
		at    state
		end   End
	}{
		{"in its PROXY header", func(r *rig) { r.listener().AcceptProxy = prefixes("127.0.0.0/8") }, stateHeader, ClientReset},
		{"while the relay is silent", func(r *rig) { r.listener().Pool.Targets[0].Address = silent.Addr() }, stateGreet, ClientReset},
		{"after the greeting", func(*rig) {}, stateRelaying, ClientReset},
		{"after it was refused", func(r *rig) { r.listener().Allow = nil }, stateLinger, Denied},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, good.Addr())
			test.setup(r)
			h := r.byHand()
			conn := r.raw()
			h.reach(test.at)
			resets(t, conn)
			h.until(h.gone, "the session is over")
			if rec := r.ended(1); rec.End != test.end || len(rec.Attempts) > 1 {
				t.Errorf("recorded as %+v, want end %v", rec, test.end)
			}
			if st := r.Stats(); st.Open != 0 || st.Descriptors != 0 {
				t.Errorf("%d sessions open, %d descriptors held", st.Open, st.Descriptors)
			}
		})
	}
}

// A relay that does not even answer the connection: the handshake waits in a
// listening queue that is full.
func TestClientThatResetsDuringConnectCostsNothing(t *testing.T) {
	r := newRig(t, deafAddress(t))
	h := r.byHand()
	conn := r.raw()
	h.reach(stateConnect)
	resets(t, conn)
	h.until(h.gone, "the session is over")
	wantEnd(t, r.ended(1), ClientReset)
}
