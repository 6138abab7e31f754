package proxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"smtplb/balancer"
	"smtplb/internal/smtptest"
)

const goodGreeting = "220-relay-b.test ESMTP\r\n220 at your service\r\n"

// faults are the ways in which a relay greets badly, and the unusual ways of
// greeting well; "refused" is a relay that does not run.
func faults() []smtptest.FaultCase {
	return append(smtptest.Faults(),
		smtptest.FaultCase{Name: "refused", Outcome: "refused"},
		smtptest.FaultCase{Name: "teaser_550", Script: smtptest.Script{Greeting: "220-wait\r\n550 5.7.1 go away\r\n"}, Outcome: "greeting_5xx"},
		smtptest.FaultCase{Name: "teaser_only", Script: smtptest.Script{Greeting: "220-wait\r\n"}, Outcome: "greeting_timeout"},
	)
}

func startFaulty(t *testing.T, f smtptest.FaultCase) *smtptest.Relay {
	t.Helper()
	relay := smtptest.Start(t, f.Script)
	if f.Name == "refused" {
		relay.StopListening()
	}
	return relay
}

func TestNoFaultOfOneRelayIsSeenByTheClient(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a, b := startFaulty(t, f), smtptest.Start(t, smtptest.Script{Greeting: goodGreeting})
			r := newRig(t, a.Addr(), b.Addr()).run()
			want, wantBackend, wantAttempts, wantB := goodGreeting, "b", "a "+f.Outcome+", b ok", 1
			if f.Outcome == "ok" {
				want, wantBackend, wantAttempts, wantB = f.Script.Greeting, "a", "a ok", 0
				if want == "" {
					want = plainGreeting
				}
			}
			c := r.dial()
			wantGreeting(t, c, want)
			if err := c.Send(smtptest.Outgoing{ID: f.Name, Size: 4096}); err != nil {
				t.Fatal(err)
			}
			if err := c.Quit(); err != nil {
				t.Fatal(err)
			}
			rec := r.ended(1)
			if got := outcomes(rec); got != wantAttempts || rec.Backend != wantBackend || rec.GreetingCode != 220 {
				t.Errorf("attempts %q, backend %q, code %d, want %q, %q, 220",
					got, rec.Backend, rec.GreetingCode, wantAttempts, wantBackend)
			}
			if a.Connections() > 1 || b.Connections() != wantB {
				t.Errorf("%d and %d connections to the relays, want at most 1 and %d", a.Connections(), b.Connections(), wantB)
			}
		})
	}
}

// The reply is one whole line and then the end, not a reset, also for a client
// that has spoken before it was greeted.
func TestClientReads421WhenEveryRelayIsFaulty(t *testing.T) {
	for _, f := range faults() {
		if f.Outcome == "ok" {
			continue
		}
		for _, early := range []string{"", "EHLO client.test\r\nQUIT\r\n", strings.Repeat("garbage ", 8<<10)} {
			t.Run(fmt.Sprintf("%s, %d bytes early", f.Name, len(early)), func(t *testing.T) {
				t.Parallel()
				a, b := startFaulty(t, f), startFaulty(t, f)
				r := newRig(t, a.Addr(), b.Addr())
				if f.Outcome == "greeting_timeout" {
					r.listener().Pool.Timeouts.Greeting = 200 * time.Millisecond
				}
				r.run()
				conn := r.raw()
				send(t, conn, early)
				got := readAll(t, conn)
				rec := r.ended(1)
				want := fmt.Sprintf("421 4.3.2 lb.test no relay available: a %s, b %s; each was tried (session %s)\r\n",
					f.Outcome, f.Outcome, rec.ID)
				if got != want || len(got) > maxReply {
					t.Errorf("read %q, want %q", got, want)
				}
				wantEnd(t, rec, NoBackend)
				if rec.Backend != "" || rec.GreetingCode != 0 || rec.BytesUp != 0 || rec.BytesDown != 0 {
					t.Errorf("a session without a relay is recorded as %+v", rec)
				}
				if a.Connections() > 1 || b.Connections() > 1 {
					t.Errorf("%d and %d connections, want each relay at most once", a.Connections(), b.Connections())
				}
			})
		}
	}
}

func TestManyBackendNamesStillFitIntoOneReplyLine(t *testing.T) {
	down := smtptest.Start(t, smtptest.Script{})
	down.Stop()
	r := newRig(t, repeat(down.Addr(), 26)...)
	r.listener().Hostname = strings.Repeat("long-host.", 20) + "test"
	r.run()
	got := readAll(t, r.raw())
	if len(got) != maxReply || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "... (session "+r.ended(1).ID+")\r\n") {
		t.Errorf("read %d bytes %q, want one line of 512 that ends with the session", len(got), got)
	}
}

func repeat[T any](v T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = v
	}
	return all
}

// Each silent relay costs its time; all of them together cost no more than
// session_setup.
func TestManySilentRelaysDoNotHoldTheClientForever(t *testing.T) {
	silent := smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent})
	r := newRig(t, repeat(silent.Addr(), 20)...)
	r.listener().Pool.Timeouts = Timeouts{Greeting: 200 * time.Millisecond, SessionSetup: 500 * time.Millisecond}
	r.run()
	got := readAll(t, r.raw())
	rec := r.ended(1)
	if !strings.HasPrefix(got, "421 4.3.2 ") || !strings.Contains(got, "; out of time (session "+rec.ID) {
		t.Errorf("read %q, want 421 out of time", got)
	}
	// 200 ms, 200 ms and what is left of 500 ms; fewer on a machine that is slow.
	if n := len(rec.Attempts); n < 1 || n > 3 {
		t.Errorf("%d relays were asked, want 1 to 3", n)
	}
}

// A greeting that is refused is in the record, for people.
func TestRefusedGreetingIsRecorded(t *testing.T) {
	a := smtptest.Start(t, smtptest.Script{Greeting: "450-4.7.1 no\xff\r\n450 at all\r\n"})
	b := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, a.Addr(), b.Addr()).run()
	c := r.dial()
	wantGreeting(t, c, plainGreeting)
	c.Close()
	if got, want := r.ended(1).Attempts[0].Reply, "450-4.7.1 no?"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// The reason says why there was no relay to ask.
func TestReasonsWithoutARelayAreTold(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	for _, test := range []struct {
		name, want string
		backend    balancer.BackendConfig
		down       bool
	}{
		{"down", "none is up", balancer.BackendConfig{Name: "a", Weight: 1}, true},
		{"no weight", "none is up", balancer.BackendConfig{Name: "a"}, false},
		{"full", "all are at max_sessions", balancer.BackendConfig{Name: "a", Weight: 1, MaxSessions: 1}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := balancer.New(balancer.Config{Name: "pool", Fall: 1, Backends: []balancer.BackendConfig{test.backend}})
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, relay.Addr())
			r.listener().Pool.Balancer = b
			r.run()
			if test.down {
				b.Probe(time.Now(), 0, balancer.VerdictFailed, "test")
			}
			lease, _ := b.Acquire(time.Now(), nil) // fills the one that has room for one
			defer lease.Release(time.Now())
			want := "421 4.3.2 lb.test no relay available: " + test.want + " (session "
			if got := readAll(t, r.raw()); !strings.HasPrefix(got, want) {
				t.Errorf("read %q, want %q", got, want)
			}
		})
	}
}

// A relay that greets and closes at once is passed on as it is: the greeting,
// then the end.
func TestGreetingOfARelayThatClosesAtOnceArrives(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		_, _ = io.WriteString(conn, goodGreeting+"421 too busy\r\n")
	}})
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	if got := readAll(t, conn); got != goodGreeting+"421 too busy\r\n" {
		t.Errorf("read %q", got)
	}
	_ = conn.Close()
	wantEnd(t, r.ended(1), BackendClosed)
}
