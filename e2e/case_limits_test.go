package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// Case 16. Each relay takes no more than it may; what is too much goes to the
// next tier, and when that is full too the client is told at once, for there
// is no queue; as soon as one leaves there is room.
func TestCaseFullRelaysSpill(t *testing.T) {
	t.Parallel()
	p := start(t, site{listener: "hostname: vip.test", pool: "timeouts: {hedge: off}", backends: []string{
		backend("a", named(t, "a").Addr(), "max_sessions: 2"),
		backend("b", named(t, "b").Addr(), "max_sessions: 2"),
		backend("standby", named(t, "standby").Addr(), "priority: 1, max_sessions: 1"),
	}})
	got := map[string]int{}
	var first *smtptest.Client
	var left string
	for n := range 5 {
		client, relay := open(t, p)
		got[relay]++
		if n == 0 {
			first, left = client, relay
		}
		if n < 4 && relay == "standby" {
			t.Errorf("session %d is on the standby though there is room", n)
		}
	}
	if got["a"] != 2 || got["b"] != 2 || got["standby"] != 1 {
		t.Errorf("five held sessions: %v, want 2, 2 and 1", got)
	}
	code, text := refusal(t, smtptest.Dial(t, p.address))
	if code != 421 || !strings.HasPrefix(text, "4.3.2 vip.test ") {
		t.Errorf("one too many reads %d %s, want 421 4.3.2", code, text)
	}
	if s := p.only(t); s.End != "no_backend" || len(s.Attempts) != 0 {
		t.Errorf("its session ended as %s, asked %q; want no_backend and nobody", s.End, s.asked())
	}
	leave(t, p, first)
	if _, relay := open(t, p); relay != left {
		t.Errorf("the next one is on %s, want %s, where there is room", relay, left)
	}
}

// Case 16. A limit counts more than a weight: what the heavy relay may not take
// goes to the light one, as long as it has room.
func TestCaseLimitBeforeWeight(t *testing.T) {
	t.Parallel()
	p := start(t, site{pool: "timeouts: {hedge: off}", backends: []string{
		backend("heavy", named(t, "heavy").Addr(), "weight: 100, max_sessions: 3"),
		backend("light", named(t, "light").Addr(), "weight: 1"),
	}})
	if got := burst(t, p, 20, nil); got["heavy"] != 3 || got["light"] != 17 {
		t.Errorf("20 sessions at once: %v, want 3 on heavy", got)
	}
}

// Case 18. Sessions that run when their relay is found dead go on to their end;
// only new ones go elsewhere.
func TestCaseSessionsOutliveTheirRelaysFall(t *testing.T) {
	t.Parallel()
	hq, dr := named(t, "hq"), named(t, "dr")
	p := start(t, site{pool: quick, backends: []string{backend("hq", hq.Addr()), backend("dr", dr.Addr(), "priority: 1")}})
	client, _ := open(t, p)
	hq.StopListening()
	p.waitState(t, "hq", "down", 1)
	p.waitLine(t, "failover", nil)
	other, relay := open(t, p)
	if relay != "dr" {
		t.Errorf("a new session is on %s", relay)
	}
	leave(t, p, other)
	if err := client.Send(smtptest.Outgoing{ID: "m1", Size: 1000}); err != nil {
		t.Errorf("the session that ran: %v", err)
	}
	leave(t, p, client)
	if hq.MessageCount() != 1 || dr.MessageCount() != 0 {
		t.Errorf("hq has %d messages, dr %d; want it at hq", hq.MessageCount(), dr.MessageCount())
	}
	if s := p.sessions(t, 2)[1]; s.Backend != "hq" || s.End != "backend_closed" {
		t.Errorf("its line says %s, %s", s.Backend, s.End)
	}
}

// Case 20. Relays are checked at another port of theirs. What the checks say
// counts, and sessions go where they went before.
func TestCaseCheckedAtAnotherPort(t *testing.T) {
	t.Parallel()
	health := onePort(t, "127.0.0.21", "127.0.0.22")
	var relays [2]*smtptest.Relay
	var backends []string
	for n := range relays {
		relay, err := smtptest.Listen(fmt.Sprintf("127.0.0.%d:0", 21+n), smtptest.Script{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(relay.Close)
		relays[n] = relay
		backends = append(backends, backend(fmt.Sprint("relay-", n), relay.Addr()))
	}
	address := fmt.Sprintf("probe: {address: \":%d\", ", health[0].Addr().Port())
	p := start(t, site{pool: strings.Replace(quick, "probe: {", address, 1), backends: backends})
	sent := 0
	send := func(count int, want string) {
		t.Helper()
		for range count {
			m := smtptest.Outgoing{ID: fmt.Sprint("m", sent), Size: 1000}
			client := smtptest.Dial(t, p.address)
			if err := client.Send(m); err != nil {
				t.Error(err)
			}
			leave(t, p, client)
			sent++
			if s := p.sessions(t, sent)[sent-1]; !strings.Contains(want, s.asked()) {
				t.Errorf("a session asked %s, want %s", s.asked(), want)
			}
		}
	}
	send(6, "relay-0:ok, relay-1:ok")
	health[1].Stop()
	p.waitState(t, "relay-1", "down", 1)
	send(6, "relay-0:ok")
	if err := health[1].Restart(); err != nil {
		t.Fatal(err)
	}
	p.waitState(t, "relay-1", "up", 1)
	send(6, "relay-0:ok, relay-1:ok")
	if a, b := relays[0].MessageCount(), relays[1].MessageCount(); a+b != sent || b != 6 {
		t.Errorf("the relays have %d and %d messages, want %d and 6", a, b, sent-6)
	}
	if n := relays[0].Connections() + relays[1].Connections(); n != sent {
		t.Errorf("%d connections to the ports for mail, want the %d sessions", n, sent)
	}
	if n := health[0].MessageCount() + health[1].MessageCount(); n != 0 {
		t.Errorf("%d messages went to the port for checks", n)
	}
}

// onePort starts healthy relays on several addresses, at the same port.
func onePort(t *testing.T, hosts ...string) []*smtptest.Relay {
	t.Helper()
	var last error
	for range 20 {
		var relays []*smtptest.Relay
		port := "0"
		for _, host := range hosts {
			relay, err := smtptest.Listen(net.JoinHostPort(host, port), smtptest.Script{})
			if last = err; err != nil {
				break
			}
			t.Cleanup(relay.Close)
			relays = append(relays, relay)
			port = fmt.Sprint(relay.Addr().Port())
		}
		if len(relays) == len(hosts) {
			return relays
		}
	}
	t.Fatalf("no port is free on all of %v: %v", hosts, last)
	return nil
}
