package source

import (
	"testing"

	"smtplb/bench/result"
	"smtplb/internal/smtptest"
)

func TestMessageWithoutAReplyIsUnsure(t *testing.T) {
	for class, script := range map[string]smtptest.Script{
		"closed": {CloseAfterDot: true, KeepData: true},
		"reset":  {ResetAfterDot: true, KeepData: true},
	} {
		t.Run(class, func(t *testing.T) {
			relay := smtptest.Start(t, script)
			cfg := to(relay)
			r := run(t, cfg)
			wantMessages(t, r, 0, 0, 1, 0)
			wantFailures(t, r, result.Failure{Class: class, Stage: "content", Count: 1})
			if v := cfg.Ledger.Compare(arrived(t, relay)); !v.OK() || v.Unsure != 1 || v.Delivered != 0 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// afterwards has the relay follow another script once its first connection is
// over.
func afterwards(t *testing.T, first, then smtptest.Script) *smtptest.Relay {
	t.Helper()
	relay := smtptest.Start(t, first)
	go func() {
		smtptest.Eventually(quietly{t}, patience, func() bool { return relay.Connections() > 0 }, "a connection")
		relay.SetScript(then)
	}()
	return relay
}

func TestMessagesAreTriedAgainInAnotherSession(t *testing.T) {
	healthy := smtptest.Script{KeepData: true}
	for name, test := range map[string]struct {
		script         smtptest.Script
		unsure, failed bool
	}{
		"after a bad greeting": {script: smtptest.Script{Greeting: "421 4.3.2 no\r\n"}},
		"after a refusal":      {script: smtptest.Script{EndOfDataReply: "451 4.3.0 later\r\n"}},
		"after silence":        {script: smtptest.Script{CloseAfterDot: true}, unsure: true},
	} {
		t.Run(name, func(t *testing.T) {
			relay := afterwards(t, test.script, healthy)
			cfg := to(relay)
			cfg.Retry = 1000
			r := run(t, cfg)
			wantMessages(t, r, 1, 0, 0, 0)
			if r.Sessions.OK != 1 || r.Sessions.Failed < 1 || r.Sessions.Started != 1+r.Sessions.Failed {
				t.Errorf("%+v", r.Sessions)
			}
			v := cfg.Ledger.Compare(arrived(t, relay))
			if !v.OK() || v.Accepted != 1 || v.Delivered != 1 || (v.Unsure > 0) != test.unsure {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestTriesAreCounted(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{EndOfDataReply: "451 4.3.0 later\r\n"})
	cfg := to(relay)
	cfg.Retry = 3
	r := run(t, cfg)
	wantSessions(t, r, 3, 0, 3)
	wantMessages(t, r, 0, 1, 0, 0)
	wantFailures(t, r, result.Failure{Class: "reply_4xx", Stage: "content", Reply: "451 4.3.0 later", Count: 3})
}

func TestPermanentRefusalIsNotTriedAgain(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{EndOfDataReply: "554 5.6.0 never\r\n"})
	cfg := to(relay)
	cfg.Retry = 3
	r := run(t, cfg)
	wantSessions(t, r, 1, 0, 1)
	wantMessages(t, r, 0, 1, 0, 0)
}

func TestSessionGoesOnAfterARefusal(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{EndOfDataReply: "451 4.3.0 later\r\n"})
	cfg := to(relay)
	cfg.MessagesPerSession, cfg.Retry = 3, 2
	r := run(t, cfg)
	// All three are tried in the first session, and all three in the second.
	wantSessions(t, r, 2, 0, 2)
	wantMessages(t, r, 0, 3, 0, 0)
	wantFailures(t, r, result.Failure{Class: "reply_4xx", Stage: "content", Count: 6})
	if relay.Connections() != 2 {
		t.Errorf("%d connections", relay.Connections())
	}
}

func TestRelayThatDiesLosesNothing(t *testing.T) {
	relays := []*smtptest.Relay{smtptest.Start(t, smtptest.Script{KeepData: true}), smtptest.Start(t, smtptest.Script{KeepData: true})}
	relays[0].SetScript(smtptest.Script{KeepData: true, OnMessage: func(smtptest.Message) {
		if relays[0].MessageCount() == 20 {
			relays[0].Stop()
		}
	}})
	cfg := to(relays...)
	cfg.Sessions, cfg.Messages, cfg.Concurrency, cfg.MessagesPerSession, cfg.Retry = 0, 200, 10, 5, 100
	r := run(t, cfg)
	wantMessages(t, r, 200, 0, 0, 0)
	// A message that was unsure may be there twice, and is expected then.
	if v := cfg.Ledger.Compare(arrived(t, relays...)); !v.OK() || v.Accepted != 200 || v.Delivered != 200 {
		t.Errorf("%+v", v)
	}
	if r.Sessions.Failed == 0 {
		t.Errorf("%+v: nobody noticed", r.Sessions)
	}
}
