package e2e

import (
	"fmt"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// warmSite is a primary and a standby that is kept warm.
func warmSite(t *testing.T, keepWarm string) (p *process, hq, dr *smtptest.Relay) {
	t.Helper()
	hq, dr = named(t, "hq"), named(t, "dr")
	p = start(t, site{
		pool: "probe: {interval: 200ms, fast_interval: 100ms, timeout: 3s, rise: 2, fall: 2}\n" +
			"timeouts: {hedge: off}\nfailover: {keep_warm: {" + keepWarm + "}}\n",
		backends: []string{backend("hq", hq.Addr()), backend("dr", dr.Addr(), "priority: 1")},
	})
	return p, hq, dr
}

// Case 11. The share is exact at every concurrency, nothing while the standby
// is ill, and all when the primary is.
func TestCaseWarmShare(t *testing.T) {
	t.Parallel()
	p, hq, dr := warmSite(t, "share: 5%")
	ended := 0
	run := func(concurrency, count int) (onStandby int) {
		t.Helper()
		hold(t, p.address, concurrency, count)
		ended += count
		return shares(p.sessions(t, ended)[ended-count:])["dr"]
	}
	for _, r := range []struct{ concurrency, sessions int }{{1, 200}, {5, 400}, {200, 2000}} {
		got, want := run(r.concurrency, r.sessions), r.sessions/20
		t.Logf("%3d at once: %d of %d sessions kept the standby warm", r.concurrency, got, r.sessions)
		if got < want-1 || got > want+1 {
			t.Errorf("%d at once: %d of %d sessions on the standby, want %d, give or take one", r.concurrency, got, r.sessions, want)
		}
	}
	dr.Stop()
	p.waitState(t, "dr", "down", 1)
	if n := run(5, 100); n != 0 {
		t.Errorf("%d sessions on a standby that is down", n)
	}
	if err := dr.Restart(); err != nil {
		t.Fatal(err)
	}
	p.waitState(t, "dr", "up", 1)
	if n := run(1, 200); n < 9 || n > 12 { // of what was missed two are made up for
		t.Errorf("%d of 200 sessions on the standby that came back, want ten, and not what it missed", n)
	}
	hq.Stop()
	p.waitLine(t, "failover", nil)
	if n := run(5, 100); n != 100 {
		t.Errorf("%d of 100 sessions on the standby while the primary is down", n)
	}
}

// Case 11. Half of all sessions would keep it warm, but three at a time are the
// most.
func TestCaseWarmSessionsAreCapped(t *testing.T) {
	t.Parallel()
	p, _, _ := warmSite(t, "share: 50%, max_sessions: 3")
	held := map[string][]*smtptest.Client{}
	for range 40 {
		client, relay := open(t, p)
		held[relay] = append(held[relay], client)
	}
	if n := len(held["dr"]); n != 3 {
		t.Fatalf("%d of 40 held sessions on the standby, want 3", n)
	}
	leave(t, p, held["dr"][0])
	again := 0
	for range 10 {
		if _, relay := open(t, p); relay == "dr" {
			again++
		}
	}
	if again != 1 {
		t.Errorf("%d of ten more on the standby, want one in place of the one that left", again)
	}
}

// Case 11. A floor for quiet hours: of the first few sessions one or two are
// enough for one an hour, and the largest floor takes every second session,
// never all.
func TestCaseWarmFloor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ perHour, least, most int }{{1, 1, 2}, {1_000_000, 19, 20}} {
		t.Run(fmt.Sprint(test.perHour), func(t *testing.T) {
			t.Parallel()
			p, hq, dr := warmSite(t, fmt.Sprint("min_per_hour: ", test.perHour))
			slow := smtptest.Script{ReplyDelay: 10 * time.Millisecond} // longer than a millionth of an hour
			hq.SetScript(slow)
			dr.SetScript(slow)
			hold(t, p.address, 1, 40)
			if n := shares(p.sessions(t, 40))["dr"]; n < test.least || n > test.most {
				t.Errorf("%d of 40 sessions on the standby, want %d to %d", n, test.least, test.most)
			}
		})
	}
}
