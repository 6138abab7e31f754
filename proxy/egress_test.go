package proxy

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// transparently has backend a of a rig be reached from the client's address, and
// tells whether this process may do that.
func transparently(t *testing.T, r *rig) (may bool) {
	t.Helper()
	a := &r.listener().Pool.Targets[0]
	a.Transparent = true
	err := a.Try()
	if err != nil && !errors.Is(err, os.ErrPermission) {
		t.Fatal(err)
	}
	return err == nil
}

// The relay sees who the client is: the peer, or whom its PROXY header names.
// Where the right is missing, that is said, and another relay serves.
func TestTransparentRelaySeesTheClient(t *testing.T) {
	for _, test := range []struct {
		name, header, want string
	}{
		{"the peer", "", "127.0.0.2"},
		{"whom the header names", "PROXY TCP4 127.0.0.77 192.0.2.25 40000 25\r\n", "127.0.0.77"},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := make(chan smtptest.Message, 1)
			a := smtptest.Start(t, smtptest.Script{OnMessage: func(m smtptest.Message) { seen <- m }})
			b := smtptest.Start(t, smtptest.Script{})
			r := newRig(t, a.Addr(), b.Addr())
			may := transparently(t, r)
			if test.header != "" {
				r.listener().AcceptProxy = prefixes("127.0.0.2/32")
			}
			r.run()
			client := r.dialFrom("127.0.0.2")
			send(t, client.Conn(), test.header)
			err := client.Send(smtptest.Outgoing{From: "a@example.org", To: []string{"b@example.org"}, ID: "1"})
			client.Close()
			if err != nil {
				t.Fatal(err)
			}
			if !may {
				if got := outcomes(r.ended(1)); got != "a unreachable, b ok" || !r.told("needs the capability CAP_NET_RAW or CAP_NET_ADMIN") {
					t.Errorf("attempts %q, told %v", got, r.errs)
				}
				return
			}
			if m := <-seen; m.Peer.Addr().String() != test.want {
				t.Errorf("the relay sees %s, want %s", m.Peer, test.want)
			}
		})
	}
}

// One client may have many sessions at once on one relay: ports are chosen by
// both ends.
func TestTransparentClientHasManySessionsAtOnce(t *testing.T) {
	const sessions = 50
	a := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, a.Addr())
	if !transparently(t, r) {
		return // the other test has said what comes then
	}
	r.run()
	for range sessions {
		wantGreeting(t, r.dialFrom("127.0.0.2"), "220 relay.test ESMTP\r\n")
	}
	if n := a.Active(); n != sessions {
		t.Errorf("%d connections at the relay, want %d", n, sessions)
	}
}

// A relay that a client's address cannot reach is another client's: it is not
// asked, and not blamed.
func TestTransparentRelayIsNotForEveryClient(t *testing.T) {
	b := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, netip.MustParseAddrPort("[2001:db8::25]:25"), b.Addr())
	r.listener().Pool.Targets[0].Transparent = true
	h := r.byHand()
	c, _ := h.greeted()
	h.over(c, "a unreachable, b ok", 0, 0)
	if !r.told("backend a: " + errFamily.Error()) {
		t.Errorf("OnError was told %v", r.errs)
	}
}

func TestWhoseAddressARelayCanAnswerTo(t *testing.T) {
	for _, test := range []struct {
		relay, client string
		want          error
	}{
		{"192.0.2.25:25", "192.0.2.1", nil},
		{"[2001:db8::25]:25", "2001:db8::1", nil},
		{"[::ffff:192.0.2.25]:25", "192.0.2.1", nil},
		{"127.0.0.1:25", "127.0.0.1", nil},
		{"192.0.2.25:25", "2001:db8::1", errFamily},
		{"[2001:db8::25]:25", "192.0.2.1", errFamily},
		{"192.0.2.25:25", "192.0.2.25", errItself},
		{"192.0.2.25:25", "0.0.0.0", errNoAnswer},
		{"[2001:db8::25]:25", "::", errNoAnswer},
		{"[2001:db8::25]:25", "fe80::1", errNoAnswer},
		{"192.0.2.25:25", "224.0.0.1", errNoAnswer},
	} {
		target := Target{Address: netip.MustParseAddrPort(test.relay), Transparent: true}
		if err := target.cannotActFor(netip.MustParseAddr(test.client)); !errors.Is(err, test.want) {
			t.Errorf("%s for %s: %v, want %v", test.relay, test.client, err, test.want)
		}
	}
	if err := new(Target).cannotActFor(netip.Addr{}); !errors.Is(err, errNoAnswer) {
		t.Errorf("no client: %v", err)
	}
}

func TestTargetsThatCannotWork(t *testing.T) {
	relay := netip.MustParseAddrPort("192.0.2.25:25")
	for _, test := range []struct {
		target Target
		want   string
	}{
		{Target{Address: relay, Source: netip.MustParseAddr("192.0.2.1"), Interface: "eth0", Mark: 1}, ""},
		{Target{Address: relay, Transparent: true, Interface: "eth0", Mark: 1, ProxyProtocol: 2}, ""},
		{Target{Address: relay, Source: netip.MustParseAddr("192.0.2.1"), Transparent: true}, "source 192.0.2.1 and transparent exclude each other"},
		{Target{Address: relay, Source: netip.MustParseAddr("2001:db8::1")}, "source 2001:db8::1 is not of the family of 192.0.2.25"},
		{Target{}, "invalid AddrPort is not an address with a port"},
		{Target{Address: relay, ProxyProtocol: 3}, "PROXY version 3 is not 0, 1 or 2"},
	} {
		switch err := test.target.Check(); {
		case err == nil && test.want != "", err != nil && err.Error() != test.want:
			t.Errorf("%+v: %v, want %q", test.target, err, test.want)
		}
	}
}

// What this machine lacks is known before there are sessions.
func TestTryFindsWhatThisMachineLacks(t *testing.T) {
	relay := netip.MustParseAddrPort("192.0.2.25:25")
	for _, test := range []struct {
		target Target
		want   string
	}{
		{Target{Address: relay}, ""},
		{Target{Address: relay, Source: netip.MustParseAddr("127.0.0.1")}, ""},
		{Target{Address: relay, Interface: "lo"}, ""},
		{Target{Address: relay, Source: netip.MustParseAddr("192.0.2.77")}, "source 192.0.2.77: this machine has no such address: cannot assign requested address"},
		{Target{Address: relay, Interface: "nowhere0"}, "interface nowhere0: this machine has no such interface: no such device"},
		{Target{Address: relay, Mark: 7}, "fwmark 7: needs the capability CAP_NET_RAW or CAP_NET_ADMIN: operation not permitted"},
		{Target{Address: relay, Transparent: true}, "transparent: needs the capability CAP_NET_RAW or CAP_NET_ADMIN: operation not permitted"},
	} {
		err := test.target.Try()
		switch {
		case err == nil && strings.Contains(test.want, "CAP_NET_ADMIN"): // this process has it
		case err == nil && test.want != "", err != nil && err.Error() != test.want:
			t.Errorf("%+v: %v, want %q", test.target, err, test.want)
		case err != nil && errors.Is(err, os.ErrPermission) != strings.Contains(test.want, "CAP_NET_ADMIN"):
			t.Errorf("%v: is a permission's: %v", err, errors.Is(err, os.ErrPermission))
		}
	}
}

// Every session meets what this machine lacks; one says it.
func TestComplaintIsMadeOnceInAWhile(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr(), relay.Addr())
	r.listener().Pool.Targets[0].Source = netip.MustParseAddr("192.0.2.77")
	h := r.byHand()
	sessions := func(n int) {
		for range n {
			c, _ := h.greeted()
			c.Close()
			h.until(h.gone, "the session is over")
			h.pass(2 * time.Second) // past the limit of one error a second
		}
	}
	sessions(3)
	if len(r.errs) != 1 {
		t.Errorf("%d complaints of 3 sessions, want 1: %v", len(r.errs), r.errs)
	}
	h.pass(complainAgain)
	sessions(3)
	if len(r.errs) != 2 {
		t.Errorf("%d complaints after a while, want 2: %v", len(r.errs), r.errs)
	}
}

// What one fault kept from being told is told by the next session.
func TestComplaintThatWasNotHeardIsMadeAgain(t *testing.T) {
	var c complaints
	what := complaint{&Target{}, "a fault"}
	if !c.news(what, 0) || c.news(what, 1) {
		t.Error("want it told once")
	}
	c.forget(what)
	if !c.news(what, 2) {
		t.Error("want it told, as it was not heard")
	}
	for range 2 * maxComplaints {
		c.news(complaint{&Target{}, "a fault"}, 3)
	}
	if n := len(c.told); n > maxComplaints {
		t.Errorf("%d are remembered, want %d at most", n, maxComplaints)
	}
}
