package probes

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"
)

// SMTP checks that the target would serve a mail client: it connects, sends the
// PROXY header where one is wanted, reads the whole greeting (RFC 5321, section
// 3.1), says EHLO, or HELO where EHLO is answered with 5xx (section 3.2), then,
// where the target asks for them, STARTTLS, MAIL FROM and RCPT TO, never DATA,
// and QUIT. A QUIT that is not answered with 221 is only noted; so is a
// certificate that has expired or soon will: senders whose TLS is opportunistic
// do not look. Everything else decides. It is a [Func].
func SMTP(ctx context.Context, t Target) Result {
	return check(ctx, t, dial, talkSMTP)
}

func talkSMTP(ctx context.Context, d *dialogue, t Target, r *Result) {
	greeting, err := d.reply(220, maxGreeting)
	r.Greeting = greeting.String()
	if r.settle(StageGreeting, 220, greeting, err) && d.converse(t, r) {
		r.OK, r.Code = true, greeting.code
	}
	r.Latency = time.Since(d.start)
	if r.OK {
		r.remarkExpiry(time.Now())
	}
	// After 421 the relay closes by itself; anybody else is waiting for QUIT,
	// after a refusal too: the server "MUST still wait for the client to send a
	// QUIT" (RFC 5321, section 3.1).
	if d.turn && r.Code != 421 {
		d.quit(ctx, r)
	}
}

// converse is all between the greeting and QUIT. It reports whether the relay
// did what the target asks for.
func (d *dialogue) converse(t Target, r *Result) bool {
	name := helo(t, d.conn.LocalAddr())
	offers, ok := d.hello(name, r)
	if ok && t.STARTTLS && d.tls == nil {
		ok = d.startTLS(t, offers, r)
		if ok { // what was said before TLS counts no more (RFC 3207, section 4.2)
			_, ok = d.hello(name, r)
		}
	}
	return ok && (t.MailFrom == "" || d.envelope(t, r))
}

// hello says EHLO, and HELO to those who do not know it. The reply to EHLO
// lists what the relay offers.
func (d *dialogue) hello(name string, r *Result) (reply, bool) {
	rep, err := d.ask("EHLO "+name, 250)
	if r.settle(StageEHLO, 250, rep, err) {
		return rep, true
	}
	if err != nil || rep.code < 500 {
		return reply{}, false
	}
	older := *r
	rep, err = d.ask("HELO "+name, 250)
	if older.settle(StageEHLO, 250, rep, err) {
		older.Outcome, older.Err = 0, nil
		older.remark("EHLO refused, HELO taken")
		*r = older
		return reply{}, true
	}
	// A relay that has refused EHLO may close instead of listening on: what it
	// said then tells more than the closing.
	if err == nil {
		*r = older
	}
	return reply{}, false
}

// quit takes leave, for a short while at most. A relay that has shown itself
// OK stays so whatever comes, but the oddity is noted.
func (d *dialogue) quit(ctx context.Context, r *Result) {
	const patience = 5 * time.Second
	d.bound(ctx, patience)
	rep, err := d.ask("QUIT", 221)
	if !r.OK {
		return
	}
	var odd string
	switch r.Stage = StageQuit; {
	case rep.code != 0 && rep.code != 221:
		odd = "QUIT answered with " + refusalText(rep.refusal())
	case errors.Is(err, errNotSMTP):
		odd = "QUIT answered with no SMTP reply"
	case err != nil:
		odd = "QUIT not answered"
	default:
		return
	}
	d.note(odd)
	r.remark(shorten(odd))
}

// helo is the name to say: the target's, the machine's, or, on a machine
// without a name, its address as a literal (RFC 5321, section 4.1.1.1).
func helo(t Target, local net.Addr) string {
	if t.HELO != "" {
		return t.HELO
	}
	if name, err := os.Hostname(); err == nil && name != "" && sayable(name) {
		return name
	}
	return literal(local)
}

// literal is the address literal of RFC 5321, section 4.1.3.
func literal(local net.Addr) string {
	tcp, ok := local.(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	default:
		return "[IPv6:" + tcp.IP.String() + "]"
	}
}

// sayable tells whether name can stand in a command.
func sayable(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' })
}
