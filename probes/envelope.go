package probes

import "strings"

// nullSender is Target.MailFrom for the sender that is nobody, of bounces (RFC
// 5321, section 4.5.5).
const nullSender = "<>"

// envelope asks whether the relay would take mail from the target's sender, and
// for its recipient, and takes the question back with RSET (RFC 5321, section
// 4.1.1.5): no message begins.
func (d *dialogue) envelope(t Target, r *Result) bool {
	rep, err := d.ask("MAIL FROM:"+path(t.MailFrom), 250)
	if !r.settle(StageMail, 250, rep, err) {
		return false
	}
	taken := true
	if t.RcptTo != "" {
		rep, err = d.ask("RCPT TO:"+path(t.RcptTo), 250)
		want := 250
		if rep.code == 251 { // taken too, and goes elsewhere (section 3.4)
			want = 251
		}
		taken = r.settle(StageRcpt, want, rep, err)
	}
	if !d.turn || r.Code == 421 {
		return taken
	}
	rep, err = d.ask("RSET", 250)
	return taken && r.settle(StageRset, 250, rep, err)
}

// path is a mailbox as the commands have it.
func path(mailbox string) string {
	if mailbox == nullSender {
		return mailbox
	}
	return "<" + mailbox + ">"
}

// mailbox tells whether s can stand between the angle brackets of a command.
// Whether there is such a mailbox is the relay's to say.
func mailbox(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && sayable(s) && !strings.ContainsAny(s, "<>")
}
