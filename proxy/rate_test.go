package proxy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"smtplb/internal/smtptest"
)

// Clients that come at any moments are let in when golang.org/x/time/rate lets
// them in. It counts parts of a connection in floating point: where it is within
// a millionth of one, the moment is not asked about.
func TestRateIsThatOfATokenBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{PerMinute: rapid.IntRange(1, 100_000).Draw(t, "per minute"), Burst: rapid.IntRange(0, 50).Draw(t, "burst")}
		table := newRates()
		base := time.Unix(1_000_000, 0)
		oracle := map[netip.Addr]*rate.Limiter{}
		step := rapid.OneOf(
			rapid.Int64Range(0, 3*r.every()), rapid.Just(r.every()), rapid.Just(int64(0)),
			rapid.Int64Range(0, 2*r.every()*r.burst()),
		)
		now := int64(0)
		for i := range rapid.IntRange(1, 200).Draw(t, "connections") {
			now += step.Draw(t, "later by")
			client := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 3).Draw(t, "client"))})
			limiter := oracle[client]
			if limiter == nil {
				limiter = rate.NewLimiter(rate.Every(time.Duration(r.every())), int(r.burst()))
				oracle[client] = limiter
			}
			at := base.Add(time.Duration(now))
			if tokens := limiter.TokensAt(at); math.Abs(tokens-1) < 1e-6 {
				continue
			}
			if got, want := table.take(client, r, now), limiter.AllowN(at, 1); got != want {
				t.Fatalf("connection %d of %v at %v: let in %v, want %v (%+v)", i, client, time.Duration(now), got, want, r)
			}
		}
	})
}

// Exactly at the moment that a place is free again it is, to the nanosecond.
func TestRateToTheNanosecond(t *testing.T) {
	client, r := netip.MustParseAddr("10.0.0.1"), Rate{PerMinute: 60, Burst: 2}
	table := newRates()
	for i, step := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true}, {0, true}, {0, false}, {time.Second - 1, false}, {time.Second, true}, {time.Second, false},
		{10 * time.Second, true}, {10 * time.Second, true}, {10 * time.Second, false},
	} {
		if got := table.take(client, r, int64(step.at)); got != step.want {
			t.Errorf("step %d at %v: let in %v, want %v", i, step.at, got, step.want)
		}
	}
}

// A reload may make the burst smaller: nobody waits longer than the new one says.
func TestSmallerBurstIsNoLongerWait(t *testing.T) {
	client, table := netip.MustParseAddr("10.0.0.1"), newRates()
	for range 1000 {
		table.take(client, Rate{PerMinute: 1, Burst: 1000}, 0)
	}
	r := Rate{PerMinute: 60, Burst: 1}
	if table.take(client, r, 0) {
		t.Error("let in at once")
	}
	if !table.take(client, r, int64(time.Second)) {
		t.Error("kept waiting by a rate that is no more")
	}
}

func TestWhoSharesARate(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"fe80::1%eth0", "fe80::2", true},
		{"0.0.0.0", "::", false},
		{"::1", "::2", true},
	} {
		r, table := Rate{PerMinute: 1}, newRates()
		table.take(netip.MustParseAddr(test.a), r, 0)
		if same := !table.take(netip.MustParseAddr(test.b), r, 0); same != test.same {
			t.Errorf("%s and %s share a rate: %v, want %v", test.a, test.b, same, test.same)
		}
	}
}

// A million clients leave the table as large as none did, and one of them that
// comes too often is still held.
func TestMillionClientsTakeNoMoreMemory(t *testing.T) {
	table, r := newRates(), Rate{PerMinute: 60, Burst: 10}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	greedy, held := netip.MustParseAddr("192.0.2.1"), 0
	for i := range 1_000_000 {
		client := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if !table.take(client, r, int64(i)*1000) { // all of them within a second
			t.Fatalf("client %d, which comes for the first time, is not let in", i)
		}
		if i%100 == 0 && !table.take(greedy, r, int64(i)*1000) {
			held++
		}
	}
	if after := heap(); after > before+64<<10 {
		t.Errorf("%d bytes more for a million clients", after-before)
	}
	if held < 9_900 {
		t.Errorf("of 10000 connections of one client in a second only %d were held back", held)
	}
	runtime.KeepAlive(table)
}

// As many clients as the table is made for are all remembered.
func TestClientsWithinTheTableAreRemembered(t *testing.T) {
	table, r := newRates(), Rate{PerMinute: 1}
	const clients = 20_000
	for pass := range 2 {
		forgotten := 0
		for i := range clients {
			client := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			if got := table.take(client, r, int64(i)); got != (pass == 0) {
				forgotten++
			}
		}
		if forgotten > clients/1000 {
			t.Errorf("pass %d: %d of %d clients are judged wrongly", pass, forgotten, clients)
		}
	}
}

// Loops share the table: of all that ask at one moment the burst gets in, not one more.
func TestLoopsShareARate(t *testing.T) {
	table, r := newRates(), Rate{PerMinute: 1, Burst: 100}
	var in atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if table.take(netip.MustParseAddr("10.0.0.1"), r, 1) {
					in.Add(1)
				}
			}
		})
	}
	all.Wait()
	if in.Load() != 100 {
		t.Errorf("%d were let in, want 100", in.Load())
	}
}

// Who comes too often reads 421, others do not notice, and a minute's share later
// it is let in again. A reload changes the rate and forgets nobody.
func TestClientThatConnectsTooOften(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().MaxRatePerClient = Rate{PerMinute: 60, Burst: 2}
	h := r.byHand()
	refused := func(what string) {
		t.Helper()
		before := h.records()
		c := r.dialFrom("127.0.0.2")
		h.until(func() bool { return h.records() > before }, what)
		got, rec := readAll(t, limited(t, c.Conn())), r.ended(before+1)
		want := "421 4.7.0 lb.test too many connections from 127.0.0.2: 60 a minute, 2 at once (session " + rec.ID + ")\r\n"
		if got != want {
			t.Errorf("%s read %q, want %q", what, got, want)
		}
		wantEnd(t, rec, ClientLimit)
		c.Close()
		h.until(func() bool { return h.in(stateLinger) == nil }, "the refused client is gone")
	}
	greeted := func(from string) {
		t.Helper()
		c, before := r.dialFrom(from), h.sessions.used
		h.until(func() bool { return h.sessions.used > before && h.in(stateConnect) == nil && h.in(stateGreet) == nil }, "a greeting for "+from)
		wantGreeting(t, c, plainGreeting)
	}
	greeted("127.0.0.2")
	greeted("127.0.0.2")
	refused("the third")
	refused("the fourth")
	greeted("127.0.0.3")
	h.pass(1100 * time.Millisecond)
	greeted("127.0.0.2")
	refused("one more")
}

func TestRateIsKeptOverAReload(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	r.listener().MaxRatePerClient = Rate{PerMinute: 1, Burst: 1}
	r.run()
	wantGreeting(t, r.dial(), plainGreeting)
	next := r.Listeners[0]
	next.Address = r.Listeners[0].Address
	if err := r.Reload([]Listener{next}); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, r.raw()); !strings.HasPrefix(got, "421 4.7.0 lb.test too many connections") {
		t.Errorf("after a reload read %q", got)
	}
	next.MaxRatePerClient = Rate{}
	if err := r.Reload([]Listener{next}); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, r.dial(), plainGreeting)
}

// Both limits of a client go by the address in its PROXY header.
func TestLimitsBehindAProxyAreTheClients(t *testing.T) {
	for name, limit := range map[string]func(*Listener){
		"rate":     func(l *Listener) { l.MaxRatePerClient = Rate{PerMinute: 1, Burst: 1} },
		"sessions": func(l *Listener) { l.MaxSessionsPerClient = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := behindProxy(t, smtptest.Start(t, smtptest.Script{}).Addr())
			limit(r.listener())
			r.run()
			say := func(client, want string) {
				t.Helper()
				conn := limited(t, r.dialFrom("127.0.0.2").Conn())
				send(t, conn, "PROXY TCP4 "+client+" 192.0.2.25 40000 25\r\n")
				wantRead(t, conn, want)
			}
			say("10.1.2.3", plainGreeting)
			say("10.1.2.3", "421 4.7.0 lb.test too many ")
			say("10.1.2.4", plainGreeting)
		})
	}
}

func TestRatesThatMeanNothingAreRefused(t *testing.T) {
	for _, bad := range []Rate{{PerMinute: -1}, {PerMinute: 1, Burst: -1}, {PerMinute: 1, Burst: maxRate + 1}, {PerMinute: maxRate + 1}} {
		r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
		r.listener().MaxRatePerClient = bad
		if err := r.Listen(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("rate of %d a minute", bad.PerMinute)) {
			t.Errorf("%+v: error %v", bad, err)
			_ = r.Close()
		}
	}
}

// BenchmarkRate is what a session pays where there is a rate; in all loops at once too.
func BenchmarkRate(b *testing.B) {
	clients := make([]netip.Addr, 10_000)
	for i := range clients {
		clients[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	table, r := newRates(), Rate{PerMinute: 600}
	var now atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(clients)); pb.Next(); i++ { //nolint:gosec // a place to start
			table.take(clients[i%len(clients)], r, now.Load())
		}
	})
}
