package probes

import (
	"strings"
	"testing"

	"smtplb/balancer"
)

var upToMail = open("< 220 mx.example\r\n", "> EHLO lb.example", "< 250 mx.example\r\n")

func TestRelayIsAskedWhetherItTakesMailAndGetsNone(t *testing.T) {
	for name, test := range map[string]struct {
		from, to string
		play     script
	}{
		"sender": {"probe@example.com", "",
			steps("> MAIL FROM:<probe@example.com>", "< 250 ok\r\n", "> RSET", "< 250 ok\r\n", "> QUIT", "< 221 bye\r\n")},
		"null sender and recipient": {"<>", "postmaster@example.com",
			steps("> MAIL FROM:<>", "< 250 ok\r\n", "> RCPT TO:<postmaster@example.com>", "< 250 ok\r\n", "> RSET", "< 250 ok\r\n", "> QUIT", "< 221 bye\r\n")},
		"recipient elsewhere": {"<>", "postmaster@example.com",
			steps("> MAIL FROM:<>", "< 250 ok\r\n", "> RCPT TO:<postmaster@example.com>", "< 251 will forward\r\n", "> RSET", "< 250 ok\r\n", "> QUIT", "< 221 bye\r\n")},
		"none": {"", "", steps("> QUIT", "< 221 bye\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			target, ended := relay(t, then(upToMail, test.play))
			target.MailFrom, target.RcptTo = test.from, test.to
			r := SMTP(t.Context(), target)
			mustEnd(t, ended)
			if !r.OK || r.Code != 220 || r.Stage != StageQuit || r.Note != "" {
				t.Errorf("got %+v, want a healthy relay", r)
			}
		})
	}
}

func TestRelayThatTakesNoMailIsSick(t *testing.T) {
	toRcpt := open("> MAIL FROM:<a@example.com>", "< 250 ok\r\n", "> RCPT TO:<b@example.com>")
	undone := steps("> RSET", "< 250 ok\r\n", "> QUIT", "< 221 bye\r\n")
	tests := []struct {
		name    string
		play    script
		stage   Stage
		outcome balancer.Outcome
		reason  string
		busy    bool
	}{
		{"452 to MAIL", steps("> MAIL FROM:<a@example.com>", "< 452 4.3.1 disk full\r\n", "> QUIT", "< 221 bye\r\n"),
			StageMail, balancer.Greeting4xx, "mail: 452 4.3.1 disk full", false},
		{"421 to MAIL", steps("> MAIL FROM:<a@example.com>", "< 421 4.3.2 shutting down\r\n"),
			StageMail, balancer.Greeting4xx, "mail: 421 4.3.2 shutting down", true},
		{"closes at MAIL", open("> MAIL FROM:<a@example.com>"), StageMail, balancer.Closed, "mail: closed", false},
		{"554 to RCPT", then(toRcpt, open("< 554 5.7.1 relaying denied\r\n"), undone),
			StageRcpt, balancer.Greeting5xx, "rcpt: 554 5.7.1 relaying denied", false},
		{"554 to RCPT, closes at RSET", then(toRcpt, open("< 554 5.7.1 relaying denied\r\n", "> RSET")),
			StageRcpt, balancer.Greeting5xx, "rcpt: 554 5.7.1 relaying denied", false},
		{"421 to RCPT", then(toRcpt, steps("< 421 4.7.0 too much\r\n")),
			StageRcpt, balancer.Greeting4xx, "rcpt: 421 4.7.0 too much", true},
		{"nonsense to RCPT", then(toRcpt, steps("< yes\r\n")),
			StageRcpt, balancer.NotSMTP, `rcpt: not_smtp (no SMTP reply: "yes")`, false},
		{"252 to RCPT", then(toRcpt, open("< 252 perhaps\r\n"), undone),
			StageRcpt, balancer.NotSMTP, "rcpt: not_smtp (want 250, got 252 perhaps)", false},
		{"421 to RSET", then(toRcpt, steps("< 250 ok\r\n", "> RSET", "< 421 4.3.2 shutting down\r\n")),
			StageRset, balancer.Greeting4xx, "rset: 421 4.3.2 shutting down", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target, ended := relay(t, then(upToMail, test.play))
			target.MailFrom, target.RcptTo = "a@example.com", "b@example.com"
			r := SMTP(t.Context(), target)
			mustEnd(t, ended)
			if r.OK || r.Stage != test.stage || r.Outcome != test.outcome || r.Reason() != test.reason || r.Busy() != test.busy {
				t.Errorf("got %v %v %q, busy: %v, want %v %v %q, %v", r.Stage, r.Outcome, r.Reason(), r.Busy(), test.stage, test.outcome, test.reason, test.busy)
			}
		})
	}
}

func TestOnlyMailboxesAreAskedAbout(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"", "", ""},
		{"<>", "", ""},
		{"a@b", "c+d@[192.0.2.1]", ""},
		{`"a@b"@c`, "", ""},
		{"a", "", `mail from "a": want local@domain, or <>`},
		{"<a@b>", "", `mail from "<a@b>": want`},
		{"@b", "", `mail from "@b": want`},
		{"a@", "", `mail from "a@": want`},
		{"a@b\r\nDATA", "", `mail from "a@b\r\nDATA": want`},
		{"a@b> SIZE=9", "", `want local@domain`},
		{"<>", "<>", `rcpt to "<>": want local@domain`},
		{"<>", "ä@b", `rcpt to "ä@b": want local@domain`},
		{"", "a@b", `rcpt to "a@b": want a sender with it`},
	} {
		err := Target{Name: "relay-a", Address: "192.0.2.1:25", MailFrom: test.from, RcptTo: test.to}.Validate()
		if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `target "relay-a"`)) {
			t.Errorf("%q, %q: got %v, want %q", test.from, test.to, err, test.want)
		}
	}
}
