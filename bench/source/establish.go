package source

import (
	"crypto/tls"
	"time"
)

// establish connects and goes up to the reply to EHLO, over TLS where that is
// wanted and offered. Connect and greeting took as long as it is since due.
func (s *session) establish(due time.Time) *fault {
	if f := s.connect(due); f != nil {
		return f
	}
	if f := s.greeting(due); f != nil {
		return f
	}
	if f := s.hello(); f != nil {
		return f
	}
	if s.run.cfg.STARTTLS && s.offers.starttls {
		if f := s.encrypt(); f != nil {
			return f
		}
		return s.hello() // RFC 3207, 4.2: what was said before is void
	}
	return nil
}

func (s *session) connect(due time.Time) *fault {
	conn, err := s.run.dial(s.run.alive, s.target.address)
	if err != nil {
		return s.cutOr(unconnected(err))
	}
	if !s.hold(conn) {
		return s.cutOr(unconnected(errCut))
	}
	s.rec.time(spanConnect, time.Since(due))
	return nil
}

func (s *session) greeting(due time.Time) *fault {
	if err := s.conn.SetDeadline(time.Now().Add(s.run.cfg.Timeout)); err != nil {
		return s.cutOr(broken(atGreeting, err))
	}
	code, text, err := s.in.reply(s.conn)
	switch {
	case err != nil:
		return s.cutOr(broken(atGreeting, err))
	case code != 220:
		return refusal(atGreeting, code, printable(text))
	}
	s.rec.time(spanGreeting, time.Since(due))
	s.rec.count(func(c *counts) { c.greeted++ })
	return nil
}

// hello says EHLO, or HELO to who does not know that (RFC 5321, 3.2).
func (s *session) hello() *fault {
	s.offers = offers{}
	s.out = append(append(append(s.out[:0], "EHLO "...), s.run.cfg.HELO...), "\r\n"...)
	begin, f := s.send(atEHLO)
	if f != nil {
		return f
	}
	code, text, f := s.answer(atEHLO)
	if f != nil {
		return f
	}
	s.rec.time(spanCommand, time.Since(begin))
	switch {
	case code/100 == 2:
		s.offers = parseOffers(text)
		return nil
	case code == 500 || code == 502 || code == 504:
		s.out = append(append(append(s.out[:0], "HELO "...), s.run.cfg.HELO...), "\r\n"...)
		return s.ask(atEHLO)
	default:
		return refusal(atEHLO, code, printable(text))
	}
}

// encrypt asks for TLS (RFC 3207).
func (s *session) encrypt() *fault {
	s.out = append(s.out[:0], "STARTTLS\r\n"...)
	if f := s.ask(atSTARTTLS); f != nil {
		return f
	}
	// What came before the handshake was not protected, and must not pass for it.
	s.in.reset()
	begin := time.Now()
	conn := tls.Client(s.conn, s.tlsConfig())
	err := conn.SetDeadline(begin.Add(s.run.cfg.Timeout))
	if err == nil {
		err = conn.HandshakeContext(s.run.alive)
	}
	if err != nil {
		f := broken(atSTARTTLS, err)
		if f.class == classOther {
			f.class = classTLS
		}
		return s.cutOr(f)
	}
	s.conn = conn
	s.rec.time(spanTLS, time.Since(begin))
	s.rec.count(func(c *counts) { c.encrypted++ })
	return nil
}
