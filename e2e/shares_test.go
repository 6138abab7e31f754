package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// Sessions of equal length follow the weights, however few there are at a time.
// One server of Exchange opens some 20 connections, in the quiet hours one.
func TestSharesFollowWeightsAtEveryConcurrency(t *testing.T) {
	t.Parallel()
	relayA := smtptest.Start(t, smtptest.Script{ReplyDelay: 5 * time.Millisecond})
	relayB := smtptest.Start(t, smtptest.Script{ReplyDelay: 5 * time.Millisecond})
	p := start(t, site{backends: []string{backend("relay-a", relayA.Addr(), "weight: 3"), backend("relay-b", relayB.Addr(), "weight: 1")}})
	ended := 0
	for _, run := range []struct{ concurrency, sessions int }{{1, 200}, {2, 300}, {5, 400}, {20, 800}, {200, 4000}} {
		hold(t, p.address, run.concurrency, run.sessions)
		counts := shares(p.sessions(t, ended+run.sessions)[ended:])
		ended += run.sessions
		share := 100 * float64(counts["relay-a"]) / float64(run.sessions)
		t.Logf("%3d at once: %v of %d sessions, %.1f %% to relay-a", run.concurrency, counts, run.sessions, share)
		if share < 73 || share > 77 {
			t.Errorf("%d at once: relay-a of weight 3 to 1 got %.1f %%, want 75 within 2", run.concurrency, share)
		}
	}
}

// What is meant by least connections: a relay that needs five times as long for
// a session gets fewer of them.
func TestSlowRelayGetsFewerSessions(t *testing.T) {
	t.Parallel()
	slow := smtptest.Start(t, smtptest.Script{ReplyDelay: 50 * time.Millisecond})
	fast := smtptest.Start(t, smtptest.Script{ReplyDelay: 10 * time.Millisecond})
	p := start(t, site{backends: []string{backend("slow", slow.Addr()), backend("fast", fast.Addr())}})
	const sessions = 1000
	hold(t, p.address, 20, sessions)
	counts := shares(p.sessions(t, sessions))
	t.Logf("%v", counts)
	if counts["slow"] > sessions/3 || counts["slow"] == 0 {
		t.Errorf("the relay that is five times slower got %d of %d sessions, want some, and fewer than a third", counts["slow"], sessions)
	}
}

// shares counts sessions by the relay that served them.
func shares(all []session) map[string]int {
	counts := map[string]int{}
	for _, s := range all {
		counts[s.Backend]++
	}
	return counts
}

// hold opens sessions, so many at a time, each for as long as its relay takes
// for two replies.
func hold(t *testing.T, address string, concurrency, sessions int) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range concurrency {
		wg.Go(func() {
			for next.Add(1) <= int64(sessions) {
				if err := visit(address); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func visit(address string) error {
	client, err := smtptest.DialTimeout(address, patience)
	if err != nil {
		return err
	}
	defer client.Close()
	if code, text, err := client.Cmd("NOOP"); err != nil || code != 250 {
		return fmt.Errorf("NOOP: %d %s: %w", code, text, err)
	}
	return client.Quit()
}
