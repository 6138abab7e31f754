package source

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"smtplb/bench/result"
)

// A bubble is a run in time that is made up (testing/synctest), against a target
// behind a pipe. Where nobody waits nothing takes any time, so that what is
// measured is known to the millisecond.
type bubble struct {
	cfg Config
	// held tells until when a reply must wait that is due now; the begin of the
	// run is 0.
	held func(now time.Duration) time.Duration
	// refuses has every connection refused.
	refuses bool
}

// run returns the result, and how long it took by the bubble's clock.
func (b bubble) run(t *testing.T, ctx context.Context) (*result.Run, time.Duration) { //nolint:revive // as testing has it
	t.Helper()
	r := newRunner(b.cfg, []target{{name: "target", host: "target", address: "target:25"}})
	r.wait = func(ctx context.Context, until time.Time) bool {
		return !time.Now().Before(until) || waitRoughly(ctx, time.Until(until))
	}
	begun := time.Now()
	var servers sync.WaitGroup
	defer servers.Wait()
	r.dial = func(context.Context, string) (net.Conn, error) {
		if b.refuses {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		client, server := net.Pipe()
		servers.Go(func() { b.serve(server, begun) })
		return client, nil
	}
	return r.run(ctx), time.Since(begun)
}

// serve is the target: it takes everything.
func (b bubble) serve(conn net.Conn, begun time.Time) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	reply := func(text string) bool {
		if b.held != nil {
			now := time.Since(begun)
			// Never a timer of no length: fired by several goroutines of a bubble at
			// once, those crash Go 1.26's race detector.
			if d := b.held(now) - now; d > 0 {
				<-time.After(d)
			}
		}
		_, err := io.WriteString(conn, text+"\r\n")
		return err == nil
	}
	more := reply("220 target")
	for more {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return
		case line == "QUIT\r\n":
			reply("221 bye")
			return
		case line != "DATA\r\n":
			more = reply("250 ok")
			continue
		}
		more = reply("354 go")
		for more && line != ".\r\n" {
			if line, err = in.ReadString('\n'); err != nil {
				return
			}
		}
		more = more && reply("250 ok")
	}
}

// stalled is a target that does nothing from 2 s to 3 s after the begin.
func stalled(now time.Duration) time.Duration {
	if now >= 2*time.Second && now < 3*time.Second {
		return 3 * time.Second
	}
	return now
}

// TestOpenModelShowsAStallToEverybodyWhoWouldHaveMetIt: of 1000 sessions in ten
// seconds, one in ten is due while the target stalls, and waits for half a second
// on average. The closed model has one client, and sees one slow session.
func TestOpenModelShowsAStallToEverybodyWhoWouldHaveMetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := bubble{cfg: Config{Rate: 100, Duration: 10 * time.Second}, held: stalled}.run(t, t.Context())
		wantSessions(t, r, 1000, 1000, 0)
		if r.Model != "open" || r.LatencyOf != "intended start" || r.RateS != 100 || !r.Complete {
			t.Errorf("%s, from %s, rate %v, complete %t", r.Model, r.LatencyOf, r.RateS, r.Complete)
		}
		for _, name := range []string{"greeting", "session"} {
			s := stage(t, r, name)
			if s.P99MS < 850 || s.P99MS > 950 || s.P90MS > 50 || s.MaxMS != 1000 {
				t.Errorf("%s: %+v, want 900 ms at p99", name, s)
			}
			if mean := 1000.0 / 2 / 10; s.MeanMS < 0.95*mean || s.MeanMS > 1.05*mean {
				t.Errorf("%s: mean %v ms, want %v", name, s.MeanMS, mean)
			}
		}
		if s := stage(t, r, "schedule"); s.MaxMS != 0 || s.Count != 1000 {
			t.Errorf("schedule: %+v", s)
		}
	})
}

func TestClosedModelGoesAlongWithAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delayed := func(now time.Duration) time.Duration { return stalled(now) + time.Millisecond }
		r, _ := bubble{cfg: Config{Concurrency: 1, Duration: 10 * time.Second}, held: delayed}.run(t, t.Context())
		s := stage(t, r, "session")
		if s.Count < 1000 || s.P99MS > 10 || s.MaxMS < 1000 {
			t.Errorf("session: %+v, want a stall that shows in the maximum only", s)
		}
		if !strings.Contains(r.Explainers[0], "coordinated omission") {
			t.Errorf("the reader is not told: %q", r.Explainers)
		}
	})
}

func TestSourceThatIsLateSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Rate: 100, Sessions: 3}
		r := newRunner(cfg, []target{{name: "target", address: "target:25"}})
		r.wait = func(context.Context, time.Time) bool { <-time.After(200 * time.Millisecond); return true }
		r.dial = func(context.Context, string) (net.Conn, error) {
			client, server := net.Pipe()
			go bubble{}.serve(server, time.Now())
			return client, nil
		}
		got := r.run(t.Context())
		// The sessions are due after 0, 10 and 20 ms, and begin after 200, 400 and 600.
		for _, name := range []string{"schedule", "connect", "greeting", "session"} {
			if s := stage(t, got, name); s.MinMS != 200 || s.MaxMS != 580 {
				t.Errorf("%s: %+v", name, s)
			}
		}
		if s := stage(t, got, "message"); s.MaxMS != 0 {
			t.Errorf("message: %+v", s)
		}
		if !strings.Contains(strings.Join(got.Explainers, "\n"), "up to 580 ms late") {
			t.Errorf("%q", got.Explainers)
		}
	})
}

func TestSessionsWithoutAPlaceAreDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := bubble{cfg: Config{Rate: 100, Duration: 10 * time.Second, MaxOpen: 5}, held: stalled}.run(t, t.Context())
		// Five hold on from 2.00 to 2.04; who is due at 3.00 may be too early.
		if d := r.Sessions.Dropped; d < 95 || d > 96 || r.Sessions.Started+d != 1000 {
			t.Errorf("%+v", r.Sessions)
		}
		if !strings.Contains(strings.Join(r.Explainers, "\n"), "sessions were due but not begun, since 5 were open") {
			t.Errorf("%q", r.Explainers)
		}
	})
}

func TestOpenModelTriesAgainBesideTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Rate: 10, Sessions: 10, Retry: 3, RetryPause: 10 * time.Second}
		r, took := bubble{cfg: cfg, refuses: true}.run(t, t.Context())
		wantSessions(t, r, 30, 0, 30)
		wantMessages(t, r, 0, 0, 0, 10)
		if took != 20*time.Second+900*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestRefusingTargetIsNotSpunOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, took := bubble{cfg: Config{Concurrency: 3, Duration: 10 * time.Second}, refuses: true}.run(t, t.Context())
		// After 0, 0.1, 0.3, 0.7, 1.5 s, and each second then.
		wantSessions(t, r, 3*13, 0, 3*13)
		wantFailures(t, r, result.Failure{Class: "refused", Stage: "connect", Reply: "connect: connection refused", Count: 3 * 13})
		if took != 10*time.Second || !r.Complete {
			t.Errorf("took %v, complete %t", took, r.Complete)
		}
	})
}

func TestHopelessRunIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, took := bubble{cfg: Config{Concurrency: 1, Messages: 1000}, refuses: true}.run(t, t.Context())
		if took < time.Minute || took > 2*time.Minute || r.Complete || r.Sessions.OK != 0 {
			t.Errorf("took %v: %+v", took, r)
		}
		if !strings.Contains(strings.Join(r.Explainers, "\n"), "Given up") {
			t.Errorf("%q", r.Explainers)
		}
	})
}

func TestSessionsMayFinishAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(now time.Duration) time.Duration { return now + 5*time.Second }
		r, took := bubble{cfg: Config{Concurrency: 2, MessagesPerSession: 100, Duration: 12 * time.Second}, held: slow}.run(t, t.Context())
		// Seven replies: greeting, EHLO, MAIL, RCPT, DATA, content, QUIT.
		wantSessions(t, r, 2, 2, 0)
		wantMessages(t, r, 2, 0, 0, 0)
		if took != 35*time.Second || r.DurationS != 35 || !r.Complete {
			t.Errorf("took %v, %v s", took, r.DurationS)
		}
	})
}

func TestEndlessSessionsAreCutLongAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dribbling := func(now time.Duration) time.Duration { return now + 50*time.Second }
		r, took := bubble{cfg: Config{Concurrency: 2, Duration: time.Second}, held: dribbling}.run(t, t.Context())
		wantSessions(t, r, 2, 0, 2)
		wantMessages(t, r, 0, 0, 0, 2)
		wantFailures(t, r, result.Failure{Class: "timeout", Stage: "ehlo", Count: 2})
		if took != time.Second+DefaultTimeout+DefaultConnectTimeout || !r.Complete {
			t.Errorf("took %v, complete %t", took, r.Complete)
		}
	})
}

func TestInterruptionLeavesTwoSecondsToFinish(t *testing.T) {
	for delay, want := range map[time.Duration]int64{300 * time.Millisecond: 0, 5 * time.Second: 2} {
		synctest.Test(t, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, interrupt)
			slow := func(now time.Duration) time.Duration { return now + delay }
			r, took := bubble{cfg: Config{Concurrency: 2, MessagesPerSession: 100}, held: slow}.run(t, ctx)
			if r.Complete || r.Sessions.Cut != want || r.Sessions.OK != 2-want || len(r.Failures) > 0 || took > 3*time.Second {
				t.Errorf("%v: took %v, %+v, failures %+v", delay, took, r.Sessions, r.Failures)
			}
		})
	}
}
