package probes

import (
	"errors"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"testing"

	"smtplb/balancer"
)

// transcripts are what real servers say to EHLO and QUIT, as they say it.
var transcripts = []struct {
	name, greeting, ehlo, quit string
}{
	{"Postfix", "220 mx.example.org ESMTP Postfix (Debian/GNU)\r\n",
		"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n",
		"221 2.0.0 Bye\r\n"},
	{"postscreen with a teaser", "220-mx.example.org ESMTP Postfix\r\n220 mx.example.org ESMTP Postfix\r\n",
		"250-mx.example.org\r\n250-SIZE 10240000\r\n250 STARTTLS\r\n", "221 2.0.0 Bye\r\n"},
	{"Exim", "220 mail.example.org ESMTP Exim 4.97 Mon, 23 Nov 2026 10:00:00 +0000\r\n",
		"250-mail.example.org Hello lb.example [192.0.2.1]\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-PIPECONNECT\r\n250-CHUNKING\r\n250-STARTTLS\r\n250-PRDR\r\n250 HELP\r\n",
		"221 mail.example.org closing connection\r\n"},
	{"Exim for a shared host", "220-box1.example.net ESMTP Exim 4.96.2 #2 Mon, 23 Nov 2026 04:00:00 -0600 \r\n220-We do not authorize the use of this system to transport unsolicited, \r\n220 and/or bulk e-mail.\r\n",
		"250-box1.example.net Hello lb.example [192.0.2.1]\r\n250-SIZE 52428800\r\n250 HELP\r\n",
		"221 box1.example.net closing connection\r\n"},
	{"Exchange", "220 EX01.corp.example Microsoft ESMTP MAIL Service ready at Mon, 23 Nov 2026 10:00:00 +0000\r\n",
		"250-EX01.corp.example Hello [192.0.2.1]\r\n250-SIZE 37748736\r\n250-PIPELINING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250-X-ANONYMOUSTLS\r\n250-AUTH NTLM\r\n250-X-EXPS GSSAPI NTLM\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250 XRDST\r\n",
		"221 2.0.0 Service closing transmission channel\r\n"},
	{"Sendmail", "220 smtp.example.edu ESMTP Sendmail 8.18.1/8.18.1; Mon, 23 Nov 2026 10:00:00 GMT\r\n",
		"250-smtp.example.edu Hello lb.example [192.0.2.1], pleased to meet you\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE\r\n250-DSN\r\n250-ETRN\r\n250-DELIVERBY\r\n250 HELP\r\n",
		"221 2.0.0 smtp.example.edu closing connection\r\n"},
	{"codes without text", "220\r\n", "250-\r\n250\r\n", "221\r\n"},
	{"lines ended by LF", "220 old.example\n", "250-old.example\n250 HELP\n", "221 bye\n"},
}

func TestRealGreetingsAreHealthyHoweverTheyArriveInPieces(t *testing.T) {
	cuts := map[string]func(string) []string{
		"whole":        func(s string) []string { return []string{s} },
		"byte by byte": func(s string) []string { return strings.Split(s, "") },
		"CR from LF":   func(s string) []string { return strings.SplitAfter(s, "\r") },
		"line by line": func(s string) []string { return strings.SplitAfter(s, "\n") },
	}
	for _, server := range transcripts {
		for name, cut := range cuts {
			t.Run(server.name+", "+name, func(t *testing.T) {
				var script []string
				say := func(text string) {
					for _, piece := range cut(text) {
						script = append(script, "< "+piece)
					}
				}
				say(server.greeting)
				script = append(script, "> EHLO lb.example")
				say(server.ehlo)
				script = append(script, "> QUIT")
				say(server.quit)
				target, ended := relay(t, steps(script...))

				r := SMTP(t.Context(), target)
				mustEnd(t, ended)
				if !r.OK || r.Outcome != balancer.OK || r.Code != 220 || r.Stage != StageQuit || r.Note != "" || r.Err != nil {
					t.Errorf("got %+v, want a healthy relay", r)
				}
				if want := strings.TrimRight(strings.ReplaceAll(server.greeting, "\r\n", "\n"), "\n"); r.Greeting != want {
					t.Errorf("greeting %q, want %q", r.Greeting, want)
				}
				if r.Latency <= 0 {
					t.Errorf("latency %v, want one", r.Latency)
				}
			})
		}
	}
}

func TestSickRelaysAreToldApart(t *testing.T) {
	closed := func(*peer) error { return nil }
	tests := []struct {
		name    string
		play    script
		stage   Stage
		outcome balancer.Outcome
		code    int
		reason  string
	}{
		{"closes at once", closed, StageGreeting, balancer.Closed, 0, "greeting: closed"},
		{"421, and closes", func(p *peer) error { return p.say("421 4.3.2 try later\r\n") },
			StageGreeting, balancer.Greeting4xx, 421, "greeting: 421 4.3.2 try later"},
		{"421, and waits", steps("< 421 4.3.2 try later\r\n"),
			StageGreeting, balancer.Greeting4xx, 421, "greeting: 421 4.3.2 try later"},
		{"450", steps("< 450 4.7.1 greylisted\r\n", "> QUIT", "< 221 bye\r\n"),
			StageGreeting, balancer.Greeting4xx, 450, "greeting: 450 4.7.1 greylisted"},
		{"554 on two lines", steps("< 554-mx.example\r\n554 5.7.1 blocked\r\n", "> QUIT", "< 221 bye\r\n"),
			StageGreeting, balancer.Greeting5xx, 554, "greeting: 554 mx.example 5.7.1 blocked"},
		{"554 that breaks off", func(p *peer) error { return p.say("554-mx.example\r\n554 5.7") },
			StageGreeting, balancer.Greeting5xx, 554, "greeting: 554 mx.example"},
		{"teaser, then 521", steps("< 220-mx.example\r\n521 5.7.1 blocked\r\n", "> QUIT", "< 221 bye\r\n"),
			StageGreeting, balancer.Greeting5xx, 521, "greeting: 521 mx.example 5.7.1 blocked"},
		{"half a greeting, then closes", func(p *peer) error { return p.say("220 mx.exam") },
			StageGreeting, balancer.Closed, 0, "greeting: closed"},
		{"half of many lines, then closes", func(p *peer) error { return p.say("220-mx.example\r\n220-") },
			StageGreeting, balancer.Closed, 0, "greeting: closed"},
		{"SSH", steps("< SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
			StageGreeting, balancer.NotSMTP, 0, `greeting: not_smtp (no SMTP reply: "SSH-2.0-OpenSSH_9.2p1 Debian-2")`},
		{"SSH without its end", func(p *peer) error { return p.say("SSH-2.0") },
			StageGreeting, balancer.NotSMTP, 0, `greeting: not_smtp (no SMTP reply: "SSH-2.0")`},
		{"escape sequences", steps("< \x1b[2J\xff\r\n"),
			StageGreeting, balancer.NotSMTP, 0, `greeting: not_smtp (no SMTP reply: "?[2J?")`},
		{"an empty line", steps("< \r\n"),
			StageGreeting, balancer.NotSMTP, 0, `greeting: not_smtp (no SMTP reply: "")`},
		{"another good code", steps("< 250 hello\r\n", "> QUIT", "< 221 bye\r\n"),
			StageGreeting, balancer.NotSMTP, 250, "greeting: not_smtp (want 220, got 250 hello)"},
		{"64 KB without a newline", steps("< " + strings.Repeat("A", 64<<10)),
			StageGreeting, balancer.NotSMTP, 0, "greeting: not_smtp (no SMTP reply"},
		{"64 KB of greeting without a newline", steps("< 220 " + strings.Repeat("A", 64<<10)),
			StageGreeting, balancer.NotSMTP, 0, "greeting: not_smtp (no SMTP reply: no end after 4096 bytes)"},
		{"a greeting that goes on and on", steps("< " + strings.Repeat("220-and on\r\n", 8<<10)),
			StageGreeting, balancer.NotSMTP, 0, "greeting: not_smtp (no SMTP reply: no end after"},
		{"closes at EHLO", func(p *peer) error {
			return errors.Join(p.say("220 mx.example\r\n"), p.hear("EHLO lb.example"))
		}, StageEHLO, balancer.Closed, 0, "ehlo: closed"},
		{"resets at EHLO", func(p *peer) error {
			return errors.Join(p.say("220 mx.example\r\n"), p.hear("EHLO lb.example"), p.cut())
		}, StageEHLO, balancer.Reset, 0, "ehlo: reset"},
		{"421 to EHLO", steps("< 220 mx.example\r\n", "> EHLO lb.example", "< 421 4.3.2 shutting down\r\n"),
			StageEHLO, balancer.Greeting4xx, 421, "ehlo: 421 4.3.2 shutting down"},
		{"450 to EHLO", steps("< 220 mx.example\r\n", "> EHLO lb.example", "< 450 4.3.2 busy\r\n", "> QUIT", "< 221 bye\r\n"),
			StageEHLO, balancer.Greeting4xx, 450, "ehlo: 450 4.3.2 busy"},
		{"554 to EHLO and to HELO", steps("< 220 mx.example\r\n", "> EHLO lb.example", "< 554 go away\r\n",
			"> HELO lb.example", "< 550 no\r\n", "> QUIT", "< 221 bye\r\n"),
			StageEHLO, balancer.Greeting5xx, 550, "ehlo: 550 no"},
		{"554 to EHLO, and closes", func(p *peer) error {
			return errors.Join(p.say("220 mx.example\r\n"), p.hear("EHLO lb.example"), p.say("554 go away\r\n"), p.hear("HELO lb.example"))
		}, StageEHLO, balancer.Greeting5xx, 554, "ehlo: 554 go away"},
		{"nonsense to EHLO", steps("< 220 mx.example\r\n", "> EHLO lb.example", "< What?\r\n"),
			StageEHLO, balancer.NotSMTP, 0, `ehlo: not_smtp (no SMTP reply: "What?")`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target, ended := relay(t, test.play)
			r := SMTP(t.Context(), target)
			mustEnd(t, ended) // with it: what is unread does not end in a reset
			if r.OK || r.Inconclusive || r.Err == nil {
				t.Fatalf("got %+v, want a failure", r)
			}
			if r.Stage != test.stage || r.Outcome != test.outcome || r.Code != test.code {
				t.Errorf("got %v %v %d, want %v %v %d", r.Stage, r.Outcome, r.Code, test.stage, test.outcome, test.code)
			}
			if !strings.HasPrefix(r.Reason(), test.reason) || r.String() != r.Reason() {
				t.Errorf("reason %q, want %q", r.Reason(), test.reason)
			}
			var refusal *textproto.Error
			if refused := test.outcome == balancer.Greeting4xx || test.outcome == balancer.Greeting5xx; refused != errors.As(r.Err, &refusal) {
				t.Errorf("error %v is a refusal: %v, want %v", r.Err, !refused, refused)
			}
		})
	}
}

// The reset may overtake the end of our connect.
func TestResetRightAfterAcceptIsAReset(t *testing.T) {
	target, ended := relay(t, (*peer).cut)
	r := SMTP(t.Context(), target)
	mustEnd(t, ended)
	if r.OK || r.Outcome != balancer.Reset || r.Stage != StageGreeting && r.Stage != StageConnect {
		t.Errorf("got %+v, want a reset", r)
	}
}

func TestOddGoodbyesAreNotedAndHealthy(t *testing.T) {
	hello := []string{"< 220 mx.example\r\n", "> EHLO lb.example", "< 250 STARTTLS\r\n", "> QUIT"}
	tests := []struct {
		name string
		play script
		note string
	}{
		{"closes instead of 221", func(p *peer) error {
			return errors.Join(p.say("220 mx\r\n"), p.hear("EHLO lb.example"), p.say("250 mx\r\n"), p.hear("QUIT"))
		}, "QUIT not answered"},
		{"resets instead of 221", func(p *peer) error {
			return errors.Join(p.say("220 mx\r\n"), p.hear("EHLO lb.example"), p.say("250 mx\r\n"), p.hear("QUIT"), p.cut())
		}, "QUIT not answered"},
		{"another code", steps(append(slices.Clone(hello), "< 502 what?\r\n")...), "QUIT answered with 502 what?"},
		{"nonsense", steps(append(slices.Clone(hello), "< Bye!\r\n")...), "QUIT answered with no SMTP reply"},
		{"goes on after 221", steps(append(slices.Clone(hello), "< 221 bye\r\n"+strings.Repeat("and another thing\r\n", 1000))...), ""},
		{"knows HELO only", steps("< 220 mx\r\n", "> EHLO lb.example", "< 502 5.5.1 what?\r\n", "> HELO lb.example", "< 250 mx\r\n", "> QUIT", "< 221 bye\r\n"),
			"EHLO refused, HELO taken"},
		{"knows HELO only, and no QUIT", steps("< 220 mx\r\n", "> EHLO lb.example", "< 500 what?\r\n", "> HELO lb.example", "< 250 mx\r\n", "> QUIT", "< 500 what?\r\n"),
			"EHLO refused, HELO taken; QUIT answered with 500 what?"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target, ended := relay(t, test.play)
			r := SMTP(t.Context(), target)
			mustEnd(t, ended)
			if !r.OK || r.Code != 220 || r.Stage != StageQuit || r.Err != nil {
				t.Errorf("got %+v, want a healthy relay", r)
			}
			if r.Note != test.note || !strings.Contains(r.String(), test.note) || !strings.Contains(r.Reason(), test.note) {
				t.Errorf("note %q, reason %q, want %q", r.Note, r.Reason(), test.note)
			}
		})
	}
}

func TestTheDialogueShowsAPersonWhatWasSaid(t *testing.T) {
	target, ended := relay(t, steps("< 220-mx.example\r\n220 ready\x07\r\n", "> EHLO lb.example", "< 250 mx.example\r\n", "> QUIT", "< 221 bye\r\n"))
	r := SMTP(t.Context(), target)
	mustEnd(t, ended)
	want := []string{"* connected to " + target.Address, "< 220-mx.example", "< 220 ready?", "> EHLO lb.example", "< 250 mx.example", "> QUIT", "< 221 bye"}
	if len(r.Dialogue) != len(want) {
		t.Fatalf("got %d lines, want %d: %v", len(r.Dialogue), len(want), r.Dialogue)
	}
	for i, line := range r.Dialogue {
		if !strings.Contains(line.String(), want[i]) {
			t.Errorf("line %d is %q, want %q in it", i, line, want[i])
		}
		if i > 0 && line.At < r.Dialogue[i-1].At {
			t.Errorf("line %d is at %v, before the one above", i, line.At)
		}
	}
}

func TestRelayIsToldTheMachinesNameByDefault(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	target, ended := relay(t, steps("< 220 mx\r\n", "> EHLO "+name, "< 250 mx\r\n", "> QUIT", "< 221 bye\r\n"))
	target.HELO = ""
	if r := SMTP(t.Context(), target); !r.OK {
		t.Error(r)
	}
	mustEnd(t, ended)
}

func TestNamelessMachineSaysItsAddress(t *testing.T) {
	for _, test := range []struct {
		local net.Addr
		want  string
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 4000}, "[192.0.2.1]"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 4000}, "[IPv6:2001:db8::1]"},
		{&net.UnixAddr{Name: "pipe"}, "localhost"},
	} {
		if got := literal(test.local); got != test.want {
			t.Errorf("literal(%v) is %q, want %q", test.local, got, test.want)
		}
	}
}
