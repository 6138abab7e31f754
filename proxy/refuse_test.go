package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

func TestNobodyIsLetInWhoIsNotAllowed(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	for _, test := range []struct {
		name        string
		listen      string
		client      string
		allow, deny []netip.Prefix
		reply       DeniedReply
		want        string // what the client reads before the session's id; "": the greeting
	}{
		{name: "allowed", client: "127.0.0.2", allow: prefixes("127.0.0.2/32")},
		{name: "not allowed", client: "127.0.0.3", allow: prefixes("127.0.0.2/32"),
			want: "421 4.7.1 lb.test 127.0.0.3 is not allowed to connect here"},
		{name: "nobody is, by default", client: "127.0.0.2",
			want: "421 4.7.1 lb.test 127.0.0.2 is not allowed to connect here"},
		{name: "554", client: "127.0.0.3", reply: Denied554,
			want: "554 5.7.1 lb.test 127.0.0.3 is not allowed to connect here"},
		{name: "deny beats allow", client: "127.0.0.3", allow: prefixes("127.0.0.0/8"), deny: prefixes("127.0.0.3/32"),
			want: "421 4.7.1 lb.test 127.0.0.3 is not allowed to connect here"},
		{name: "deny of others", client: "127.0.0.2", allow: prefixes("127.0.0.0/8"), deny: prefixes("127.0.0.3/32")},
		{name: "IPv4 on an IPv6 wildcard", listen: "[::]:0", client: "127.0.0.2", allow: prefixes("127.0.0.2/32")},
		{name: "IPv4 on an IPv6 wildcard, not allowed", listen: "[::]:0", client: "127.0.0.3", allow: prefixes("127.0.0.2/32"),
			want: "421 4.7.1 lb.test 127.0.0.3 is not allowed to connect here"},
		{name: "IPv4 is not in ::/0", listen: "[::]:0", client: "127.0.0.3", allow: prefixes("::/0"),
			want: "421 4.7.1 lb.test 127.0.0.3 is not allowed to connect here"},
		{name: "IPv6", listen: "[::1]:0", client: "::1", allow: prefixes("::1/128")},
		{name: "IPv6, not allowed", listen: "[::1]:0", client: "::1", allow: prefixes("0.0.0.0/0"),
			want: "421 4.7.1 lb.test ::1 is not allowed to connect here"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, relay.Addr())
			l := r.listener()
			l.Allow, l.Deny, l.DeniedReply = test.allow, test.deny, test.reply
			if test.listen != "" {
				l.Address = netip.MustParseAddrPort(test.listen)
			}
			r.run()
			client := netip.MustParseAddr(test.client)
			if test.listen == "[::]:0" && client.Is4() {
				r.addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), r.addr.Port())
			}
			c := r.dialFrom(test.client)
			if test.want == "" {
				wantGreeting(t, c, plainGreeting)
				c.Close()
				r.ended(1)
				return
			}
			got := readAll(t, limited(t, c.Conn()))
			rec := r.ended(1)
			if want := test.want + " (session " + rec.ID + ")\r\n"; got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			if rec.End != Denied || rec.Client.Addr() != client || rec.Pool != "" || len(rec.Attempts) != 0 {
				t.Errorf("recorded as %+v", rec)
			}
		})
	}
}

func TestDropAnswersNotAByte(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.listener().Allow, r.listener().DeniedReply = nil, DeniedDrop
	r.run()
	if got := readAll(t, r.raw()); got != "" {
		t.Errorf("read %q, want nothing", got)
	}
	wantEnd(t, r.ended(1), Denied)
	if relay.Connections() != 0 {
		t.Error("the relay was asked for a client that is not allowed")
	}
}

// Unread bytes at a close become a reset, which takes the line away.
func TestRefusedClientThatSpeaksFirstStillReadsWhy(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	for _, size := range []int{1, 100, 200 << 10, 3 << 20} {
		r := newRig(t, relay.Addr())
		r.listener().Allow = nil
		r.run()
		conn := r.raw()
		send(t, conn, strings.Repeat("x", size))
		got := readAll(t, conn)
		if !strings.HasPrefix(got, "421 4.7.1 ") || !strings.HasSuffix(got, r.ended(1).ID+")\r\n") {
			t.Errorf("after %d bytes read %q, want the whole line", size, got)
		}
		_ = conn.Close()
		r.idle()
	}
}

func TestRefusedClientThatNeverClosesIsLetGo(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().Allow = nil
	h := r.byHand()
	conn := r.raw()
	h.reach(stateLinger)
	h.pass(lingerTimeout - time.Second)
	if h.gone() {
		t.Error("let go before its time")
	}
	h.pass(2 * time.Second)
	if !h.gone() {
		t.Error("a client that does not close is kept for ever")
	}
	if got := readAll(t, conn); !strings.HasPrefix(got, "421 ") {
		t.Errorf("read %q", got)
	}
}

func TestLimitOfSessionsAnswers421AndGivesPlacesBack(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.listener().MaxSessions = 2
	r.run()
	first, second := r.dialFrom("127.0.0.2"), r.dialFrom("127.0.0.3")
	wantGreeting(t, first, plainGreeting)
	wantGreeting(t, second, plainGreeting)
	got := readAll(t, r.raw())
	rec := r.ended(1)
	if want := "421 4.7.0 lb.test too many sessions (session " + rec.ID + ")\r\n"; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
	wantEnd(t, rec, ClientLimit)
	if err := first.Quit(); err != nil {
		t.Fatal(err)
	}
	r.ended(2)
	wantGreeting(t, r.dial(), plainGreeting)
}

func TestLimitOfOneClientLeavesOthersAlone(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.listener().MaxSessionsPerClient = 2
	r.Workers = 2
	r.run()
	var mine []*smtptest.Client
	for range 2 {
		c := r.dialFrom("127.0.0.2")
		wantGreeting(t, c, plainGreeting)
		mine = append(mine, c)
	}
	refused := r.dialFrom("127.0.0.2")
	got := readAll(t, limited(t, refused.Conn()))
	if want := "421 4.7.0 lb.test too many sessions from 127.0.0.2 (session "; !strings.HasPrefix(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	wantEnd(t, r.ended(1), ClientLimit)
	wantGreeting(t, r.dialFrom("127.0.0.3"), plainGreeting)
	if err := mine[0].Quit(); err != nil {
		t.Fatal(err)
	}
	r.ended(2)
	wantGreeting(t, r.dialFrom("127.0.0.2"), plainGreeting)
}

func TestPlacesOfAThousandSessionsComeBack(t *testing.T) {
	ln := newListener(&Listener{MaxSessions: 5, MaxSessionsPerClient: 1}, &port{fd: -1, clients: map[netip.Addr]int{}})
	for i := range 1000 {
		client := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if why := ln.admit(client, 0); why != "" {
			t.Fatalf("session %d: %s", i, why)
		}
		if ln.admit(client, 0) == "" {
			t.Fatalf("session %d: a second one of the same client was let in", i)
		}
		ln.leave(client)
	}
	if ln.open.Load() != 0 || len(ln.clients) != 0 {
		t.Errorf("%d sessions and %d clients are still counted", ln.open.Load(), len(ln.clients))
	}
}
