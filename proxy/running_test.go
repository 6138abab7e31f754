package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// list is what runs now.
func (r *rig) list(q SessionQuery) SessionList {
	r.t.Helper()
	list, err := r.Sessions(r.t.Context(), q)
	if err != nil {
		r.t.Fatalf("Sessions: %v", err)
	}
	return list
}

// shows waits until there is one session and it looks as wanted, as "state turn
// backend".
func (r *rig) shows(want string) Session {
	r.t.Helper()
	var got Session
	smtptest.Eventually(r.t, patience, func() bool {
		list := r.list(SessionQuery{})
		if len(list.Sessions) != 1 || list.Open != 1 || list.Matched != 1 {
			return false
		}
		got = list.Sessions[0]
		return strings.TrimSpace(fmt.Sprintln(got.State, got.Turn, got.Backend)) == want
	}, "one session that is %q", want)
	return got
}

func TestARunningSessionIsShownAsItIs(t *testing.T) {
	speak := make(chan struct{})
	relay := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		<-speak
		_, _ = io.WriteString(conn, plainGreeting)
		<-speak
		_, _ = io.WriteString(conn, "250 ok\r\n")
		<-speak
	}})
	t.Cleanup(func() { close(speak) }) // whatever it waits for
	r := newRig(t, relay.Addr())
	r.listener().Pool.Timeouts.Greeting = patience
	r.listener().AcceptProxy = prefixes("127.0.0.8/32")
	r.run()
	if list := r.list(SessionQuery{}); list.Open != 0 || len(list.Sessions) != 0 {
		t.Errorf("with no client there are %+v", list)
	}
	began := time.Now()
	c := r.dialFrom("127.0.0.8")
	if got := r.shows("proxy_header client"); got.Pool != "" || got.Client.Addr().String() != "127.0.0.8" {
		t.Errorf("before its header the session is %+v", got)
	}
	send(t, c.Conn(), "PROXY TCP4 127.0.0.77 127.0.0.1 4711 25\r\n")
	if got := r.shows("greeting relay a"); got.Pool != "pool" || got.Client.String() != "127.0.0.77:4711" || got.Site != "site-a" {
		t.Errorf("while its relay is silent the session is %+v", got)
	}
	speak <- struct{}{}
	wantGreeting(t, c, plainGreeting)
	r.shows("relaying client a")
	send(t, c.Conn(), "NOOP\r\n")
	got := r.shows("relaying relay a")
	speak <- struct{}{}
	if _, _, err := c.ReadReply(); err != nil {
		t.Fatal(err)
	}
	last := r.shows("relaying client a")
	speak <- struct{}{}
	r.shows("lingering client a")
	c.Close()
	rec := r.ended(1)
	if got.ID != rec.ID || got.Listener != rec.Listener || got.Client != rec.Client || got.Pool != rec.Pool || got.Tier != rec.Tier {
		t.Errorf("the session was %+v, its record is %+v", got, rec)
	}
	if last.BytesUp != int64(len("NOOP\r\n")) || last.BytesDown != int64(len(plainGreeting+"250 ok\r\n")) {
		t.Errorf("%d bytes up, %d down", last.BytesUp, last.BytesDown)
	}
	if last.Started.Before(began.Add(-time.Second)) || last.Duration <= 0 || last.Idle > last.Duration || last.Idle < 0 {
		t.Errorf("started at %v, runs for %v, idle for %v", last.Started, last.Duration, last.Idle)
	}
}

// More sessions than a chunk has, over two loops: all are seen, and those that
// have run longest are named.
func TestTheLongestSessionsAreListedFirst(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.Workers = 2
	r.run()
	const n = 2*chunkSize + 50
	for i := range n {
		from := "127.0.0.1"
		if i%5 == 0 {
			from = "127.0.0.5"
		}
		wantGreeting(t, r.dialFrom(from), plainGreeting)
	}
	all := r.list(SessionQuery{Limit: n + 1})
	if all.Open != n || all.Matched != n || len(all.Sessions) != n || !slices.IsSortedFunc(all.Sessions, byAge) {
		t.Fatalf("%d open, %d matched, %d listed, want %d, in their order", all.Open, all.Matched, len(all.Sessions), n)
	}
	ids := map[string]bool{}
	for _, s := range all.Sessions {
		ids[s.ID] = true
	}
	if len(ids) != n {
		t.Errorf("%d sessions are there, want %d", len(ids), n)
	}
	fifth := func(s *Session) bool { return s.Client.Addr().String() == "127.0.0.5" }
	for _, test := range []struct {
		query           SessionQuery
		matched, listed int
	}{
		{SessionQuery{}, n, defaultListed},
		{SessionQuery{Limit: 1}, n, 1},
		{SessionQuery{Limit: 7, Match: fifth}, (n + 4) / 5, 7},
		{SessionQuery{Limit: n, Match: fifth}, (n + 4) / 5, (n + 4) / 5},
		{SessionQuery{Match: func(*Session) bool { return false }}, 0, 0},
	} {
		got := r.list(test.query)
		if got.Open != n || got.Matched != test.matched || len(got.Sessions) != test.listed {
			t.Errorf("limit %d: %d open, %d matched, %d listed, want %d, %d, %d", test.query.Limit,
				got.Open, got.Matched, len(got.Sessions), n, test.matched, test.listed)
			continue
		}
		wanted := all.Sessions
		if test.query.Match != nil {
			wanted = slices.DeleteFunc(slices.Clone(wanted), func(s Session) bool { return !test.query.Match(&s) })
		}
		for i := range got.Sessions {
			if got.Sessions[i].ID != wanted[i].ID {
				t.Errorf("limit %d: number %d is %s, want %s", test.query.Limit, i, got.Sessions[i].ID, wanted[i].ID)
			}
		}
	}
}

// Whoever asks gets an answer at any time: before and after the server runs, and
// while its loops end, one earlier than the other.
func TestSessionsAreToldAtAnyTime(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.Workers = 4
	if list := r.list(SessionQuery{}); list.Open != 0 {
		t.Errorf("before Listen: %+v", list)
	}
	r.run()
	c := r.dial()
	wantGreeting(t, c, plainGreeting)
	if code, _, err := c.Cmd("MAIL FROM:<a@b.example>"); err != nil { // 503 or not: an answer
		t.Fatal(code, err)
	}
	var over atomic.Bool
	var asking sync.WaitGroup
	t.Cleanup(func() {
		over.Store(true)
		asking.Wait()
	})
	for range 4 {
		asking.Go(func() {
			for !over.Load() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				if _, err := r.Sessions(ctx, SessionQuery{}); err != nil {
					t.Errorf("Sessions: %v", err)
				}
				cancel()
			}
		})
	}
	for range 20 {
		r.reload(*r.listener())
	}
	done := r.shutdown()
	// Three loops end at once, the fourth has the session.
	r.shows("relaying client a")
	ended := func() (n int) {
		for _, l := range r.loops {
			select {
			case <-l.ended:
				n++
			default:
			}
		}
		return n
	}
	smtptest.Eventually(t, patience, func() bool { return ended() == 3 }, "three loops end")
	r.shows("relaying client a")
	c.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if list := r.list(SessionQuery{}); list.Open != 0 {
		t.Errorf("after the end: %+v", list)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newRig(t, relay.Addr()).Sessions(gone, SessionQuery{}); err != nil {
		t.Errorf("with nothing to wait for: %v", err)
	}
}

// A loop that is busy holds nobody up for longer than they want to wait.
func TestWhoAsksForSessionsWaitsNoLongerThanHeWants(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	h := r.byHand() // a loop that does not turn
	r.loops = []*loop{h.loop}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := r.Sessions(ctx, SessionQuery{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that the context ended", err)
	}
	h.turn(nil) // what was asked is done with, in one turn
	if n := len(h.inbox); n != 0 {
		t.Errorf("%d things are left to do for who does not wait any more", n)
	}
}
