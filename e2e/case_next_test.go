package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// Case 3, for checks; TestChecksTakeARelayDownAndBringItBack has the other
// ways, TestNoFaultOfOneRelayIsSeenByAnyClient has all of them for sessions.
func TestCaseCheckOfARelayThatHangsUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault smtptest.Fault
		words string
	}{
		{"accepts, then FIN", smtptest.CloseAtOnce, "greeting: closed"},
		{"stops within the greeting", smtptest.HalfGreeting, "greeting: greeting_timeout"},
		{"accepts, then RST", smtptest.ResetAtOnce, ": reset"}, // it may come while the check connects
		{"drops what it is sent", smtptest.None, "connect: connect_timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			other := smtptest.Start(t, smtptest.Script{})
			relay := smtptest.Start(t, smtptest.Script{Fault: test.fault}).Addr()
			if test.fault == smtptest.None {
				relay = blackHole(t)
			}
			p := start(t, site{pool: quick, backends: []string{backend("relay", relay), backend("other", other.Addr())}})
			if line := p.waitState(t, "relay", "down", 1); !strings.HasSuffix(line.text("reason"), test.words) {
				t.Errorf("it is down: %s; want %q at the end", line.text("reason"), test.words)
			}
			if err := visit(p.address); err != nil {
				t.Error(err)
			}
			if got := p.only(t).asked(); got != "other:ok" {
				t.Errorf("a session asked %s, want other only", got)
			}
		})
	}
}

// patient is a pool that asks every relay to the end before it asks the next
// one, and never learns: its checks ask somebody else.
func patient(t *testing.T, setup time.Duration) string {
	t.Helper()
	health := smtptest.Start(t, smtptest.Script{})
	return fmt.Sprintf("timeouts: {connect: 1s, greeting: 500ms, session_setup: %v, hedge: off}\n"+
		"probe: {address: %q}\npassive: {failures: 1000}\n", setup, health.Addr())
}

// Case 9. Whatever a relay does instead of greeting, the next one is asked: of
// a tier three, then the next tier, and the rest only where that has nobody.
func TestCaseNextRelay(t *testing.T) {
	t.Parallel()
	faults := []smtptest.Script{
		{Greeting: "421 4.3.2 closing\r\n"}, {Greeting: "554 5.7.1 not you\r\n"}, {Fault: smtptest.Silent},
		{Fault: smtptest.CloseAtOnce}, {Greeting: "450 4.7.1 later\r\n"},
	}
	const first, rest = "a:greeting_4xx b:greeting_5xx c:greeting_timeout", "d:closed e:greeting_4xx"
	for _, test := range []struct {
		name    string
		standby smtptest.Script
		asked   string
		end     string
	}{
		{"the standby is well", smtptest.Script{}, first + " standby:ok", "backend_closed"},
		{"the standby is busy", smtptest.Script{Greeting: "421 4.3.2 closing\r\n"}, first + " standby:greeting_4xx " + rest, "no_backend"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var backends []string
			for n, script := range faults {
				backends = append(backends, backend(string("abcde"[n]), smtptest.Start(t, script).Addr()))
			}
			parked := smtptest.Start(t, smtptest.Script{})
			backends = append(backends, backend("parked", parked.Addr(), "weight: 0"))
			backends = append(backends, backend("standby", smtptest.Start(t, test.standby).Addr(), "priority: 1"))
			p := start(t, site{pool: patient(t, 30*time.Second), backends: backends})
			client := smtptest.Dial(t, p.address)
			code, text, err := client.ReadReply()
			if want := map[string]int{"backend_closed": 220, "no_backend": 421}[test.end]; err != nil || code != want {
				t.Errorf("the client reads %d %s, %v; want %d", code, text, err, want)
			}
			if code == 220 {
				if err := client.Quit(); err != nil {
					t.Error(err)
				}
			}
			if s := p.only(t); s.asked() != test.asked || s.End != test.end {
				t.Errorf("it asked %s and ended as %s, want %s, %s", s.asked(), s.End, test.asked, test.end)
			}
		})
	}
}

// Case 9, its end: a session's tries are bounded by its time too. Of ten relays
// that are silent for half a second each, two seconds are enough for four or so.
func TestCaseTriesAreBoundedByTime(t *testing.T) {
	t.Parallel()
	var backends []string
	for n := range 10 {
		relay := smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent})
		backends = append(backends, backend(fmt.Sprint("silent-", n), relay.Addr()))
	}
	p := start(t, site{pool: patient(t, 2*time.Second), backends: backends})
	if code, text := refusal(t, smtptest.Dial(t, p.address)); code != 421 || !strings.HasPrefix(text, "4.3.2 ") {
		t.Errorf("the client reads %d %s, want 421 4.3.2", code, text)
	}
	s := p.only(t)
	seen := map[string]bool{}
	for _, a := range s.Attempts {
		if seen[a.Backend] {
			t.Errorf("%s was asked twice: %s", a.Backend, s.asked())
		}
		seen[a.Backend] = true
	}
	if n := len(s.Attempts); n < 1 || n > 5 || s.End != "no_backend" {
		t.Errorf("%d attempts, end %s; want some, 5 at most, and no_backend: %s", n, s.End, s.asked())
	}
}

// Case 9, known to be down: whom a check has found dead is not asked, and does
// not use up one of the three tries.
func TestCaseDeadRelaysCostNoTry(t *testing.T) {
	t.Parallel()
	var backends []string
	for n := range 4 {
		backends = append(backends, backend(fmt.Sprint("dead-", n), freeAddress(t, "127.0.0.1")))
	}
	alive := smtptest.Start(t, smtptest.Script{GreetingDelay: 10 * time.Millisecond})
	standby := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{pool: quick, backends: append(backends, backend("alive", alive.Addr()), backend("standby", standby.Addr(), "priority: 1"))})
	for n := range 4 {
		p.waitState(t, fmt.Sprint("dead-", n), "down", 1)
	}
	for range 10 {
		if err := visit(p.address); err != nil {
			t.Error(err)
		}
	}
	for _, s := range p.sessions(t, 10) {
		if s.asked() != "alive:ok" {
			t.Errorf("a session asked %s, want alive only", s.asked())
		}
	}
}
