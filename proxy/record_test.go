package proxy

import (
	"net"
	"strings"
	"testing"
	"time"

	"smtplb/balancer"
	"smtplb/internal/smtptest"
)

func TestRecordHasEverythingOfAGoodSession(t *testing.T) {
	refused := smtptest.Start(t, smtptest.Script{})
	refused.Stop()
	busy := smtptest.Start(t, smtptest.Script{Greeting: "421 4.3.2 busy\r\n"})
	good := smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
	r := newRig(t, refused.Addr(), busy.Addr(), good.Addr()).run()
	conn := r.raw()
	client := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	wantRead(t, conn, goodGreeting)
	send(t, conn, "NOOP\r\nQUIT\r\n")
	const replies = "250 2.0.0 ok\r\n221 2.0.0 bye\r\n"
	wantRead(t, conn, replies)
	_ = conn.Close()
	rec := r.ended(1)

	if len(rec.ID) != 16 || strings.Trim(rec.ID, "0123456789abcdef") != "" {
		t.Errorf("id %q, want 16 hexadecimal digits", rec.ID)
	}
	if rec.Setup <= 0 || rec.Setup > rec.Duration || rec.Greeting < 0 || rec.Greeting > rec.Setup {
		t.Errorf("greeting %v, setup %v, duration %v: want them in this order", rec.Greeting, rec.Setup, rec.Duration)
	}
	var sum time.Duration
	for _, a := range rec.Attempts {
		if a.Took < 0 {
			t.Errorf("attempt at %s took %v", a.Backend, a.Took)
		}
		sum += a.Took
	}
	if sum > rec.Setup {
		t.Errorf("the attempts took %v of a setup of %v", sum, rec.Setup)
	}
	if got, want := outcomes(rec), "a refused, b greeting_4xx, c ok"; got != want {
		t.Errorf("attempts %q, want %q", got, want)
	}
	if got := rec.Attempts[1].Reply; got != "421 4.3.2 busy" {
		t.Errorf("reply %q of the attempt that was refused", got)
	}
	if rec.End != ClientClosed && rec.End != BackendClosed { // after QUIT both close
		t.Errorf("end %v", rec.End)
	}
	want := Record{
		ID: rec.ID, Listener: "test", Client: client, Pool: "pool", Backend: "c", Site: "site-c", Tier: 2,
		GreetingCode: 220, BytesUp: 12, BytesDown: int64(len(goodGreeting) + len(replies)), End: rec.End,
	}
	rec.Attempts, rec.Greeting, rec.Setup, rec.Duration = nil, 0, 0, 0
	if !sameRecord(rec, want) {
		t.Errorf("recorded as\n%+v, want\n%+v", rec, want)
	}
}

// sameRecord compares all but the attempts.
func sameRecord(a, b Record) bool {
	a.Attempts, b.Attempts = nil, nil
	return a.ID == b.ID && a.Listener == b.Listener && a.Client == b.Client && a.Pool == b.Pool &&
		a.Backend == b.Backend && a.Site == b.Site && a.Tier == b.Tier && a.GreetingCode == b.GreetingCode &&
		a.BytesUp == b.BytesUp && a.BytesDown == b.BytesDown && a.End == b.End && a.Reason == b.Reason
}

func TestRefusalsRecordHasTheReasonAndIdThatTheClientRead(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.listener().Allow = nil
	r.run()
	got := readAll(t, r.raw())
	rec := r.ended(1)
	if want := "421 4.7.1 lb.test " + rec.Reason + " (session " + rec.ID + ")\r\n"; got != want || rec.Reason == "" {
		t.Errorf("read %q, recorded %q", got, want)
	}
	if rec.Setup < 0 || rec.Setup > rec.Duration {
		t.Errorf("setup %v, duration %v", rec.Setup, rec.Duration)
	}
}

func TestEverySessionHasAnIdOfItsOwn(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.Workers = 3
	r.run()
	const n = 60
	for range n {
		c := r.dial()
		wantGreeting(t, c, plainGreeting)
		c.Close()
	}
	ids := map[string]bool{}
	r.ended(n)
	for i := range n {
		ids[r.ended(i+1).ID] = true
	}
	if len(ids) != n {
		t.Errorf("%d ids for %d sessions", len(ids), n)
	}
}

// A session does not see what another one left in the record.
func TestRecordsDoNotMix(t *testing.T) {
	busy := smtptest.Start(t, smtptest.Script{Greeting: "450 4.7.1 no\r\n"})
	good := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, busy.Addr(), good.Addr()).run()
	for range 3 {
		c := r.dial()
		wantGreeting(t, c, plainGreeting)
		c.Close()
	}
	r.ended(3)
	busy.SetScript(smtptest.Script{})
	c := r.dial()
	wantGreeting(t, c, plainGreeting)
	c.Close()
	if got := outcomes(r.ended(4)); got != "a ok" {
		t.Errorf("attempts %q, want a alone", got)
	}
	if got := outcomes(r.ended(3)); got != "a greeting_4xx, b ok" {
		t.Errorf("attempts %q of the session before", got)
	}
}

func TestWordsOfTheEndsAreThoseOfTheLog(t *testing.T) {
	want := "client_closed backend_closed client_reset backend_reset idle drained denied client_limit no_backend shutdown"
	var words []string
	for e := range numEnds {
		words = append(words, e.String())
	}
	if got := strings.Join(words, " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := numEnds.String(); got != "unknown" {
		t.Errorf("an end that is none is %q", got)
	}
}

// A client that leaves before it is greeted is no evidence against the relay.
func TestClientThatLeavesIsNotTheRelaysFault(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent}).Addr())
	h := r.byHand()
	conn := r.raw()
	h.reach(stateGreet)
	resets(t, conn)
	h.until(h.gone, "the session is over")
	if b := r.listener().Pool.Balancer.Snapshot(h.now)[0]; b.Failures != 0 || b.Active != 0 || b.State != balancer.Up {
		t.Errorf("the relay is blamed: %+v", b)
	}
}
