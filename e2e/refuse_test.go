package e2e

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// dialFrom connects from another address of the loopback.
func dialFrom(t *testing.T, from, address string) *smtptest.Client {
	t.Helper()
	client, err := smtptest.DialFrom(netip.MustParseAddr(from), address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// Who may not connect is told so in the way that the file asks for, and by
// default in the one that keeps its mail.
func TestNobodyGetsInWhoIsNotNamed(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, listener, reply string }{
		{"not on allow", "allow: [127.0.0.1]", "421 4.7.1 vip.test 127.0.0.2 is not allowed"},
		{"on deny", "allow: [127.0.0.0/8], deny: [127.0.0.2]", "421 4.7.1 vip.test 127.0.0.2 is not allowed"},
		{"554", "allow: [127.0.0.1], denied_reply: 554", "554 5.7.1 vip.test 127.0.0.2 is not allowed"},
		{"drop", "allow: [127.0.0.1], denied_reply: drop", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			relay := smtptest.Start(t, smtptest.Script{})
			p := start(t, site{listener: "hostname: vip.test, " + test.listener, backends: []string{backend("relay-a", relay.Addr())}})
			stranger := dialFrom(t, "127.0.0.2", p.address)
			if err := stranger.Conn().SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(stranger.Conn())
			if err != nil || !strings.HasPrefix(string(text), test.reply) || test.reply == "" && len(text) > 0 {
				t.Errorf("the stranger read %q, %v; want %q and the end", text, err, test.reply)
			}
			if s := p.only(t); s.End != "denied" || s.Reason == "" || len(s.Attempts) > 0 {
				t.Errorf("its session ended as %s, reason %q, asked %q", s.End, s.Reason, s.asked())
			}
			if err := dialFrom(t, "127.0.0.1", p.address).Send(smtptest.Outgoing{ID: "m1", Size: 1000}); err != nil {
				t.Errorf("the client that is allowed: %v", err)
			}
		})
	}
}

// The first route that holds the client names the pool.
func TestRoutesGoByTheClientsAddress(t *testing.T) {
	t.Parallel()
	main, second := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p := start(t, site{
		listener: "routes: [{from: [127.0.0.2], pool: second}, {from: [127.0.0.0/30], pool: out}]",
		backends: []string{backend("relay-a", main.Addr())},
		rest:     "  - name: second\n    backends: [" + backend("relay-b", second.Addr()) + "]\n",
	})
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"} {
		if err := dialFrom(t, from, p.address).Send(smtptest.Outgoing{ID: from, Size: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	if got := second.Messages(); len(got) != 1 || got[0].ID != "127.0.0.2" || main.MessageCount() != 3 {
		t.Errorf("the second pool got %d messages, the first %d; want that of 127.0.0.2 alone, and 3", len(got), main.MessageCount())
	}
}

// Over a limit the client is told to come again, and may as soon as there is room.
func TestLimitsAreTemporary(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, listener, reason string }{
		{"of the listener", "max_sessions: 2", "too many sessions (session"},
		{"of one client", "max_sessions_per_client: 2", "too many sessions from 127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			relay := smtptest.Start(t, smtptest.Script{})
			p := start(t, site{listener: test.listener, backends: []string{backend("relay-a", relay.Addr())}})
			var in []*smtptest.Client
			for range 2 {
				client := smtptest.Dial(t, p.address)
				if _, err := client.Greeting(); err != nil {
					t.Fatal(err)
				}
				in = append(in, client)
			}
			code, text := refusal(t, smtptest.Dial(t, p.address))
			if code != 421 || !strings.HasPrefix(text, "4.7.0 ") || !strings.Contains(text, test.reason) {
				t.Errorf("one too many reads %d %s, want 421 4.7.0 and %q", code, text, test.reason)
			}
			if s := p.only(t); s.End != "client_limit" {
				t.Errorf("its session ended as %s", s.End)
			}
			if test.listener == "max_sessions_per_client: 2" {
				if err := dialFrom(t, "127.0.0.2", p.address).Send(smtptest.Outgoing{ID: "m1", Size: 1000}); err != nil {
					t.Errorf("another client: %v", err)
				}
			}
			if err := in[0].Quit(); err != nil {
				t.Error(err)
			}
			p.waitLine(t, "session", func(l logLine) bool { return l.text("client") == in[0].Conn().LocalAddr().String() })
			if err := visit(p.address); err != nil {
				t.Errorf("when there is room again: %v", err)
			}
		})
	}
}
