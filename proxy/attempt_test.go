package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// What this machine cannot do is no evidence against a relay. The next one is
// asked all the same.
func TestOwnFaultIsNotTheRelays(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	for name, target := range map[string]Target{
		"source":    {Address: relay.Addr(), Source: netip.MustParseAddr("192.0.2.77")},
		"interface": {Address: relay.Addr(), Interface: "nowhere0"},
		"connect":   {Address: netip.MustParseAddrPort("[fe80::1%nowhere0]:25")}, // EINVAL
	} {
		r := newRig(t, relay.Addr(), relay.Addr())
		r.listener().Pool.Targets[0] = target
		h := r.byHand()
		c, _ := h.greeted()
		h.over(c, "a unreachable, b ok", 0, 0)
		if !r.told("backend a: " + name) {
			t.Errorf("OnError was told %v, want of a's %s", r.errs, name)
		}
	}
}

// A relay that was asked when the session's time had nearly run out is not
// blamed; one that had its own time is, however little that was.
func TestAttemptThatWasCutShortIsNotTheRelaysFault(t *testing.T) {
	for _, test := range []struct {
		name     string
		at       state
		timeouts Timeouts
		outcome  string
		failures int64
	}{
		{"greeting, cut short", stateGreet, Timeouts{Greeting: 10 * time.Second, SessionSetup: 2 * time.Second}, "greeting_timeout", 0},
		{"greeting", stateGreet, Timeouts{Greeting: 2 * time.Second, SessionSetup: 10 * time.Second}, "greeting_timeout", 1},
		{"connect, cut short", stateConnect, Timeouts{Connect: 10 * time.Second, SessionSetup: 2 * time.Second}, "connect_timeout", 0},
		{"connect", stateConnect, Timeouts{Connect: 2 * time.Second, SessionSetup: 10 * time.Second}, "connect_timeout", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := deafAddress
			if test.at == stateGreet {
				address = func(t *testing.T) netip.AddrPort {
					return smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent}).Addr()
				}
			}
			r := newRig(t, address(t))
			r.listener().Pool.Timeouts = test.timeouts
			h := r.byHand()
			conn := r.raw()
			h.reach(test.at)
			h.pass(3 * time.Second)
			want := fmt.Sprintf("421 4.3.2 lb.test no relay available: a %s; ", test.outcome)
			if got := readAll(t, conn); !strings.HasPrefix(got, want) {
				t.Errorf("read %q, want %q", got, want)
			}
			_ = conn.Close()
			h.until(h.gone, "the session is over")
			h.wantFailures(test.failures)
		})
	}
}
