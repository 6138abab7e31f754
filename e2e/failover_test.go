package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// twoSites is two relays at hq and two at dr; failbackDelay is the only timeout
// that is not the product's own.
const (
	failbackDelay = 2 * time.Second
	twoSites      = "probe: {interval: 500ms, fast_interval: 200ms, timeout: 1s, rise: 2, fall: 2}\n" +
		"passive: {eject: 5s}\nfailover: {failback_delay: 2s}\n"
)

// A whole site dies, in each way there is, while 20 sessions a second start
// whether or not those before have ended; then it comes back.
func TestDeadSiteCostsNoSession(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(*smtptest.Relay){
		"refuses":    (*smtptest.Relay).Stop,
		"greets 421": func(r *smtptest.Relay) { r.SetScript(smtptest.Script{Greeting: "421 4.3.2 closing\r\n"}) },
		"is silent":  func(r *smtptest.Relay) { r.SetScript(smtptest.Script{Fault: smtptest.Silent}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deadSite(t, kill)
		})
	}
}

func deadSite(t *testing.T, kill func(*smtptest.Relay)) {
	var relays []*smtptest.Relay
	var backends []string
	for n, name := range []string{"hq-a", "hq-b", "dr-a", "dr-b"} {
		relays = append(relays, smtptest.Start(t, smtptest.Script{}))
		backends = append(backends, backend(name, relays[n].Addr(), "site: "+name[:2], fmt.Sprintf("priority: %d", n/2)))
	}
	p := start(t, site{pool: twoSites, backends: backends})
	var ledger smtptest.Ledger
	ended := 0
	send := func(phase string, count int, pause time.Duration) []session {
		t.Helper()
		for _, err := range openModel(p.address, phase, count, pause, &ledger) {
			t.Errorf("%s: session failed: %v", phase, err)
		}
		ended += count
		return p.sessions(t, ended)[ended-count:]
	}
	onTier := func(sessions []session) (n [2]int) {
		for _, s := range sessions {
			n[s.Tier]++
		}
		return n
	}

	// Both relays of hq are known well enough to be found late: see balancer's habits.
	if got := onTier(send("before", 60, 10*time.Millisecond)); got[1] != 0 {
		t.Errorf("before: %v sessions by tier, want hq only", got)
	}

	kill(relays[0])
	kill(relays[1])
	died := send("dead", 100, 50*time.Millisecond)
	slowest := slices.MaxFunc(died, func(a, b session) int { return cmp.Compare(a.SetupMS, b.SetupMS) })
	t.Logf("100 sessions at 20 a second, slowest greeting after %.0f ms: %s", slowest.SetupMS, slowest.asked())
	if got := onTier(died); got[0] != 0 {
		t.Errorf("dead: %v sessions by tier, want dr only", got)
	}
	p.waitLine(t, "failover", nil)

	for _, r := range relays[:2] {
		r.SetScript(smtptest.Script{})
		if err := r.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	back := p.waitLine(t, "failback", nil)
	p.checkDelay(t, back)
	if got := onTier(send("back", 20, 50*time.Millisecond)); got[1] != 0 {
		t.Errorf("back: %v sessions by tier, want hq only", got)
	}
	if n := len(p.logged(t, "failback")); n != 1 {
		t.Errorf("%d failbacks, want one", n)
	}
	var messages []smtptest.Message
	for _, r := range relays {
		messages = append(messages, r.Messages()...)
	}
	if report := ledger.Compare(messages); report.Err() != nil || report.Delivered != ended {
		t.Errorf("%d of %d messages are there: %v", report.Delivered, ended, report.Err())
	}
}

// checkDelay holds the failback against the moment at which the first relay of
// hq was up again for good.
func (p *process) checkDelay(t *testing.T, back logLine) {
	t.Helper()
	var up, down time.Time
	for _, line := range p.logged(t, "backend") {
		switch at := line.time(t); {
		case line.text("backend")[:2] != "hq" || at.After(back.time(t)):
		case line.text("to") != "up":
			down, up = at, time.Time{}
		case up.IsZero():
			up = at
		}
	}
	// The log's times are those of writing, a moment after the change.
	const moment = 100 * time.Millisecond
	if down.IsZero() || up.IsZero() || back.time(t).Sub(up) < failbackDelay-moment {
		t.Errorf("hq was down at %v, up at %v and used again at %v, want %v later", down, up, back.time(t), failbackDelay)
	}
}

// The standby gets its share, and takes all when it has to.
func TestStandbyIsKeptWarm(t *testing.T) {
	t.Parallel()
	hq, dr := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p := start(t, site{
		pool: "probe: {interval: 500ms, fast_interval: 200ms, timeout: 3s, rise: 2, fall: 2}\n" +
			"failover: {keep_warm: {share: 10%}}\n",
		backends: []string{backend("hq", hq.Addr()), backend("dr", dr.Addr(), "priority: 1")},
	})
	var ledger smtptest.Ledger
	if failed := openModel(p.address, "warm", 200, 5*time.Millisecond, &ledger); len(failed) > 0 {
		t.Error(failed)
	}
	warm := 0
	for _, s := range p.sessions(t, 200) {
		if s.Warm != (s.Backend == "dr") {
			t.Errorf("a session on %s has warm: %v", s.Backend, s.Warm)
		}
		if s.Warm {
			warm++
		}
	}
	if warm != 20 {
		t.Errorf("%d of 200 sessions kept dr warm, want 20", warm)
	}
	hq.Stop()
	p.waitLine(t, "failover", nil)
	if failed := openModel(p.address, "cold", 20, 5*time.Millisecond, &ledger); len(failed) > 0 {
		t.Error(failed)
	}
	for _, s := range p.sessions(t, 220)[200:] {
		if s.Backend != "dr" || s.Warm {
			t.Errorf("after the failover a session on %s, warm %v", s.Backend, s.Warm)
		}
	}
}

// A standby that was idle takes a tenth of the sessions at first, where that is
// asked for; the others read why, and keep their mail.
func TestColdStandbyTakesOverSlowly(t *testing.T) {
	t.Parallel()
	hq, dr := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p := start(t, site{
		pool:     strings.Replace(quick, "failback_delay: 0s", "failback_delay: 0s, ramp: {over: 10h, start: 10%}", 1),
		backends: []string{backend("hq", hq.Addr()), backend("dr", dr.Addr(), "priority: 1")},
	})
	hq.Stop()
	p.waitLine(t, "failover", nil)
	taken := 0
	for n := range 50 {
		client := smtptest.Dial(t, p.address)
		switch greeting, err := client.Greeting(); {
		case err != nil:
			t.Fatalf("session %d: %v", n, err)
		case strings.HasPrefix(greeting, "220 "):
			taken++
		case !strings.HasPrefix(greeting, "421 4.3.2 ") || !strings.Contains(greeting, "takes over slowly"):
			t.Errorf("session %d reads %q", n, greeting)
		}
		client.Close()
	}
	if taken != 5 {
		t.Errorf("%d of 50 sessions were taken, want 5", taken)
	}
	if err := hq.Restart(); err != nil {
		t.Fatal(err)
	}
	p.waitLine(t, "failback", nil)
	if err := visit(p.address); err != nil {
		t.Errorf("after the failback: %v", err)
	}
}
