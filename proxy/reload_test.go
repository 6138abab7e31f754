package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/balancer"
	"smtplb/internal/smtptest"
)

func (r *rig) reload(listeners ...Listener) {
	r.t.Helper()
	if err := r.Reload(listeners); err != nil {
		r.t.Fatalf("Reload: %v", err)
	}
}

// refused is the reply that a new client at an address reads at once.
func refused(t *testing.T, addr netip.AddrPort) string {
	t.Helper()
	return readAll(t, limited(t, smtptest.Dial(t, addr.String()).Conn()))
}

func TestReloadKeepsWhatIsThere(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay, other := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{Greeting: "220 other.test ESMTP\r\n"})
	r := newRig(t, relay.Addr())
	r.Workers = 2
	r.run()
	running := r.dial()
	wantGreeting(t, running, plainGreeting)

	l := *r.listener()
	l.Name, l.MaxSessions = "renamed", 1
	r.reload(l)
	if got := r.Addresses(); len(got) != 1 || got[0] != r.addr {
		t.Errorf("listens on %v, want %v", got, r.addr)
	}
	if text := refused(t, r.addr); !strings.HasPrefix(text, "421 4.7.0 lb.test too many sessions") {
		t.Errorf("with one session and room for one a client reads %q", text)
	}
	if rec := r.ended(1); rec.Listener != "renamed" {
		t.Errorf("the record's listener is %q", rec.Listener)
	}
	l.Allow, l.Hostname = prefixes("10.0.0.0/8"), "new.test"
	r.reload(l)
	if text := refused(t, r.addr); !strings.HasPrefix(text, "421 4.7.1 new.test 127.0.0.1 is not allowed") {
		t.Errorf("who is not allowed any more reads %q", text)
	}
	l.Allow, l.MaxSessions, l.Pool = prefixes("127.0.0.0/8"), 2, newPool(t, "new", other.Addr())
	r.reload(l)
	wantGreeting(t, r.dial(), "220 other.test ESMTP\r\n")

	if err := running.Send(smtptest.Outgoing{ID: "m", Size: 100}); err != nil {
		t.Errorf("the session from before: %v", err)
	}
	if err := running.Quit(); err != nil {
		t.Errorf("the session from before: %v", err)
	}
	running.Close()
	if rec := r.ended(3); rec.Listener != "test" || rec.Pool != "pool" {
		t.Errorf("the session from before has the record %+v", rec)
	}
}

func TestReloadAddsAndRemovesListeners(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.Workers = 2
	r.run()
	running := r.dial()
	wantGreeting(t, running, plainGreeting)
	for range 3 { // indexes are not used again
		second := *r.listener()
		second.Name, second.Address = "second", netip.MustParseAddrPort("127.0.0.2:0")
		r.reload(second)
		at := r.Addresses()[0]
		wantGreeting(t, smtptest.Dial(t, at.String()), plainGreeting)
		if c, err := net.Dial("tcp", r.addr.String()); err == nil {
			c.Close()
			t.Fatal("the listener that was taken out is open still")
		}
		first := *r.listener()
		first.Address = r.addr
		r.reload(second, first)
		if got := r.Addresses(); len(got) != 2 || got[0] != at || got[1] != r.addr {
			t.Fatalf("listens on %v, want %v and %v", got, at, r.addr)
		}
		wantGreeting(t, r.dial(), plainGreeting)
		r.reload(first)
	}
	if err := running.Send(smtptest.Outgoing{ID: "m", Size: 100}); err != nil {
		t.Errorf("the session whose listener was taken out: %v", err)
	}
}

func TestQueueOfARemovedListenerIsAnswered(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	second := *r.listener()
	second.Address = netip.MustParseAddrPort("127.0.0.2:0")
	r.Listeners = append(r.Listeners, second)
	h := r.byHand()
	r.listeners[1].loops.Store(1)
	at := r.Addresses()[1]
	waiting := smtptest.Dial(t, at.String())
	h.takeListeners([]*listener{h.listeners[0], nil})
	if text := readAll(t, limited(t, waiting.Conn())); !strings.HasPrefix(text, "421 4.3.2 lb.test this address is given up") {
		t.Errorf("who waited in the queue reads %q", text)
	}
	waiting.Close()
	h.until(func() bool { return h.sessions.used == 0 }, "the session is over")
	if c, err := net.Dial("tcp", at.String()); err == nil {
		c.Close()
		t.Error("the listener is open still")
	}
	r.listeners = r.listeners[:1]
	h.greeted()
}

func TestRefusedReloadChangesNothing(t *testing.T) {
	smtptest.CheckDescriptors(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	r.run()
	good, bad := *r.listener(), *r.listener()
	good.Name, good.Address, good.Allow = "good", netip.MustParseAddrPort("127.0.0.2:0"), nil
	bad.Name, bad.Address = "bad", taken.Addr().(*net.TCPAddr).AddrPort()
	kept := *r.listener()
	kept.Allow = nil
	wider := *r.listener()
	wider.Address = netip.AddrPortFrom(netip.IPv4Unspecified(), r.addr.Port())
	for name, test := range map[string]struct {
		listeners []Listener
		want      string
	}{
		"a port in use":          {[]Listener{kept, good, bad}, "listener bad: " + bad.Address.String()},
		"a port that is its own": {[]Listener{wider}, "by a reload of its own"},
		"no pool":                {[]Listener{{Name: "none", Address: good.Address}, kept}, "listener none: pool"},
		"none":                   {nil, "no listener"},
	} {
		err := r.Reload(test.listeners)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, test.want)
		}
		if got := r.Addresses(); len(got) != 1 || got[0] != r.addr {
			t.Errorf("%s: listens on %v, want %v", name, got, r.addr)
		}
	}
	wantGreeting(t, r.dial(), plainGreeting)
}

func TestReloadBeforeServeAndAfterShutdown(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	if err := r.Reload(r.Listeners); err == nil {
		t.Error("before Listen there is nothing to reload")
	}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	l := *r.listener()
	l.Address = netip.MustParseAddrPort("127.0.0.2:0")
	r.reload(l)
	at := r.Addresses()[0]
	if at.Addr() != l.Address.Addr() {
		t.Errorf("listens on %v", at)
	}
	go func() { r.served <- r.Serve() }()
	t.Cleanup(r.checkEnd)
	wantGreeting(t, smtptest.Dial(t, at.String()), plainGreeting)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.Shutdown(done)
	if err := r.Reload(r.Listeners); err == nil {
		t.Error("a server that shuts down takes another configuration")
	}
}

// A backend and where it is change at one moment, though the session holds the
// proxy's pool from before.
func TestSessionFindsTheTargetOfTheBackendThatItGot(t *testing.T) {
	mute := smtptest.Start(t, smtptest.Script{Greeting: "421 busy\r\n"})
	place := smtptest.Start(t, smtptest.Script{Greeting: "220 place.test\r\n"})
	r := newRig(t, mute.Addr())
	pool := r.listener().Pool.Balancer
	h := r.byHand()
	c := r.dial()
	h.until(func() bool { return h.in(stateConnect) != nil }, "the first relay is asked")
	cfg := balancer.Config{Name: "pool", Fall: 1 << 30, Failures: 1 << 30, Hedge: -1, Backends: []balancer.BackendConfig{
		{Name: "moved", Weight: 1, Priority: 3, Data: &Target{Address: place.Addr()}},
		{Name: "late", Weight: 1, Priority: 9, Data: "no target"},
	}}
	if err := pool.Reconfigure(time.Now(), cfg); err != nil {
		t.Fatal(err)
	}
	h.until(func() bool { return h.in(stateRelaying) != nil }, "a relay has greeted")
	wantGreeting(t, c, "220 place.test\r\n")
	c.Close()
	h.until(func() bool { return h.sessions.used == 0 }, "the session is over")
	if got := outcomes(r.ended(1)); got != "a greeting_4xx, moved ok" {
		t.Errorf("attempts %q", got)
	}

	cfg.Backends = cfg.Backends[1:]
	if err := pool.Reconfigure(time.Now(), cfg); err != nil {
		t.Fatal(err)
	}
	c = r.dial()
	h.until(func() bool { return r.told("backend late: it has no target") }, "OnError is told")
	c.Close()
	h.until(func() bool { return h.sessions.used == 0 }, "the session is over")
}

// For the race detector, and nobody may notice.
func TestNobodyNoticesReloads(t *testing.T) {
	relays := []*smtptest.Relay{smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})}
	r := newRig(t, relays[0].Addr())
	r.Workers = 2
	var all []balancer.BackendConfig
	for i, relay := range relays {
		all = append(all, balancer.BackendConfig{Name: fmt.Sprint("relay-", i), Weight: 1, Data: &Target{Address: relay.Addr()}})
	}
	pool, err := balancer.New(balancer.Config{Name: "pool", Backends: all})
	if err != nil {
		t.Fatal(err)
	}
	r.listener().Pool = &Pool{Balancer: pool}
	r.run()
	var clients, begun sync.WaitGroup // begun: each has had a session
	done := make(chan struct{})
	sent := make([]int, 4)
	begun.Add(len(sent))
	for i := range sent {
		clients.Go(func() {
			begin := sync.OnceFunc(begun.Done)
			defer begin()
			for {
				select {
				case <-done:
					return
				default:
				}
				c, err := smtptest.DialTimeout(r.addr.String(), patience)
				if err == nil {
					err = c.Send(smtptest.Outgoing{ID: fmt.Sprint(i, "-", sent[i]), Size: 500})
				}
				if err == nil {
					err = c.Quit()
					c.Close()
				}
				if err != nil {
					t.Errorf("client %d, session %d: %v", i, sent[i], err)
					return
				}
				sent[i]++
				begin()
			}
		})
	}
	begun.Wait()
	for n := range 100 {
		next := []balancer.BackendConfig{all[n%3], all[(n+1)%3]}
		next[0].Weight, next[1].Priority = 1+n%5, n%2
		next[0].Name = fmt.Sprint("name-", n)
		next[0].Key = next[0].Name
		if err := pool.Reconfigure(time.Now(), balancer.Config{Name: "pool", Backends: next}); err != nil {
			t.Fatal(err)
		}
		l := *r.listener()
		l.Name, l.Pool = fmt.Sprint("listener-", n), &Pool{Balancer: pool, Timeouts: Timeouts{Idle: time.Duration(n+1) * time.Minute}}
		extra := l
		extra.Address = netip.MustParseAddrPort("127.0.0.2:0")
		if n%2 == 0 {
			r.reload(l, extra)
		} else {
			r.reload(l)
		}
	}
	close(done)
	clients.Wait()
	total, got := 0, 0
	for _, n := range sent {
		total += n
	}
	for _, relay := range relays {
		got += relay.MessageCount()
	}
	if got != total || total < len(sent) {
		t.Errorf("the relays have %d messages, want %d", got, total)
	}
}
