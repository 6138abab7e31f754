package source

import (
	"runtime"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

func TestSessionsAreHeldOpenUntilClose(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay := smtptest.Start(t, smtptest.Script{})
	before := runtime.NumGoroutine()
	held, err := Hold(t.Context(), to(relay), 200)
	if err != nil {
		t.Fatal(err)
	}
	if held.Open() != 200 || relay.Active() != 200 {
		t.Errorf("%d held, %d at the relay", held.Open(), relay.Active())
	}
	// The relay has a goroutine for each, the source has none.
	if n := runtime.NumGoroutine() - before - 200; n > 50 {
		t.Errorf("%d goroutines more", n)
	}
	held.Close()
	held.Close()
	if held.Open() != 0 {
		t.Errorf("%d are open after Close", held.Open())
	}
	smtptest.Eventually(t, patience, func() bool { return relay.Active() == 0 }, "the relay to see them end")
}

func TestHeldSessionsThatTheTargetClosesAreNoticed(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	held, err := Hold(t.Context(), to(relay), 5)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	relay.Stop()
	smtptest.Eventually(t, patience, func() bool { return held.Open() == 0 }, "the end of all sessions")
}

func TestHeldSessionsMayBeEncrypted(t *testing.T) {
	m := startMTA(t)
	cfg := to()
	cfg.Targets, cfg.STARTTLS = []string{m.address}, true
	held, err := Hold(t.Context(), cfg, 3)
	if err != nil {
		t.Fatal(err)
	}
	if held.Open() != 3 {
		t.Errorf("%d are open", held.Open())
	}
	held.Close()
}

func TestHoldSaysWhatFailedAndLeavesNothing(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay := smtptest.Start(t, smtptest.Script{Greeting: "421 4.3.2 too many\r\n"})
	held, err := Hold(t.Context(), to(relay), 100)
	if err == nil || held != nil || !strings.Contains(err.Error(), "of 100 to "+relay.Addr().String()+": greeting_4xx: 421 4.3.2 too many") {
		t.Errorf("%v", err)
	}
	if _, err := Hold(t.Context(), Config{}, 1); err == nil || !strings.Contains(err.Error(), "no target") {
		t.Errorf("%v", err)
	}
}
