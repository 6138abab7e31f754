package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/bench/result"
	"smtplb/internal/smtptest"
)

// The words for a bad greeting are the balancer's.
func TestEveryGreetingFaultHasItsClass(t *testing.T) {
	for _, fault := range smtptest.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			relay := smtptest.Start(t, fault.Script)
			cfg := to(relay)
			if fault.Outcome == "greeting_timeout" {
				cfg.Timeout = 50 * time.Millisecond
			}
			r := run(t, cfg)
			if fault.Outcome == "ok" {
				wantSessions(t, r, 1, 1, 0)
				return
			}
			wantSessions(t, r, 1, 0, 1)
			wantMessages(t, r, 0, 0, 0, 1)
			at := atGreeting
			if r.Failures[0].Stage == atConnect { // a reset may come as early as that
				at = atConnect
			}
			wantFailures(t, r, result.Failure{Class: fault.Outcome, Stage: at, Count: 1})
			if strings.HasPrefix(fault.Outcome, "greeting_4") || strings.HasPrefix(fault.Outcome, "greeting_5") {
				if got, want := r.Failures[0].Reply, strings.TrimSpace(fault.Script.Greeting); got != want {
					t.Errorf("reply %q, want %q", got, want)
				}
			}
		})
	}
}

func TestTargetThatDoesNotListen(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	relay.Stop()
	cfg := to(relay)
	cfg.Sessions = 3
	r := run(t, cfg)
	wantSessions(t, r, 3, 0, 3)
	wantMessages(t, r, 0, 0, 0, 3)
	wantFailures(t, r, result.Failure{Class: "refused", Stage: "connect", Reply: "connect: connection refused", Count: 3})
}

// saying answers each command with the next of replies, and closes after the
// last. The greeting is the first. An empty one reads the command and says nothing:
// closed with a command unread, the connection would be reset.
func saying(t *testing.T, replies ...string) *smtptest.Relay {
	t.Helper()
	return smtptest.Start(t, smtptest.Script{Raw: func(c net.Conn) {
		buf := make([]byte, 64<<10)
		for i, reply := range replies {
			if i > 0 {
				if n, err := c.Read(buf); err != nil || n == 0 {
					return
				}
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	}})
}

const (
	greets = "220 relay\r\n"
	hello  = "250-relay\r\n250 SIZE 1000\r\n"
	good   = "250 2.0.0 ok\r\n"
	goes   = "354 go\r\n"
	bye    = "221 bye\r\n"
)

func TestEveryStepHasItsFailures(t *testing.T) {
	for name, test := range map[string]struct {
		replies               []string
		class, stage, reply   string
		refused, unsure, sent int64 // of one message; none: unsent
	}{
		"EHLO refused, QUIT follows": {[]string{greets, "550 5.7.1 not you\r\n", bye}, "reply_5xx", "ehlo", "550 5.7.1 not you", 0, 0, 0},
		"EHLO closed":                {[]string{greets, ""}, "closed", "ehlo", "connection closed", 0, 0, 0},
		"MAIL refused":               {[]string{greets, hello, "452 4.3.1 full\r\n", good, bye}, "reply_4xx", "mail", "452 4.3.1 full", 1, 0, 0},
		"MAIL refused with 421":      {[]string{greets, hello, "421 4.3.2 stopping\r\n"}, "reply_4xx", "mail", "421 4.3.2 stopping", 1, 0, 0},
		"RCPT refused":               {[]string{greets, hello, good, "550 5.1.1 nobody\r\n", good, bye}, "reply_5xx", "rcpt", "550 5.1.1 nobody", 1, 0, 0},
		"RCPT cut off":               {[]string{greets, hello, good, "25"}, "closed", "rcpt", "connection closed", 0, 0, 0},
		"DATA refused":               {[]string{greets, hello, good, good, "451 4.3.0 later\r\n", good, bye}, "reply_4xx", "data", "451 4.3.0 later", 1, 0, 0},
		"DATA misunderstood":         {[]string{greets, hello, good, good, good}, "reply_unexpected", "data", "250 2.0.0 ok", 0, 0, 0},
		"DATA closed":                {[]string{greets, hello, good, good, ""}, "closed", "data", "connection closed", 0, 0, 0},
		"content refused":            {[]string{greets, hello, good, good, goes, "552 5.3.4 too big\r\n", good, bye}, "reply_5xx", "content", "552 5.3.4 too big", 1, 0, 0},
		"content closed":             {[]string{greets, hello, good, good, goes, ""}, "closed", "content", "connection closed", 0, 1, 0},
		"content answered in Greek":  {[]string{greets, hello, good, good, goes, "\u039d\u03b1\u03b9\r\n"}, "not_smtp", "content", "no SMTP reply: \"\\u039d\\u03b1\\u03b9\\r\"", 0, 1, 0},
		"RSET refused":               {[]string{greets, hello, "452 4.3.1 full\r\n", "500 what\r\n", bye}, "", "", "", 1, 0, 0},
		"QUIT closed":                {[]string{greets, hello, good, good, goes, good, ""}, "closed", "quit", "connection closed", 0, 0, 1},
		"QUIT refused":               {[]string{greets, hello, good, good, goes, good, "500 no\r\n"}, "reply_5xx", "quit", "500 no", 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, to(saying(t, test.replies...)))
			wantSessions(t, r, 1, 0, 1)
			wantMessages(t, r, test.sent, test.refused, test.unsure, 1-test.sent-test.refused-test.unsure)
			if test.class != "" {
				wantFailures(t, r, result.Failure{Class: test.class, Stage: test.stage, Reply: test.reply, Count: 1})
			} else if len(r.Failures) != 2 {
				t.Errorf("%+v, want two", r.Failures)
			}
		})
	}
}

func TestHELOForThoseWhoKnowNoEHLO(t *testing.T) {
	r := run(t, to(saying(t, greets, "502 5.5.1 what\r\n", good, good, good, goes, good, bye)))
	wantSessions(t, r, 1, 1, 0)
	wantFailures(t, r)
}

func TestConnectionThatBreaksInTheContentSaysWhyIfTheTargetDid(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{Raw: func(c net.Conn) {
		for i, reply := range []string{greets, hello, good, good, goes, "552 5.3.4 enough\r\n"} {
			if i > 0 {
				if n, err := c.Read(make([]byte, 512)); err != nil || n == 0 {
					return
				}
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	}})
	cfg := to(relay)
	cfg.Size = FixedSize(64 << 20) // more than any buffer between the two takes
	r := run(t, cfg)
	// The reset may overtake the reply; the message has not left in either case.
	m := r.Messages
	if m.Accepted+m.Unsure > 0 || m.Refused+m.Unsent != 1 || r.Failures[0].Stage != "content" {
		t.Errorf("%+v, failures %+v", m, r.Failures)
	}
	if f := r.Failures[0]; m.Refused == 1 && f.Reply != "552 5.3.4 enough" {
		t.Errorf("%+v", f)
	}
}

func TestUnreachableTargetsHaveTheirClass(t *testing.T) {
	wrap := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	for want, err := range map[string]error{
		"refused":         wrap(syscall.ECONNREFUSED),
		"reset":           wrap(syscall.ECONNRESET),
		"no_local_port":   wrap(syscall.EADDRNOTAVAIL),
		"no_descriptor":   &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)},
		"connect_timeout": &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"other":           errors.New("what else"),
	} {
		if f := unconnected(err); f.class != want || f.stage != "connect" || f.text == "" {
			t.Errorf("%v: %+v, want %s", err, f, want)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN} {
		if f := unconnected(wrap(errno)); f.class != "unreachable" {
			t.Errorf("%v: %+v", errno, f)
		}
	}
	if f := unconnected(wrap(syscall.ETIMEDOUT)); f.class != "connect_timeout" {
		t.Errorf("%+v", f)
	}
	if f := unconnected(context.DeadlineExceeded); f.class != "connect_timeout" {
		t.Errorf("%+v", f)
	}
	if f := broken(atMAIL, fmt.Errorf("write: %w", syscall.EPIPE)); f.class != "reset" || !f.over {
		t.Errorf("%+v", f)
	}
}

func TestSilenceAfterTheGreetingIsATimeout(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{Raw: func(c net.Conn) {
		_, _ = io.WriteString(c, greets)
		_, _ = io.Copy(io.Discard, c)
	}})
	cfg := to(relay)
	cfg.Timeout = 20 * time.Millisecond
	r := run(t, cfg)
	wantFailures(t, r, result.Failure{Class: "timeout", Stage: "ehlo", Reply: "no reply in time", Count: 1})
}
