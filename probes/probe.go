package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"time"

	"smtplb/balancer"
)

// What a Target's zero fields stand for.
const (
	// DefaultTimeout bounds a whole check: longer than the 6 s for which
	// postscreen holds its greeting back (postscreen_greet_wait).
	DefaultTimeout = 15 * time.Second

	// DefaultConnectTimeout bounds its connect: a relay that drops the SYN is
	// found out sooner than one that may still be about to greet.
	DefaultConnectTimeout = 5 * time.Second
)

// Target is a relay to check, and how to reach it. Targets are compared with
// ==, so that a reload disturbs only those that changed.
type Target struct {
	// Name is what the relay is called where results go; once in a Scheduler.
	Name string

	// Address is where to connect, as IP:port or name:port. Required.
	Address string

	// ProxyProtocol is the PROXY header that the relay wants before anything
	// else: "v1", "v2", or "" for none.
	ProxyProtocol string

	// HELO is the name said in EHLO. "": the machine's name.
	HELO string

	// STARTTLS has SMTP go on inside TLS after EHLO; a relay that does not
	// offer it fails the check then. Without meaning to SMTPS and TCP.
	STARTTLS bool

	// ServerName is the name asked for in the TLS handshake (SNI, RFC 6066
	// section 3). "": the host of Address, where that is a name.
	ServerName string

	// MailFrom and RcptTo are mailboxes, local@domain, that the relay is asked
	// to take in MAIL FROM and RCPT TO; MailFrom "<>" is the null sender. A
	// recipient needs a sender. "": not asked.
	MailFrom string
	RcptTo   string

	// Timeout bounds the whole check. 0: DefaultTimeout.
	Timeout time.Duration

	// ConnectTimeout bounds its connect. 0: DefaultConnectTimeout.
	ConnectTimeout time.Duration

	// Source is the local address to connect from, Interface the network
	// interface and FWMark the firewall mark, as for the sessions that the
	// relay is to have. Zero: as the kernel chooses. Where sessions come from
	// their clients' own addresses, a check comes from this machine's.
	Source    netip.Addr
	Interface string
	FWMark    uint32
}

// Validate tells what about t cannot work, whatever the relay does.
func (t Target) Validate() error {
	host, port, err := net.SplitHostPort(t.Address)
	ip, _ := netip.ParseAddr(host) // else it is a name
	switch {
	case err != nil || host == "" || port == "":
		return fmt.Errorf("target %q: address %q: want IP:port or name:port", t.Name, t.Address)
	case ip.IsValid() && t.Source.IsValid() && ip.Unmap().Is4() != t.Source.Unmap().Is4():
		return fmt.Errorf("target %q: source %s: want one of the family of %s", t.Name, t.Source, ip)
	case t.ProxyProtocol != "" && t.ProxyProtocol != proxyV1 && t.ProxyProtocol != proxyV2:
		return fmt.Errorf("target %q: proxy protocol %q: want v1, v2 or nothing", t.Name, t.ProxyProtocol)
	case !sayable(t.HELO):
		return fmt.Errorf("target %q: helo %q: want a host name, without spaces", t.Name, t.HELO)
	case t.MailFrom != "" && t.MailFrom != nullSender && !mailbox(t.MailFrom):
		return fmt.Errorf("target %q: mail from %q: want local@domain, or <> for the null sender", t.Name, t.MailFrom)
	case t.RcptTo != "" && !mailbox(t.RcptTo):
		return fmt.Errorf("target %q: rcpt to %q: want local@domain", t.Name, t.RcptTo)
	case t.RcptTo != "" && t.MailFrom == "":
		return fmt.Errorf("target %q: rcpt to %q: want a sender with it, mail from local@domain or <>", t.Name, t.RcptTo)
	}
	return nil
}

func (t Target) timeout() time.Duration {
	if t.Timeout > 0 {
		return t.Timeout
	}
	return DefaultTimeout
}

func (t Target) connectTimeout() time.Duration {
	if t.ConnectTimeout > 0 {
		return t.ConnectTimeout
	}
	return DefaultConnectTimeout
}

// Func makes one check of one target. It returns soon after ctx ends, and is
// safe for concurrent use.
type Func func(ctx context.Context, t Target) Result

// Stage is a step of a check.
type Stage string

// The steps. TCP has only the first two; with SMTPS the TLS handshake comes
// before the greeting, with STARTTLS after it and before a second EHLO.
const (
	StageConnect  Stage = "connect"
	StageProxy    Stage = "proxy" // the PROXY header is sent
	StageGreeting Stage = "greeting"
	StageEHLO     Stage = "ehlo"
	StageSTARTTLS Stage = "starttls" // the command and the reply to it
	StageTLS      Stage = "tls"      // the handshake
	StageMail     Stage = "mail"
	StageRcpt     Stage = "rcpt"
	StageRset     Stage = "rset" // the envelope is taken back
	StageQuit     Stage = "quit"
)

// Result is what a check found.
type Result struct {
	// OK says that the relay takes sessions: it was connected and, for SMTP,
	// greeted with 220, answered EHLO or HELO with 250, and so on through all
	// that the Target asks for, up to QUIT.
	OK bool

	// Inconclusive says that the check tells nothing about the relay: it was
	// cancelled, or this machine had no descriptors, no memory, no answer from
	// its DNS servers, or not the Source, the Interface or the right that the
	// Target asks for. OK is false then, and Err says which.
	Inconclusive bool

	// Stage is the last step that was taken: where the check failed, if it did.
	Stage Stage

	// Outcome is the failure in the words that live sessions use. After the
	// greeting too: an EHLO answered with 421 is greeting_4xx, one not answered
	// greeting_timeout; Stage tells the two apart. TLS that is wanted and not
	// to be had is not_smtp. An invalid Target is unreachable. Without meaning
	// when Inconclusive.
	Outcome balancer.Outcome

	// Code is the reply code that decided: that of the greeting, or that of the
	// reply where the check failed after it. 0: there was none.
	Code int

	// Greeting is the relay's greeting as far as it came, its lines separated
	// by "\n", without control characters.
	Greeting string

	// CertExpires is when the relay's certificate does. Zero without TLS.
	CertExpires time.Time

	// Note is what was odd about a relay that is OK, "" for nothing: that its
	// certificate has expired, or will within 14 days, is such a thing.
	Note string

	// Latency is the time until the relay was known to be OK or not; the
	// leave-taking is not in it.
	Latency time.Duration

	// Err is nil when OK. A refusal in SMTP is a *textproto.Error.
	Err error

	// Dialogue is all that was said.
	Dialogue []Line
}

// Busy says that the relay answered 421, to whatever it was asked: it is alive
// and takes no sessions for now (RFC 5321, section 3.8).
func (r *Result) Busy() bool { return !r.OK && !r.Inconclusive && r.Code == 421 }

// Reason says in one short line, for people, why the check failed: "connect:
// refused", "greeting: 421 4.3.2 try later". When OK it is "ok", with the Note.
func (r Result) Reason() string {
	if r.OK {
		if r.Note != "" {
			return "ok (" + r.Note + ")"
		}
		return "ok"
	}
	return string(r.Stage) + ": " + shorten(r.cause())
}

func (r Result) cause() string {
	word := r.Outcome.String()
	if r.Inconclusive {
		word = "inconclusive"
	}
	var refusal *textproto.Error
	var secrecy *tlsError
	var op *net.OpError
	switch {
	case errors.As(r.Err, &refusal):
		return refusalText(refusal)
	case r.Err == nil, !r.Inconclusive && r.Outcome != balancer.Unreachable && r.Outcome != balancer.NotSMTP:
		return word // which says all there is
	case errors.As(r.Err, &secrecy):
		return word + " (" + secrecy.Error() + ")"
	case errors.As(r.Err, &op): // its own text begins with the addresses
		return word + " (" + strings.TrimPrefix(op.Err.Error(), "connect: ") + ")"
	default:
		return word + " (" + r.Err.Error() + ")"
	}
}

// String is the Reason, and the Latency when OK.
func (r Result) String() string {
	if !r.OK {
		return r.Reason()
	}
	s := "ok in " + r.Latency.Round(time.Microsecond).String()
	if r.Note != "" {
		s += " (" + r.Note + ")"
	}
	return s
}

// remark adds to the Note.
func (r *Result) remark(text string) {
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += text
}

// settle takes in the outcome of a step: of a reply, of an error, or of both
// where a reply broke off. It reports whether the check goes on.
func (r *Result) settle(stage Stage, want int, rep reply, err error) bool {
	r.Stage, r.Code = stage, rep.code
	switch {
	case rep.code >= 400:
		r.Outcome, r.Err = balancer.Greeting4xx, rep.refusal()
		if rep.code >= 500 {
			r.Outcome = balancer.Greeting5xx
		}
	case err != nil:
		r.Outcome, r.Inconclusive = outcomeOf(stage, err)
		r.Code, r.Err = 0, err
	case rep.code != want:
		r.Outcome, r.Err = balancer.NotSMTP, fmt.Errorf("want %d, got %s", want, refusalText(rep.refusal()))
	default:
		return true
	}
	return false
}

// shorten keeps what a log line or a table cell has room for.
func shorten(s string) string {
	const most = 200
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
