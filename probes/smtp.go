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
// 3.1), says EHLO, or HELO where EHLO is answered with 5xx (section 3.2), and
// QUIT. Greeting and EHLO decide; a QUIT that is not answered with 221 is only
// noted. It is a [Func].
func SMTP(ctx context.Context, t Target) Result {
	return check(ctx, t, dial, talkSMTP)
}

func talkSMTP(ctx context.Context, d *dialogue, t Target, r *Result) {
	greeting, err := d.reply(220, maxGreeting)
	r.Greeting = greeting.String()
	if r.settle(StageGreeting, 220, greeting, err) {
		r.OK = d.hello(helo(t, d.conn.LocalAddr()), r)
		if r.OK {
			r.Code = greeting.code
		}
	}
	r.Latency = time.Since(d.start)
	// After 421 the relay closes by itself; anybody else is waiting for QUIT,
	// after a refusal too: the server "MUST still wait for the client to send a
	// QUIT" (RFC 5321, section 3.1).
	if d.turn && r.Code != 421 {
		d.quit(ctx, r)
	}
}

// hello says EHLO, and HELO to those who do not know it.
func (d *dialogue) hello(name string, r *Result) bool {
	rep, err := d.ask("EHLO "+name, 250)
	if r.settle(StageEHLO, 250, rep, err) {
		return true
	}
	if err != nil || rep.code < 500 {
		return false
	}
	older := *r
	rep, err = d.ask("HELO "+name, 250)
	if older.settle(StageEHLO, 250, rep, err) {
		older.Outcome, older.Err = 0, nil
		older.Note = "EHLO refused, HELO taken"
		*r = older
		return true
	}
	// A relay that has refused EHLO may close instead of listening on: what it
	// said then tells more than the closing.
	if err == nil {
		*r = older
	}
	return false
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
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += shorten(odd)
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
