package source

import (
	"strconv"
	"strings"
	"time"

	"smtplb/bench/mail"
)

// transact sends one message. A fault with over set ended the session; another
// was a refusal, and RSET is due. A message that some recipients were refused
// for is accepted all the same, and the refusals are counted here.
func (s *session) transact(j job) (size int64, got outcome, f *fault) {
	message, recipients := s.composed(j)
	size = message.Size()
	bdat := s.run.cfg.BDAT && s.offers.chunking
	begin := time.Now()
	if f := s.envelope(size, recipients, !bdat); f != nil {
		return size, before(f), f
	}
	if err := s.content(&message, bdat); err != nil {
		f = s.parting(atContent, err)
		return size, before(f), f
	}
	f = s.expect(atContent, 2)
	switch {
	case f == nil:
		s.rec.time(spanMessage, time.Since(begin))
		return size, accepted, nil
	case f.code >= 400:
		return size, refused, f
	default:
		return size, unsure, f
	}
}

// content writes the message, behind BDAT or as DATA wants it.
func (s *session) content(message *mail.Message, bdat bool) error {
	s.out = s.out[:0]
	if !bdat {
		return message.WriteDotted(s)
	}
	s.out = append(s.out, "BDAT "...)
	s.out = strconv.AppendInt(s.out, message.Size(), 10)
	s.out = append(s.out, " LAST\r\n"...)
	return message.WriteContent(s)
}

// before is what became of a message whose last octet has not left.
func before(f *fault) outcome {
	if f.code >= 400 {
		return refused
	}
	return unsent
}

// envelope sends MAIL, RCPT for each recipient, and DATA if that is wanted. With
// no fault, content is due. Commands that are sent together are answered one by
// one, and every reply is read, whatever the first ones say.
func (s *session) envelope(size int64, recipients int, data bool) *fault {
	together := s.run.cfg.Pipelining && s.offers.pipelining
	steps := 1 + recipients
	if data {
		steps++
	}
	var begin time.Time
	var f *fault
	if together {
		s.out = s.out[:0]
		for i := range steps {
			s.appendStep(i, size, recipients)
		}
		if begin, f = s.send(atMAIL); f != nil {
			return f
		}
	}
	e := exchange{recipients: recipients}
	for i := range steps {
		if !together {
			if e.hopeless(i) {
				break
			}
			s.out = s.out[:0]
			s.appendStep(i, size, recipients)
			if begin, f = s.send(stepName(i, recipients)); f != nil {
				return f
			}
		}
		f = s.expect(stepName(i, recipients), stepGood(i, recipients))
		if answered := f == nil || f.code != 0; answered && (!together || i == steps-1) {
			s.rec.time(spanCommand, time.Since(begin))
		}
		if f != nil && f.over {
			return f
		}
		if refused := e.note(i, f); refused != nil {
			s.fail(refused)
		}
	}
	return s.close(&e)
}

// exchange is what the replies to an envelope have said so far.
type exchange struct {
	recipients, taken int
	mail, rcpt, data  *fault // refusals; of RCPT, the last
	answeredData      bool   // a 354 came
}

// hopeless tells that step i, in lock-step, need not be sent.
func (e *exchange) hopeless(i int) bool {
	return e.mail != nil || i > e.recipients && e.taken == 0
}

// note takes the reply to step i. It returns the refusal of a recipient before
// the last that was refused: that one decides nothing, and is counted alone.
func (e *exchange) note(i int, f *fault) (alone *fault) {
	switch {
	case i == 0:
		e.mail = f
	case i > e.recipients:
		e.data, e.answeredData = f, f == nil
	case f == nil:
		e.taken++
	case e.mail == nil: // else it is refused for MAIL's sake
		alone, e.rcpt = e.rcpt, f
	}
	return alone
}

// close returns why no content is due. Who says 354 to a message without
// recipients gets an empty one (RFC 2920, 3.1).
func (s *session) close(e *exchange) *fault {
	reason := e.mail
	switch {
	case reason != nil:
	case e.taken == 0:
		reason = e.rcpt
	case e.rcpt != nil:
		s.fail(e.rcpt) // others were taken
		fallthrough
	default:
		return e.data
	}
	if !e.answeredData {
		return reason
	}
	s.out = append(s.out[:0], ".\r\n"...)
	if _, f := s.send(atContent); f != nil {
		return f
	}
	if _, _, f := s.answer(atContent); f != nil {
		return f
	}
	return reason
}

func stepName(i, recipients int) string {
	switch {
	case i == 0:
		return atMAIL
	case i <= recipients:
		return atRCPT
	default:
		return atDATA
	}
}

// stepGood is the first digit of the reply that leads on.
func stepGood(i, recipients int) int {
	if i > recipients {
		return 3
	}
	return 2
}

// appendStep adds the i-th command of an envelope to s.out.
func (s *session) appendStep(i int, size int64, recipients int) {
	cfg := &s.run.cfg
	switch {
	case i == 0:
		s.out = append(append(append(s.out, "MAIL FROM:<"...), cfg.From...), '>')
		if s.offers.size { // RFC 1870
			s.out = strconv.AppendInt(append(s.out, " SIZE="...), size, 10)
		}
	case i <= recipients:
		s.out = append(s.out, "RCPT TO:<"...)
		local, domain, _ := strings.Cut(cfg.To, "@")
		s.out = append(s.out, local...)
		if i > 1 {
			s.out = strconv.AppendInt(s.out, int64(i), 10)
		}
		s.out = append(append(append(s.out, '@'), domain...), '>')
	default:
		s.out = append(s.out, "DATA"...)
	}
	s.out = append(s.out, "\r\n"...)
}
