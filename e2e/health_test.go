package e2e

import (
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// Checks find out that a relay is gone, without any session, and say why; and
// that it is back.
func TestChecksTakeARelayDownAndBringItBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		injure func(*smtptest.Relay)
		state  string
		reason string
		back   string
	}{
		{"refused", (*smtptest.Relay).Stop, "down", "2 failed checks in a row, last: connect: refused", "2 good checks in a row"},
		{"554", func(r *smtptest.Relay) { r.SetScript(smtptest.Script{Greeting: "554 5.3.2 no\r\n"}) },
			"down", "2 failed checks in a row, last: greeting: 554 5.3.2 no", "2 good checks in a row"},
		{"silent", func(r *smtptest.Relay) { r.SetScript(smtptest.Script{Fault: smtptest.Silent}) },
			"down", "2 failed checks in a row, last: greeting: greeting_timeout", "2 good checks in a row"},
		{"421", func(r *smtptest.Relay) { r.SetScript(smtptest.Script{Greeting: "421 4.3.2 later\r\n"}) },
			"busy", "1 check, last: greeting: 421 4.3.2 later", "1 good check"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			relayA, relayB := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
			p := start(t, site{pool: quick, backends: []string{backend("relay-a", relayA.Addr()), backend("relay-b", relayB.Addr())}})
			smtptest.Eventually(t, patience, func() bool { return relayA.Connections() > 0 }, "a first check")

			test.injure(relayA)
			away := p.waitState(t, "relay-a", test.state, 1)
			if away.text("from") != "up" || away.text("level") != "warn" || away.text("pool") != "out" || away.text("reason") != test.reason {
				t.Errorf("line of the fall: %v, want the reason %s", away, test.reason)
			}
			for n := range 4 {
				if err := visit(p.address); err != nil {
					t.Fatal(err)
				}
				if s := p.sessions(t, n+1)[n]; s.asked() != "relay-b:ok" {
					t.Errorf("a session asked %s, though relay-a is known to be %s", s.asked(), test.state)
				}
			}

			relayA.SetScript(smtptest.Script{})
			if err := relayA.Restart(); err != nil {
				t.Fatal(err)
			}
			up := p.waitState(t, "relay-a", "up", 1)
			if up.text("from") != test.state || up.text("level") != "info" || up.text("reason") != test.back {
				t.Errorf("line of the return: %v", up)
			}
			for n := range 20 {
				if err := visit(p.address); err != nil {
					t.Fatal(err)
				}
				p.sessions(t, 4+n+1) // one at a time
			}
			if n := shares(p.sessions(t, 24)[4:])["relay-a"]; n < 8 || n > 12 {
				t.Errorf("after the return relay-a got %d of 20 sessions, want half, and not what it missed", n)
			}
		})
	}
}

// postscreen and many others greet on several lines. That is no illness.
func TestMultiLineGreetingIsHealthy(t *testing.T) {
	t.Parallel()
	const greeting = "220-relay.test ESMTP\r\n220-no spam here\r\n220 ready\r\n"
	relay := smtptest.Start(t, smtptest.Script{Greeting: greeting})
	p := start(t, site{pool: quick, backends: []string{backend("relay-a", relay.Addr())}})
	smtptest.Eventually(t, patience, func() bool { return relay.Connections() >= 6 }, "six checks")
	client := smtptest.Dial(t, p.address)
	if got, err := client.Greeting(); err != nil || got != greeting {
		t.Errorf("the client read %q, %v; want the greeting verbatim", got, err)
	}
	if lines := p.logged(t, "backend"); len(lines) > 0 {
		t.Errorf("changes of state: %v, want none", lines)
	}
}

// The second tier works while no relay of the first is up, and no longer.
func TestSecondTierOnlyWhileTheFirstIsDown(t *testing.T) {
	t.Parallel()
	first, other, second := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p := start(t, site{pool: quick, backends: []string{
		backend("first", first.Addr()), backend("other", other.Addr()), backend("second", second.Addr(), "priority: 1", "site: dr"),
	}})
	ended := 0
	served := func(want string) {
		t.Helper()
		for range 6 {
			if err := visit(p.address); err != nil {
				t.Fatal(err)
			}
			ended++
			s := p.sessions(t, ended)[ended-1]
			if !strings.Contains(want, s.Backend) || (s.Tier == 1) != (s.Backend == "second") {
				t.Errorf("session %d on %s, tier %d; want one of %s", ended, s.Backend, s.Tier, want)
			}
		}
	}
	served("first, other")
	first.Stop()
	p.waitState(t, "first", "down", 1)
	served("other")
	other.Stop()
	p.waitState(t, "other", "down", 1)
	served("second")
	if err := first.Restart(); err != nil {
		t.Fatal(err)
	}
	p.waitState(t, "first", "up", 1)
	served("first")
}
