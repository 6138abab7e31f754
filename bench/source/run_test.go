package source

import (
	"context"
	"slices"
	"testing"
	"time"

	"smtplb/bench/mail"
	"smtplb/bench/result"
	"smtplb/internal/smtptest"
)

func TestEveryWayOfSendingDeliversTheMessageWhole(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*Config)
		commands int64 // that are timed, in a session
	}{
		"lock-step":             {func(*Config) {}, 2 + 2*3},
		"pipelining":            {func(c *Config) { c.Pipelining = true }, 2 + 2},
		"bdat":                  {func(c *Config) { c.BDAT = true }, 2 + 2*2},
		"pipelining and bdat":   {func(c *Config) { c.Pipelining, c.BDAT = true, true }, 2 + 2},
		"three recipients":      {func(c *Config) { c.Recipients = FixedRecipients(3) }, 2 + 2*5},
		"three, pipelined":      {func(c *Config) { c.Recipients, c.Pipelining = FixedRecipients(3), true }, 2 + 2},
		"no TLS is offered":     {func(c *Config) { c.STARTTLS = true }, 2 + 2*3},
		"one megabyte":          {func(c *Config) { c.Size = FixedSize(1 << 20) }, 2 + 2*3},
		"one megabyte, chunked": {func(c *Config) { c.Size, c.BDAT = FixedSize(1<<20), true }, 2 + 2*2},
	} {
		t.Run(name, func(t *testing.T) {
			relay := smtptest.Start(t, smtptest.Script{KeepData: true})
			cfg := to(relay)
			cfg.MessagesPerSession, cfg.Sessions = 2, 3
			test.change(&cfg)
			r := run(t, cfg)
			wantSessions(t, r, 3, 3, 0)
			wantMessages(t, r, 6, 0, 0, 0)
			wantFailures(t, r)
			if v := cfg.Ledger.Compare(arrived(t, relay)); !v.OK() || v.Accepted != 6 || v.Delivered != 6 {
				t.Errorf("%+v", v)
			}
			if !r.Complete || r.Model != "closed" || r.LatencyOf != "start" || r.Messages.Bytes != 6*int64(cfg.Size.Size(0)) {
				t.Errorf("%+v", r)
			}
			for stageName, want := range map[string]int64{"connect": 3, "greeting": 3, "command": 3 * test.commands, "message": 6, "session": 3} {
				if got := stage(t, r, stageName).Count; got != want {
					t.Errorf("%d times %s, want %d", got, stageName, want)
				}
			}
		})
	}
}

func TestEnvelopeIsAsConfigured(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	cfg := to(relay)
	cfg.From, cfg.To, cfg.Recipients = "anna@example.com", "bert@example.net", FixedRecipients(3)
	run(t, cfg)
	m := relay.Messages()[0]
	if m.From != "anna@example.com" || !slices.Equal(m.To, []string{"bert@example.net", "bert2@example.net", "bert3@example.net"}) {
		t.Errorf("from %q to %q", m.From, m.To)
	}
}

func TestSameSeedGivesTheSameSizes(t *testing.T) {
	var sizes [2][]int64
	for i := range sizes {
		relay := smtptest.Start(t, smtptest.Script{})
		cfg := to(relay)
		cfg.Size, cfg.Sessions, cfg.Seed = SizeRange(1<<10, 1<<16), 5, 42
		run(t, cfg)
		for _, m := range relay.Messages() {
			sizes[i] = append(sizes[i], m.Size)
		}
	}
	if !slices.Equal(sizes[0], sizes[1]) || len(slices.Compact(sizes[0])) < 2 {
		t.Errorf("%v and %v", sizes[0], sizes[1])
	}
}

func TestRunEndsWithTheFirstLimit(t *testing.T) {
	for name, test := range map[string]struct {
		change             func(*Config)
		sessions, messages int64
	}{
		"sessions":                     {func(c *Config) { c.Sessions, c.Messages = 7, 1000 }, 7, 21},
		"messages":                     {func(c *Config) { c.Sessions, c.Messages, c.Concurrency = 1000, 7, 1 }, 3, 7},
		"messages of the last session": {func(c *Config) { c.Sessions, c.Messages, c.Concurrency = 0, 6, 1 }, 2, 6},
		"sessions, open model":         {func(c *Config) { c.Concurrency, c.Rate, c.Sessions = 0, 1000, 7 }, 7, 21},
		"messages, Poisson, open model": {func(c *Config) {
			c.Concurrency, c.Rate, c.Poisson, c.Messages, c.MessagesPerSession = 0, 1000, true, 7, 1
		}, 7, 7},
	} {
		t.Run(name, func(t *testing.T) {
			relay := smtptest.Start(t, smtptest.Script{})
			cfg := to(relay)
			cfg.Concurrency, cfg.MessagesPerSession, cfg.Sessions = 4, 3, 0
			test.change(&cfg)
			r := run(t, cfg)
			wantSessions(t, r, test.sessions, test.sessions, 0)
			wantMessages(t, r, test.messages, 0, 0, 0)
			if got := int64(relay.MessageCount()); got != test.messages || !r.Complete {
				t.Errorf("%d arrived, complete %t", got, r.Complete)
			}
		})
	}
}

func TestRunEndsAfterItsTime(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	for name, change := range map[string]func(*Config){
		"closed": func(*Config) {},
		"open":   func(c *Config) { c.Concurrency, c.Rate = 0, 200 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := to(relay)
			cfg.Sessions, cfg.Duration = 0, 200*time.Millisecond
			change(&cfg)
			r := run(t, cfg)
			if !r.Complete || r.Sessions.OK == 0 || r.Sessions.Failed != 0 || r.Sessions.Cut != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestTargetsTakeTurns(t *testing.T) {
	relays := []*smtptest.Relay{smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})}
	cfg := to(relays...)
	cfg.Sessions = 9
	r := run(t, cfg)
	wantSessions(t, r, 9, 9, 0)
	for _, relay := range relays {
		if n := relay.MessageCount(); n != 3 {
			t.Errorf("%s has %d messages, want 3", relay.Addr(), n)
		}
	}
	if len(r.Targets) != 3 || r.Targets[1] != relays[1].Addr().String() {
		t.Errorf("targets %q", r.Targets)
	}
}

func TestFailuresNameTheTargetWhereThereAreSeveral(t *testing.T) {
	good, bad := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{Greeting: "554 5.7.1 no\r\n"})
	cfg := to(good, bad)
	cfg.Sessions = 4
	r := run(t, cfg)
	wantSessions(t, r, 4, 2, 2)
	wantFailures(t, r, result.Failure{Class: "greeting_5xx", Stage: "greeting", Count: 2})
	if r.Failures[0].Target != bad.Addr().String() {
		t.Errorf("target %q", r.Failures[0].Target)
	}
}

func TestSecondsAddUpToTheRun(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	cfg := to(relay)
	cfg.Sessions, cfg.MessagesPerSession, cfg.Concurrency = 30, 2, 3
	var seen []result.Second
	cfg.OnSecond = func(s result.Second) { seen = append(seen, s) }
	r := run(t, cfg)
	var sum result.Second
	for _, s := range r.Timeline {
		sum.Sessions += s.Sessions
		sum.Messages += s.Messages
		sum.Bytes += s.Bytes
	}
	if !slices.Equal(seen, r.Timeline) || sum.Sessions != 30 || sum.Messages != 60 || sum.Bytes != r.Messages.Bytes {
		t.Errorf("%+v, the run %+v %+v", r.Timeline, r.Sessions, r.Messages)
	}
	if last := r.Timeline[len(r.Timeline)-1]; last.Open != 0 || last.GreetingP99 <= 0 || last.MessageP50 <= 0 {
		t.Errorf("the last second is %+v", last)
	}
}

func TestInterruptedRunReportsWhatItHas(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	ctx, interrupt := ending(t)
	relay.SetScript(smtptest.Script{KeepData: true, OnMessage: func(smtptest.Message) {
		if relay.MessageCount() == 10 {
			interrupt()
		}
	}})
	cfg := to(relay)
	cfg.Sessions, cfg.Concurrency, cfg.MessagesPerSession = 0, 2, 1000
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The sessions finish the message that they are at, and say QUIT.
	wantSessions(t, r, 2, 2, 0)
	if r.Complete || r.Messages.Accepted < 10 || r.Messages.Accepted > 12 || r.Messages.Unsure+r.Messages.Unsent > 0 {
		t.Errorf("%+v", r)
	}
	if v := cfg.Ledger.Compare(arrived(t, relay)); !v.OK() {
		t.Errorf("%+v", v)
	}
}

func TestInterruptionDoesNotWaitForASilentTarget(t *testing.T) {
	smtptest.CheckDescriptors(t)
	relay := smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent})
	cfg := to(relay)
	cfg.Sessions, cfg.Concurrency, cfg.Timeout = 0, 3, time.Hour
	ctx, interrupt := ending(t)
	go func() {
		defer interrupt()
		smtptest.Eventually(quietly{t}, patience, func() bool { return relay.Connections() == 3 }, "3 connections")
	}()
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Sessions; r.Complete || s.Started != 3 || s.Cut != 3 || s.Failed != 0 || len(r.Failures) != 0 {
		t.Errorf("%+v, failures %+v", s, r.Failures)
	}
	wantMessages(t, r, 0, 0, 0, 3)
}

// quietly is a test that may be failed from any goroutine.
type quietly struct{ *testing.T }

func (q quietly) Fatalf(format string, args ...any) { q.Errorf(format, args...) }

func TestExchangeProfile(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{KeepData: true})
	cfg := Exchange(relay.Addr().String())
	cfg.Messages, cfg.Run, cfg.Ledger = 100, 7, new(mail.Ledger)
	r := run(t, cfg)
	wantMessages(t, r, 100, 0, 0, 0)
	if v := cfg.Ledger.Compare(arrived(t, relay)); !v.OK() {
		t.Errorf("%+v", v)
	}
	if relay.Connections() > 20+100/20 {
		t.Errorf("%d connections", relay.Connections())
	}
}

func TestRunRefusesAConfigurationThatIsWrong(t *testing.T) {
	if r, err := Run(context.Background(), Config{}); err == nil || r != nil {
		t.Errorf("%+v %v", r, err)
	}
}
