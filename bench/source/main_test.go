package source

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"smtplb/bench/mail"
	"smtplb/bench/result"
	"smtplb/internal/smtptest"
)

// patience bounds the waits of tests that pass long before it.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// to is the configuration of most tests: one client and one session.
func to(relays ...*smtptest.Relay) Config {
	cfg := Config{
		Concurrency: 1, Sessions: 1, Timeout: patience, ConnectTimeout: patience,
		RetryPause: time.Millisecond, Backoff: time.Millisecond, HELO: "client.test",
		Run: 7, Ledger: new(mail.Ledger),
	}
	for _, r := range relays {
		cfg.Targets = append(cfg.Targets, r.Addr().String())
	}
	return cfg
}

// run runs to the end.
func run(t *testing.T, cfg Config) *result.Run {
	t.Helper()
	smtptest.CheckDescriptors(t)
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantSessions compares the counts of sessions.
func wantSessions(t *testing.T, r *result.Run, started, ok, failed int64) {
	t.Helper()
	if s := r.Sessions; s.Started != started || s.OK != ok || s.Failed != failed || s.Cut != 0 {
		t.Errorf("sessions %+v, want %d started, %d ok, %d failed", s, started, ok, failed)
	}
}

// wantMessages compares the counts of messages.
func wantMessages(t *testing.T, r *result.Run, accepted, refused, unsure, unsent int64) {
	t.Helper()
	if m := r.Messages; m.Accepted != accepted || m.Refused != refused || m.Unsure != unsure || m.Unsent != unsent {
		t.Errorf("messages %+v, want %d accepted, %d refused, %d unsure, %d unsent", m, accepted, refused, unsure, unsent)
	}
}

// wantFailures compares class, stage and count.
func wantFailures(t *testing.T, r *result.Run, want ...result.Failure) {
	t.Helper()
	if len(r.Failures) != len(want) {
		t.Fatalf("failures %+v, want %+v", r.Failures, want)
	}
	for i, got := range r.Failures {
		if got.Class != want[i].Class || got.Stage != want[i].Stage || got.Count != want[i].Count {
			t.Errorf("failure %+v, want %+v", got, want[i])
		}
		if want[i].Reply != "" && got.Reply != want[i].Reply {
			t.Errorf("failure has the reply %q, want %q", got.Reply, want[i].Reply)
		}
	}
}

// stage returns the distribution of that name.
func stage(t *testing.T, r *result.Run, name string) result.Latency {
	t.Helper()
	for _, s := range r.Stages {
		if s.Name == name {
			return s.Latency
		}
	}
	t.Fatalf("no stage %q in %+v", name, r.Stages)
	return result.Latency{}
}

// arrived passes what relays have kept through the sink's checker.
func arrived(t *testing.T, relays ...*smtptest.Relay) mail.Holding {
	t.Helper()
	var receipts mail.Receipts
	for _, r := range relays {
		for _, m := range r.Messages() {
			if m.Data == nil {
				t.Fatal("the relay must keep the data")
			}
			var checker mail.Checker
			_, _ = checker.Write(m.Data) // never fails
			receipts.Add(checker.Arrival())
		}
	}
	if n := receipts.Foreign(); n > 0 {
		t.Errorf("%d messages without an identity", n)
	}
	return receipts.Of(7)
}

// ending returns a context that ends when the test says so.
func ending(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
