package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// Case 8. Tiers take over one by one, all relays of a tier at once, and each
// gives way again to the one before it.
func TestCaseTiersTakeOverOneByOne(t *testing.T) {
	t.Parallel()
	relays := map[string]*smtptest.Relay{}
	var backends []string
	for _, name := range []string{"first", "second-a", "second-b", "third"} {
		relays[name] = named(t, name)
		priority := map[string]int{"f": 0, "s": 1, "t": 2}[name[:1]]
		backends = append(backends, backend(name, relays[name].Addr(), fmt.Sprint("priority: ", priority)))
	}
	p := start(t, site{pool: quick, backends: backends})
	stop := func(name string, n int) {
		t.Helper()
		relays[name].Stop()
		p.waitState(t, name, "down", n)
	}
	restart := func(name string, n int) {
		t.Helper()
		if err := relays[name].Restart(); err != nil {
			t.Fatal(err)
		}
		p.waitState(t, name, "up", n)
	}
	serves := func(want ...string) {
		t.Helper()
		got := map[string]int{}
		for range 6 {
			client, relay := open(t, p)
			got[relay]++
			leave(t, p, client)
		}
		for _, name := range want {
			if got[name] != 6/len(want) {
				t.Errorf("sessions %v, want six on %v", got, want)
			}
		}
	}
	serves("first")
	stop("first", 1)
	serves("second-a", "second-b")
	stop("second-a", 1)
	serves("second-b")
	stop("second-b", 1)
	serves("third")
	restart("second-b", 1)
	serves("second-b")
	restart("first", 1)
	serves("first")
	stop("first", 2)
	serves("second-b")
}

// Case 8. A site that has fewer relays left than it needs hands over though one
// is well, and gets its sessions back with the second.
func TestCaseSiteWithTooFewRelaysHandsOver(t *testing.T) {
	t.Parallel()
	well, ill := named(t, "well"), named(t, "ill")
	p := start(t, site{pool: strings.Replace(quick, "failback_delay: 0s", "failback_delay: 0s, min_healthy: 2", 1), backends: []string{
		backend("well", well.Addr()), backend("ill", ill.Addr()), backend("standby", named(t, "standby").Addr(), "priority: 1"),
	}})
	serves := func(when, want string) {
		t.Helper()
		for range 6 {
			client, relay := open(t, p)
			if !strings.Contains(want, relay) {
				t.Errorf("%s: a session on %s, want %s", when, relay, want)
			}
			leave(t, p, client)
		}
	}
	serves("both up", "well, ill")
	ill.Stop()
	p.waitLine(t, "failover", nil)
	serves("one down", "standby")
	if err := ill.Restart(); err != nil {
		t.Fatal(err)
	}
	p.waitLine(t, "failback", nil)
	serves("both up again", "well, ill")
}

// Case 8. A primary that refuses and accepts in turns, three times a second or
// so, does not drag the sessions along: they come back to it once it has been
// up for the whole failback delay, and no session fails meanwhile.
func TestCaseFlappingPrimary(t *testing.T) {
	t.Parallel()
	const delay, phase, flaps = 3 * time.Second, 300 * time.Millisecond, 16
	first, second := named(t, "first"), named(t, "second")
	p := start(t, site{
		pool: "probe: {interval: 100ms, fast_interval: 100ms, timeout: 10s, rise: 1, fall: 1}\n" +
			"passive: {failures: 1000}\nslow_start: 0s\nfailover: {failback_delay: 3s}",
		backends: []string{backend("first", first.Addr()), backend("second", second.Addr(), "priority: 1")},
	})
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range flaps {
			first.StopListening() // who has a session keeps it
			time.Sleep(phase)
			if err := first.Restart(); err != nil {
				t.Error(err)
			}
			time.Sleep(phase)
		}
	}()
	for flapping := true; flapping; {
		select {
		case <-over:
			flapping = false
		case <-time.After(20 * time.Millisecond):
			if err := visit(p.address); err != nil {
				t.Errorf("a session failed: %v", err)
			}
		}
	}
	p.waitLine(t, "failover", nil)
	if n := countStates(t, p, "first", "down"); n < 3 {
		t.Errorf("the first was seen down %d times: it did not flap", n)
	}
	// A failback after the last line of failover is still to come, if none has.
	smtptest.Eventually(t, patience, func() bool {
		return len(p.logged(t, "failback")) == len(p.logged(t, "failover"))
	}, "the sessions come back in the end")
	p.wantSteady(t, delay)
	client, relay := open(t, p)
	if relay != "first" {
		t.Errorf("after the failback a session on %s", relay)
	}
	leave(t, p, client)
}

func countStates(t *testing.T, p *process, name, to string) (n int) {
	t.Helper()
	for _, line := range p.logged(t, "backend") {
		if line.text("backend") == name && line.text("to") == to {
			n++
		}
	}
	return n
}

// wantSteady holds all sessions against the failovers of two tiers: from each
// to its failback it takes the delay at least, and meanwhile nobody asks any
// relay but the second.
func (p *process) wantSteady(t *testing.T, delay time.Duration) {
	t.Helper()
	// The times are those of writing, a moment after the change.
	const moment = 250 * time.Millisecond
	failovers, failbacks := p.logged(t, "failover"), p.logged(t, "failback")
	sessions, lines := p.sessions(t, 1), p.logged(t, "session")
	steady := 0
	for n := range failovers {
		from, to := failovers[n].time(t), failbacks[n].time(t)
		if to.Sub(from) < delay-moment {
			t.Errorf("sessions came back %v after they had left, want %v at least", to.Sub(from), delay)
		}
		for i, s := range sessions {
			begun := lines[i].time(t).Add(-time.Duration(s.DurationMS * float64(time.Millisecond)))
			if begun.Before(from.Add(moment)) || begun.After(to.Add(-moment)) {
				continue
			}
			steady++
			if s.asked() != "second:ok" {
				t.Errorf("%v after the failover a session asked %s", begun.Sub(from), s.asked())
			}
		}
	}
	t.Logf("%d sessions, %d of them between %d failovers and their failbacks", len(sessions), steady, len(failovers))
	if steady == 0 {
		t.Error("no session came between a failover and its failback")
	}
}
