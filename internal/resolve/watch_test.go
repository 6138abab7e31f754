package resolve

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a look-up whose answers and clock are the test's.
type script struct {
	*Watcher

	mu      sync.Mutex
	answer  Found
	err     error
	takes   time.Duration
	asked   []time.Duration // when, since the start
	began   time.Time
	changes int
	told    []string
}

func newScript() *script {
	s := &script{began: time.Now()}
	s.Watcher = &Watcher{
		Lookup: func(ctx context.Context, _ Query) (Found, error) {
			s.mu.Lock()
			s.asked = append(s.asked, time.Since(s.began))
			takes, answer, err := s.takes, s.answer, s.err
			s.mu.Unlock()
			if takes > 0 {
				select {
				case <-time.After(takes):
				case <-ctx.Done():
					return Found{}, &Error{Fault: Timeout, Text: "no answer"}
				}
			}
			return answer, err
		},
		Changed: func() { s.mu.Lock(); s.changes++; s.mu.Unlock() },
		Tell: func(n News) {
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case n.Err != nil:
				s.told = append(s.told, fmt.Sprintf("%s: %v, %d kept", n.Query, n.Err, n.Kept))
			case n.Again > 0:
				s.told = append(s.told, fmt.Sprintf("%s: well after %v", n.Query, n.Again))
			default:
				s.told = append(s.told, fmt.Sprintf("%s: %v", n.Query, n.Notes))
			}
		},
		Rand: func() float64 { return 0.5 },
	}
	return s
}

func (s *script) set(ttl time.Duration, err error, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.answer = Found{}
	if err == nil {
		s.answer = Found{TTL: ttl, Targets: []Target{{Host: "relay.test", Port: 25, Weight: 1, Addresses: addresses(addrs...)}}}
	}
}

func addresses(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func (s *script) times() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprint(s.asked)
	s.asked = nil
	return text
}

func (s *script) tells() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.told, "; ")
	s.told = nil
	return text
}

// places are what is known of the one query.
func (s *script) places() string {
	records, err := s.Records(relayTest)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, r := range records {
		all = append(all, r.Address.Addr().String())
	}
	return strings.Join(all, " ")
}

var relayTest = Query{Address, "relay.test", 25}

// pass lets time go by in a bubble, and what is due then be done.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func fault(f Fault) error { return &Error{Fault: f, Text: f.String()} }

// run has the watcher run until the test's bubble ends.
func (s *script) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

func TestNamesFollowTheirTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.set(100*time.Second, nil, "192.0.2.1")
		s.Set(relayTest)
		s.run(t)
		pass(300 * time.Second)
		if got, want := s.times(), "[0s 1m45s 3m30s]"; got != want { // half of the jitter of 10 %
			t.Errorf("asked at %s, want %s", got, want)
		}
		if s.changes != 1 || s.places() != "192.0.2.1" {
			t.Errorf("%d changes, known: %s", s.changes, s.places())
		}
		s.set(MinTTL, nil, "192.0.2.2", "192.0.2.1")
		pass(20 * time.Second)
		if s.changes != 2 || s.places() != "192.0.2.1 192.0.2.2" {
			t.Errorf("%d changes, known: %s", s.changes, s.places())
		}
		s.set(MinTTL, nil, "192.0.2.1", "192.0.2.2")
		pass(20 * time.Second)
		if s.changes != 2 {
			t.Error("another order is taken for a change")
		}
		if got := s.tells(); got != "" {
			t.Errorf("told %s", got)
		}
	})
}

// Whatever goes wrong, the last good answer stays, and one line tells of it.
func TestTheLastGoodAnswerIsKept(t *testing.T) {
	for f := Timeout; f <= lastFault; f++ {
		t.Run(f.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				s.set(MinTTL, nil, "192.0.2.1", "192.0.2.2")
				s.Set(relayTest)
				s.run(t)
				synctest.Wait()
				s.set(0, fault(f))
				pass(24 * time.Hour)
				if s.changes != 1 || s.places() != "192.0.2.1 192.0.2.2" {
					t.Errorf("%d changes, known: %s", s.changes, s.places())
				}
				if got, want := s.tells(), fmt.Sprintf("relay.test:25: %v, 2 kept", f); got != want {
					t.Errorf("told %q, want %q", got, want)
				}
				st := s.Status()[0]
				if st.Records != 2 || st.Err == nil || !st.Answered.Equal(s.began) || st.Failures[f] < 1000 || st.Failures[f] > 1440 {
					t.Errorf("status %+v", st)
				}
				s.set(MinTTL, nil, "192.0.2.3")
				pass(2 * MaxRetry)
				if s.changes != 2 || s.places() != "192.0.2.3" {
					t.Errorf("%d changes, known: %s", s.changes, s.places())
				}
				if got := s.tells(); !strings.HasPrefix(got, "relay.test:25: well after 24h0m") {
					t.Errorf("told %q", got)
				}
				if st := s.Status()[0]; st.Err != nil || time.Since(st.Answered) > 10*time.Second {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

func TestFailuresAreRetriedEverMoreSlowly(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fault(Timeout), "[0s 1.05s 3.15s 7.35s 15.75s 32.55s 1m6.15s 2m9.15s 3m12.15s 4m15.15s]"},
		{&Error{Fault: NXDomain, TTL: 30 * time.Second}, "[0s 31.5s 1m3s 1m34.5s 2m6s 2m37.5s 3m11.1s 4m14.1s]"},
		{&Error{Fault: NoData, TTL: time.Hour}, "[0s 1m3s 2m6s 3m9s 4m12s]"},
		{&Error{Fault: NXDomain}, "[0s 5.25s 10.5s 15.75s 24.15s 40.95s 1m14.55s 2m17.55s 3m20.55s 4m23.55s]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			s.set(0, tt.err)
			s.Set(relayTest)
			s.run(t)
			pass(5 * time.Minute)
			if got := s.times(); got != tt.want {
				t.Errorf("%v: asked at\n %s, want\n %s", tt.err, got, tt.want)
			}
			if _, err := s.Records(relayTest); err == nil || s.changes > 0 {
				t.Errorf("%d changes, error %v", s.changes, err)
			}
		})
	}
}

// A reload looks all names up again, and waits for them, but not for ever.
func TestRefreshAsksNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.set(time.Hour, nil, "192.0.2.1")
		s.Refresh(t.Context(), relayTest) // before Run, too
		if s.places() != "192.0.2.1" {
			t.Errorf("known: %s", s.places())
		}
		s.run(t)
		pass(time.Minute)
		s.set(time.Hour, nil, "192.0.2.2")
		other := Query{Address, "other.test", 25}
		s.Refresh(t.Context(), relayTest, other)
		if s.places() != "192.0.2.2" || len(s.Status()) != 2 {
			t.Errorf("known: %s, %d names", s.places(), len(s.Status()))
		}
		s.Set(relayTest)
		if _, err := s.Records(other); err == nil || len(s.Status()) != 1 {
			t.Errorf("a name that is not wanted is known: %v", err)
		}
		s.mu.Lock()
		s.takes = time.Hour
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		var both sync.WaitGroup
		for range 2 { // the second waits for the first
			both.Go(func() { s.Refresh(ctx, relayTest, other) })
		}
		both.Wait()
		if took := time.Since(began); took != 10*time.Second || s.places() != "192.0.2.2" {
			t.Errorf("after %v: %s", took, s.places())
		}
		if got := s.tells(); !strings.Contains(got, "relay.test:25: no answer, 1 kept") || !strings.Contains(got, "other.test:25: no answer, 0 kept") {
			t.Errorf("told %q", got)
		}
		if s.places(); s.changes != 3 {
			t.Errorf("%d changes", s.changes)
		}
	})
}

// One look-up that hangs ends by itself, and holds up no other.
func TestASlowNameHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.set(MinTTL, nil, "192.0.2.1")
		inner := s.Lookup
		s.Lookup = func(ctx context.Context, q Query) (Found, error) {
			if q.Name == "slow.test" {
				<-ctx.Done()
				return Found{}, fault(Timeout)
			}
			return inner(ctx, q)
		}
		s.Set(relayTest, Query{Address, "slow.test", 25})
		s.run(t)
		pass(10 * time.Minute)
		if n := strings.Count(s.times(), " "); n < 100 {
			t.Errorf("the other one was asked for %d times", n)
		}
		all := s.Status()
		i := slices.IndexFunc(all, func(st Status) bool { return st.Query.Name == "slow.test" })
		if st := all[i]; st.Failures[Timeout] < 5 {
			t.Errorf("status %+v", st)
		}
	})
}

// What is left out is told when that changes. An answer of which nothing is left is none.
func TestWhatIsLeftOutIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.Refuse = func(at netip.AddrPort) string {
			if at.Addr() == netip.MustParseAddr("192.0.2.25") {
				return "our own listener"
			}
			return ""
		}
		s.set(MinTTL, nil, "192.0.2.25", "192.0.2.1", "0.0.0.0", "224.0.0.1")
		s.Set(relayTest)
		s.run(t)
		pass(time.Minute)
		want := "relay.test:25: [relay.test at 0.0.0.0:25 is left out: it is no machine's address " +
			"relay.test at 192.0.2.25:25 is left out: it is our own listener relay.test at 224.0.0.1:25 is left out: it is the address of many]"
		if got := s.tells(); got != want || s.places() != "192.0.2.1" {
			t.Errorf("told\n %s, want\n %s; known: %s", got, want, s.places())
		}
		s.set(MinTTL, nil, "192.0.2.25")
		pass(time.Minute)
		if s.places() != "192.0.2.1" || s.changes != 1 || s.Status()[0].Failures[Invalid] == 0 {
			t.Errorf("known: %s, %d changes, status %+v", s.places(), s.changes, s.Status()[0])
		}
	})
}

// Where a target's addresses cannot be found out, its last ones stay, and the others follow;
// it is asked for again soon, and its age tells that something is missing.
func TestPartsOfAnAnswerAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		answer := func(targets ...Target) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.answer, s.err = Found{TTL: time.Hour, Targets: targets}, nil
		}
		q := Query{MX, "mx.test", 25}
		known := func() string {
			records, _ := s.Records(q)
			var all []string
			for _, r := range records {
				all = append(all, fmt.Sprintf("%s %v %d", r.Host, r.Address.Addr(), r.Priority))
			}
			return strings.Join(all, ", ")
		}
		hq, dr := Target{Host: "hq.test", Port: 25, Priority: 10, Weight: 1}, Target{Host: "dr.test", Port: 25, Priority: 20, Weight: 1}
		hq.Addresses, dr.Addresses = addresses("192.0.2.1", "2001:db8::1"), addresses("198.51.100.1")
		answer(hq, dr)
		s.Set(q)
		s.run(t)
		synctest.Wait()

		hq.Addresses, hq.Missing6 = addresses("192.0.2.9"), fault(Timeout)
		dr.Addresses, dr.Missing4, dr.Missing6, dr.Priority = nil, fault(NXDomain), fault(NXDomain), 15
		answer(hq, dr)
		pass(2 * time.Hour)
		if got, want := known(), "hq.test 192.0.2.9 10, hq.test 2001:db8::1 10, dr.test 198.51.100.1 15"; got != want {
			t.Errorf("known: %s, want %s", got, want)
		}
		if st := s.Status()[0]; st.Err == nil || !st.Answered.Equal(s.began) || st.Failures[Timeout] < 50 {
			t.Errorf("status %+v", st)
		}
		if got := s.tells(); got != "mx:mx.test: timeout, 3 kept" {
			t.Errorf("told %q", got)
		}
		hq.Missing6 = nil
		dr.Addresses, dr.Missing4, dr.Missing6 = addresses("198.51.100.2"), nil, nil
		answer(hq, dr)
		pass(2 * MaxRetry)
		if got, want := known(), "hq.test 192.0.2.9 10, dr.test 198.51.100.2 15"; got != want || s.Status()[0].Err != nil {
			t.Errorf("known: %s, want %s", got, want)
		}
	})
}
