package config

import (
	"fmt"
	"time"
)

// Probe is the active health check of a pool's backends.
type Probe struct {
	// Type is smtp (greeting, EHLO, QUIT), smtps (the same inside TLS) or tcp
	// (connect only). Default smtp.
	Type ProbeType `koanf:"type"`

	// Interval is the time between checks of one backend, 100ms to 1h.
	// Default 5s.
	Interval time.Duration `koanf:"interval"`

	// FastInterval is the time between checks while a backend is changing state,
	// at most Interval. Default 1s.
	FastInterval time.Duration `koanf:"fast_interval"`

	// Timeout bounds one whole check, 100ms to 5m. Keep it above the time that the
	// relays take to greet: postscreen takes 6s. Default 15s.
	Timeout time.Duration `koanf:"timeout"`

	// Rise is how many good checks in a row bring a backend up, 1 to 100.
	// Default 2.
	Rise int `koanf:"rise"`

	// Fall is how many bad checks in a row take it down, 1 to 100. Default 3.
	Fall int `koanf:"fall"`

	// HELO is the name said in EHLO. Default: the machine's name.
	HELO string `koanf:"helo"`

	// STARTTLS asks for TLS after EHLO, and goes on inside; a backend that refuses
	// is down. Only with type smtp. Default false.
	STARTTLS bool `koanf:"starttls"`

	// MailFrom is the sender in a MAIL FROM that a backend must take, then
	// taken back with RSET: local@domain, or "<>" for the null sender. Not with
	// type tcp. Default "": not asked.
	MailFrom string `koanf:"mail_from"`

	// RcptTo is the recipient in a RCPT TO that a backend must take after
	// MailFrom, which it needs; no message follows. Default "": not asked.
	RcptTo string `koanf:"rcpt_to"`

	// Address is what is checked in place of the backend's own address:
	// IP:port, name:port, or :port for another port of the backend itself.
	// Default "": the backend's own address.
	Address Endpoint `koanf:"address"`
}

// Passive takes a backend out for a while on the evidence of live sessions.
// The last usable backend is never taken out.
type Passive struct {
	// Failures is how many sessions in a row must fail on a backend to eject it, 1
	// to 1000. Only what fails before the greeting counts. Default 3.
	Failures int `koanf:"failures"`

	// Eject is how long the first ejection lasts, at most MaxEject; each one after
	// it lasts twice as long. Default 30s.
	Eject time.Duration `koanf:"eject"`

	// MaxEject is the longest that repeated ejections grow to. A backend that
	// holds out as long as that begins anew. Default 5m.
	MaxEject time.Duration `koanf:"max_eject"`
}

func (r *report) checkProbe(p *Probe, at string) {
	r.lasting(at+".interval", p.Interval, 100*time.Millisecond, time.Hour)
	r.lasting(at+".fast_interval", p.FastInterval, 100*time.Millisecond, time.Hour)
	r.atMost(at+".fast_interval", p.FastInterval, at+".interval", p.Interval)
	r.lasting(at+".timeout", p.Timeout, 100*time.Millisecond, 5*time.Minute)
	r.between(at+".rise", p.Rise, 1, 100)
	r.between(at+".fall", p.Fall, 1, 100)
	r.mailName(at+".helo", p.HELO)
	if p.STARTTLS && p.Type != ProbeSMTP {
		r.fail(at+".starttls", fmt.Sprintf("must be false with type %s: only smtp has STARTTLS", p.Type))
	}
	r.checkEnvelope(p, at)
}

func (r *report) checkEnvelope(p *Probe, at string) {
	if p.MailFrom != "" && p.MailFrom != "<>" && !isMailbox(p.MailFrom) {
		r.fail(at+".mail_from", `must be a mailbox such as "probe@example.com", or "<>" for the null sender`)
	}
	if p.RcptTo != "" && !isMailbox(p.RcptTo) {
		r.fail(at+".rcpt_to", `must be a mailbox such as "postmaster@example.com"`)
	}
	switch {
	case p.Type == ProbeTCP && p.MailFrom != "":
		r.fail(at+".mail_from", "must be empty with type tcp: that check says nothing")
	case p.Type == ProbeTCP && p.RcptTo != "":
		r.fail(at+".rcpt_to", "must be empty with type tcp: that check says nothing")
	case p.RcptTo != "" && p.MailFrom == "" && !r.failed(at+".mail_from"):
		r.fail(at+".rcpt_to", `needs a sender: set mail_from, to "<>" for the null sender`)
	}
}

func (r *report) checkPassive(p *Passive, at string) {
	r.between(at+".failures", p.Failures, 1, 1000)
	r.lasting(at+".eject", p.Eject, time.Millisecond, 24*time.Hour)
	r.lasting(at+".max_eject", p.MaxEject, time.Millisecond, 24*time.Hour)
	r.atMost(at+".eject", p.Eject, at+".max_eject", p.MaxEject)
}

// checkProbedAs warns where a pool serves a listener that awaits no greeting
// but is checked for one: on port 465 every such check fails.
func (r *report) checkProbedAs(c *Config, p *Pool, at string) {
	if p.Probe.Type != ProbeSMTP || p.Probe.Address.Port != 0 || p.Name == "" {
		return
	}
	for _, l := range c.Listeners {
		if l.Protocol == ProtocolTCP && l.Pool == p.Name {
			r.warn(at+".probe.type", fmt.Sprintf(
				"listener %s relays tcp, the check expects an smtp greeting: for port 465 write smtps", l.Name))
			return
		}
	}
}
