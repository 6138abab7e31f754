package sink

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtplb/bench/mail"
)

// bare is a relay without an address.
func bare(tb interface{ Fatal(args ...any) }, faults ...string) *relay {
	s := newShared(newClock().now, true)
	r := newRelay(s, Relay{Name: "a"}, 0)
	s.plan.Store(newPlan(mustFaults(tb, faults...), []Relay{{Name: "a"}}, 0, s.now()))
	return r
}

// played is what a relay said to a client, and how it ended.
type played struct {
	said  string
	step  step
	waits []time.Duration
}

// play gives a dialogue all of input, in pieces as cut says, passes over
// delays, and stops where something else must be done.
func play(d *dialogue, input string, cut func(rest int) int) (p played) {
	d.begin()
	for {
		p.said += string(d.out)
		d.out = d.out[:0]
		d.announce()
		d.sent()
		p.step = d.step
		switch {
		case d.step == stepWait:
			p.waits = append(p.waits, d.wait)
			d.resume()
		case d.step != stepRead || input == "":
			return p
		default:
			n := d.input([]byte(input[:cut(len(input))]))
			input = input[n:]
		}
	}
}

func whole(rest int) int { return rest }

const (
	greeted  = "220 a.smtpbench.invalid ESMTP smtpbench\r\n"
	helloed  = "250-a.smtpbench.invalid\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE 0\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
	envelope = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	agreed   = greeted + helloed + "250 2.1.0 ok\r\n250 2.1.5 ok\r\n"
)

func TestDialogue(t *testing.T) {
	tests := []struct {
		name, says, hears string
		step              step
		messages          int64
	}{
		{"nothing", "", greeted, stepRead, 0},
		{"HELO", "HELO c\r\nQUIT\r\n", greeted + "250 a.smtpbench.invalid\r\n221 2.0.0 bye\r\n", stepQuit, 0},
		{"lower case and bare LF", "helo c\nquit\n", greeted + "250 a.smtpbench.invalid\r\n221 2.0.0 bye\r\n", stepQuit, 0},
		{
			"a message", envelope + "DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n",
			agreed + "354 go ahead\r\n250 2.0.0 taken by a\r\n221 2.0.0 bye\r\n", stepQuit, 1,
		},
		{"an empty message", envelope + "DATA\r\n.\r\n", agreed + "354 go ahead\r\n250 2.0.0 taken by a\r\n", stepRead, 1},
		{
			"BDAT", envelope + "BDAT 3\r\nabcBDAT 2 LAST\r\n\r\nNOOP\r\n",
			agreed + "250 2.0.0 3 octets\r\n250 2.0.0 taken by a\r\n250 2.0.0 ok\r\n", stepRead, 1,
		},
		{"BDAT of nothing", envelope + "BDAT 0 LAST\r\n", agreed + "250 2.0.0 taken by a\r\n", stepRead, 1},
		{
			"BDAT without an envelope: its octets are no commands", "EHLO c\r\nBDAT 6 last\r\nQUIT\r\nNOOP\r\n",
			greeted + helloed + "503 5.5.1 RCPT first\r\n250 2.0.0 ok\r\n", stepRead, 0,
		},
		{
			"BDAT and DATA", envelope + "BDAT 1\r\nxDATA\r\nRCPT TO:<a@b>\r\n",
			agreed + "250 2.0.0 1 octets\r\n503 5.5.1 BDAT has begun\r\n503 5.5.1 BDAT has begun\r\n", stepRead, 0,
		},
		{
			"bad BDAT", "BDAT\r\nBDAT x\r\nBDAT -1\r\nBDAT 1 FIRST\r\nBDAT 9223372036854775808\r\n",
			greeted + strings.Repeat("501 5.5.4 BDAT size [LAST] expected\r\n", 5), stepRead, 0,
		},
		{
			"out of order", "MAIL FROM:<a@b>\r\nEHLO c\r\nRCPT TO:<c@d>\r\nDATA\r\nMAIL FROM:<>\r\nMAIL FROM:<a@b>\r\nDATA\r\n",
			greeted + "503 5.5.1 say EHLO first\r\n" + helloed + "503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n" +
				"250 2.1.0 ok\r\n503 5.5.1 nested MAIL\r\n503 5.5.1 RCPT first\r\n", stepRead, 0,
		},
		{
			"RSET", envelope + "RSET\r\nDATA\r\n", agreed + "250 2.0.0 ok\r\n503 5.5.1 RCPT first\r\n", stepRead, 0,
		},
		{
			"bad addresses", "EHLO c\r\nMAIL\r\nMAIL FROM:a@b\r\nMAIL FROM:<a@b\r\nmail from: <a@b> SIZE=3\r\nRCPT TO:<>\r\nRCPT TO:\r\n",
			greeted + helloed + strings.Repeat("501 5.5.4 MAIL FROM:<address> expected\r\n", 3) + "250 2.1.0 ok\r\n" +
				strings.Repeat("501 5.5.4 RCPT TO:<address> expected\r\n", 2), stepRead, 0,
		},
		{
			"what is not known", "\r\nFROBNICATE\r\nVRFY x\r\nMAILING FROM:<a@b>\r\nDATA now\r\n",
			greeted + "500 5.5.2 unknown command\r\n500 5.5.2 unknown command\r\n252 2.1.5 cannot verify, send it\r\n" +
				"500 5.5.2 unknown command\r\n501 5.5.4 DATA takes no parameter\r\n", stepRead, 0,
		},
		{"STARTTLS", "EHLO c\r\nSTARTTLS\r\nNOOP\r\n", greeted + helloed + "220 2.0.0 go ahead\r\n", stepTLS, 0},
		{
			"STARTTLS, not so", envelope + "STARTTLS\r\nSTARTTLS x\r\n",
			agreed + "503 5.5.1 not now\r\n501 5.5.4 STARTTLS takes no parameter\r\n", stepRead, 0,
		},
		{
			"a line too long", strings.Repeat("x", maxLine+1) + "\r\nNOOP\r\n",
			greeted + "500 5.5.6 line too long\r\n250 2.0.0 ok\r\n", stepRead, 0,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, cut := range map[string]func(int) int{
				"at once": whole, "octet by octet": func(int) int { return 1 }, "in halves": func(rest int) int { return (rest + 1) / 2 },
			} {
				r := bare(t)
				got := play(&dialogue{relay: r}, test.says, cut)
				if got.said != test.hears || got.step != test.step {
					t.Errorf("%s: said %q and wants step %d\nwant %q and %d", name, got.said, got.step, test.hears, test.step)
				}
				if n := r.counts.messages.Load(); n != test.messages {
					t.Errorf("%s: %d messages, want %d", name, n, test.messages)
				}
			}
		})
	}
}

func TestFaultsInTheDialogue(t *testing.T) {
	const message = "DATA\r\nhello\r\n.\r\n"
	tests := []struct {
		fault, says, hears string
		step               step
		kind               string // that is counted, once
		wait               time.Duration
		messages           int64
	}{
		{"greeting=421", "QUIT\r\n", "421 4.3.2 a: injected fault\r\n", stepClose, "greeting_4xx", 0, 0},
		{`greeting="450 4.7.1 later"`, "EHLO c\r\nQUIT\r\n", "450 4.7.1 later\r\n503 5.5.1 only QUIT is possible\r\n221 2.0.0 bye\r\n", stepQuit, "greeting_4xx", 0, 0},
		{"greeting=554", "", "554 5.3.0 a: injected fault\r\n", stepRead, "greeting_5xx", 0, 0},
		{"greeting=close", "", "", stepClose, "greeting_closed", 0, 0},
		{"greeting=reset", "", "", stepReset, "greeting_reset", 0, 0},
		{"greeting=silence", "", "", stepSilence, "greeting_silence", 0, 0},
		{"greeting=half", "", "220 a", stepSilence, "greeting_half", 0, 0},
		{"greeting=endless", "", "220 " + strings.Repeat("x", endless-4), stepSilence, "greeting_endless", 0, 0},
		{"greeting=not_smtp", "", "SSH-2.0-OpenSSH_9.2\r\n", stepSilence, "not_smtp", 0, 0},
		{"greeting=multi_line", "NOOP\r\n", "220-a.smtpbench.invalid ESMTP smtpbench\r\n220-a greeting may have several lines\r\n220 (RFC 5321, 4.2.1)\r\n250 2.0.0 ok\r\n", stepRead, "greeting_multi_line", 0, 0},
		{"greeting=3s", "NOOP\r\n", greeted + "250 2.0.0 ok\r\n", stepRead, "greeting_delay", 3 * time.Second, 0},
		{"greeting=close delay=3s", "", "", stepClose, "greeting_closed", 3 * time.Second, 0},
		{"ehlo=502", "EHLO c\r\nHELO c\r\n", greeted + "502 5.3.0 a: injected fault\r\n250 a.smtpbench.invalid\r\n", stepRead, "ehlo_5xx", 0, 0},
		{"mail=421", envelope, greeted + helloed + "421 4.3.2 a: injected fault\r\n", stepClose, "mail_4xx", 0, 0},
		{"mail=450", envelope, greeted + helloed + "450 4.3.0 a: injected fault\r\n503 5.5.1 MAIL first\r\n", stepRead, "mail_4xx", 0, 0},
		{"rcpt=2s", envelope + message, agreed + "354 go ahead\r\n250 2.0.0 taken by a\r\n", stepRead, "rcpt_delay", 2 * time.Second, 1},
		{"data=451", envelope + "DATA\r\nNOOP\r\n", agreed + "451 4.3.0 a: injected fault\r\n250 2.0.0 ok\r\n", stepRead, "data_4xx", 0, 0},
		{"middle=reset", envelope + message, agreed + "354 go ahead\r\n", stepReset, "middle_reset", 0, 0},
		{"middle=1s", envelope + message, agreed + "354 go ahead\r\n250 2.0.0 taken by a\r\n", stepRead, "middle_delay", time.Second, 1},
		{"middle=close", envelope + "BDAT 3 LAST\r\nabc", agreed, stepClose, "middle_closed", 0, 0},
		{"content=552", envelope + message + "DATA\r\n", agreed + "354 go ahead\r\n552 5.3.0 a: injected fault\r\n503 5.5.1 RCPT first\r\n", stepRead, "content_5xx", 0, 0},
		{"content=close", envelope + message, agreed + "354 go ahead\r\n", stepClose, "content_closed", 0, 0},
		{"content=reset kept=true", envelope + message, agreed + "354 go ahead\r\n", stepReset, "content_reset", 0, 1},
		{"content=10m", envelope + "BDAT 3 LAST\r\nabc", agreed + "250 2.0.0 taken by a\r\n", stepRead, "content_delay", 10 * time.Minute, 1},
		{"bdat=452", envelope + "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", agreed + "452 4.3.0 a: injected fault\r\n503 5.5.1 RCPT first\r\n250 2.0.0 ok\r\n", stepRead, "bdat_4xx", 0, 0},
		{"bdat=421", envelope + "BDAT 6\r\nQUIT\r\n", agreed + "421 4.3.2 a: injected fault\r\n", stepClose, "bdat_4xx", 0, 0},
		{"starttls=454", "EHLO c\r\nSTARTTLS\r\nNOOP\r\n", greeted + helloed + "454 4.3.0 a: injected fault\r\n250 2.0.0 ok\r\n", stepRead, "starttls_4xx", 0, 0},
		{"quit=reset", "QUIT\r\n", greeted, stepReset, "quit_reset", 0, 0},
		{"quit=silence", "QUIT\r\n", greeted, stepSilence, "quit_silence", 0, 0},
		{"noop=500", "NOOP\r\nNOOP\r\n", greeted + "500 5.3.0 a: injected fault\r\n250 2.0.0 ok\r\n", stepRead, "noop_5xx", 0, 0},
		{"rset=451", "RSET\r\n", greeted + "451 4.3.0 a: injected fault\r\n", stepRead, "rset_4xx", 0, 0},
		{"command=451", "NOOP\r\nNOOP\r\n", greeted + "451 4.3.0 a: injected fault\r\n250 2.0.0 ok\r\n", stepRead, "noop_4xx", 0, 0},
	}
	for _, test := range tests {
		t.Run(test.fault, func(t *testing.T) {
			for _, cut := range []func(int) int{whole, func(int) int { return 1 }} {
				r := bare(t, test.fault+" times=1")
				got := play(&dialogue{relay: r}, test.says, cut)
				if got.said != test.hears || got.step != test.step {
					t.Errorf("said %q and wants step %d\nwant %q and %d", got.said, got.step, test.hears, test.step)
				}
				if test.wait > 0 != (len(got.waits) == 1) || test.wait > 0 && got.waits[0] != test.wait {
					t.Errorf("waits %v, want %v", got.waits, test.wait)
				}
				stats := r.counts.stats()
				if len(stats.Faults) != 1 || stats.Faults[test.kind] != 1 {
					t.Errorf("counted %v, want one %s", stats.Faults, test.kind)
				}
				if n := r.plan.Load().all[0].injected.Load(); n != 1 {
					t.Errorf("injected %d times, want once", n)
				}
				if stats.Messages != test.messages {
					t.Errorf("%d messages, want %d", stats.Messages, test.messages)
				}
			}
		})
	}
}

func TestByteByByte(t *testing.T) {
	got := play(&dialogue{relay: bare(t, "greeting=byte_by_byte pause=7ms")}, "NOOP\r\n", whole)
	if want := greeted + "250 2.0.0 ok\r\n"; got.said != want {
		t.Errorf("said %q, want %q", got.said, want)
	}
	if len(got.waits) != len(greeted)-1 || got.waits[0] != 7*time.Millisecond {
		t.Errorf("%d pauses, the first of %v", len(got.waits), got.waits[0])
	}
}

// A fault has happened when it has been sent, not when it was thought of; and
// it is counted before the client can know.
func TestFaultIsCountedOnceSent(t *testing.T) {
	r := bare(t, "greeting=421")
	counted := func(want int64) {
		t.Helper()
		if n := r.counts.stats().Faults["greeting_4xx"]; n != want || r.plan.Load().all[0].injected.Load() != want {
			t.Errorf("%d counted, want %d", n, want)
		}
	}
	for i := range int64(2) {
		d := dialogue{relay: r}
		d.begin()
		counted(i)
		d.announce()
		d.announce()
		counted(i + 1)
		d.sent()
		d.end()
		counted(i + 1)
	}
	lost := dialogue{relay: r} // the client is gone before it could be sent
	lost.begin()
	lost.announce()
	counted(3)
	lost.end()
	counted(2)
}

// However much a client pipelines without reading: replies are held back in
// bounds, and none is lost.
func TestRepliesAreHeldBackInBounds(t *testing.T) {
	d := dialogue{relay: bare(t)}
	d.begin()
	d.out = nil
	input := []byte(strings.Repeat("EHLO c\r\n", 10_000))
	replies := 0
	for len(input) > 0 {
		n := d.input(input)
		if n == 0 {
			t.Fatal("no progress")
		}
		input = input[n:]
		if len(d.out) > maxOut+len(helloed) {
			t.Fatalf("%d octets held back", len(d.out))
		}
		replies += bytes.Count(d.out, []byte("250 STARTTLS\r\n"))
		d.out = d.out[:0]
	}
	if replies != 10_000 {
		t.Errorf("%d replies to 10000 commands", replies)
	}
}

func TestAfterTLSASessionBeginsAnew(t *testing.T) {
	d := dialogue{relay: bare(t)}
	if got := play(&d, "EHLO c\r\nSTARTTLS\r\n", whole); got.step != stepTLS {
		t.Fatalf("step %d", got.step)
	}
	d.secured()
	d.input([]byte("MAIL FROM:<a@b>\r\nEHLO c\r\nSTARTTLS\r\n"))
	want := "503 5.5.1 say EHLO first\r\n" + strings.Replace(helloed, "250-CHUNKING\r\n250 STARTTLS", "250 CHUNKING", 1) + "503 5.5.1 not now\r\n"
	if string(d.out) != want {
		t.Errorf("said %q, want %q", d.out, want)
	}
	if n := d.relay.counts.sessions.Load(); n != 1 {
		t.Errorf("counts as %d sessions, want 1", n)
	}
}

// pipelined is a session of random commands and messages.
func pipelined(t *rapid.T, composer *mail.Composer) string {
	var b strings.Builder
	for _, part := range rapid.SliceOf(rapid.SampledFrom([]string{
		envelope, "NOOP\r\n", "RSET\r\n", "DATA\r\n", "message", "BDAT 5\r\nQUIT\r", "BDAT 3 LAST\r\nabc", "nonsense\r\n", "x", ".\r\n", "EHLO c\r\n",
	})).Draw(t, "session") {
		if part != "message" {
			b.WriteString(part)
			continue
		}
		m := composer.Message(mail.ID{Run: 1, Seq: uint64(b.Len())}, 400)
		b.WriteString("DATA\r\n")
		_ = m.WriteDotted(&b) // a Builder never fails
	}
	return b.String()
}

func TestPiecesMakeNoDifference(t *testing.T) {
	composer := mail.NewComposer()
	rapid.Check(t, func(t *rapid.T) {
		says := pipelined(t, composer)
		faults := []string{"mail=450 probability=30%", "middle=1s probability=30%", "content=451 probability=30%", "bdat=452 probability=30%"}
		one, other := bare(t, faults...), bare(t, faults...)
		want := play(&dialogue{relay: one}, says, whole)
		got := play(&dialogue{relay: other}, says, func(rest int) int { return rapid.IntRange(1, rest).Draw(t, "piece") })
		if got.said != want.said || got.step != want.step {
			t.Errorf("said %q\nat once: %q", got.said, want.said)
		}
		a, b := one.receipts.Of(1), other.receipts.Of(1)
		if a.Total != b.Total || len(a.Corrupt)+len(b.Corrupt) > 0 {
			t.Errorf("%+v\nat once: %+v", b, a)
		}
	})
}

// FuzzDialogue: whatever a client says, the relay answers in whole lines with a
// code, takes all input unless it ends the session, and never panics.
func FuzzDialogue(f *testing.F) {
	f.Add([]byte(envelope+"DATA\r\n..x\r\n.\r\nQUIT\r\n"), uint8(0), uint8(7))
	f.Add([]byte(envelope+"BDAT 5\r\nabcdeBDAT 0 LAST\r\nSTARTTLS\r\n"), uint8(3), uint8(1))
	f.Add([]byte("helo\nMAIL FROM:<>\r\n\r\r\n.\r\n"), uint8(9), uint8(2))
	faults := []string{
		"greeting=450", "mail=1s", "rcpt=550 probability=50%", "data=close", "content=451 kept=true", "middle=silence",
		"bdat=450 delay=1s", "command=451 probability=20%", "greeting=byte_by_byte", "quit=reset",
	}
	f.Fuzz(func(t *testing.T, says []byte, fault, piece uint8) {
		d := dialogue{relay: bare(t, faults[int(fault)%len(faults)])}
		got := play(&d, string(says), func(rest int) int { return min(rest, int(piece)+1) })
		d.end()
		if got.said != "" && !strings.HasSuffix(got.said, "\r\n") {
			t.Errorf("said %q", got.said)
		}
		for line := range strings.Lines(got.said) {
			if len(line) < 6 || line[0] < '2' || line[0] > '5' {
				t.Errorf("said the line %q", line)
			}
		}
	})
}
