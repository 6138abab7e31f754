package smtptest

import (
	"io"
	"strconv"
	"strings"
)

// command obeys one command of RFC 5321, or BDAT of RFC 3030, and reports
// whether the session goes on.
func (s *session) command(line string) (more bool) {
	verb, argument, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		s.hello = true
		s.clear()
		// SIZE 0: no fixed limit, RFC 1870, 4.
		return s.reply("250-relay.test", "250-PIPELINING", "250-8BITMIME",
			"250-ENHANCEDSTATUSCODES", "250-SIZE 0", "250 CHUNKING")
	case "HELO":
		s.hello = true
		s.clear()
		return s.reply("250 relay.test")
	case "MAIL":
		return s.reply(s.mail(argument))
	case "RCPT":
		return s.reply(s.rcpt(argument))
	case "DATA":
		return s.data()
	case "BDAT":
		return s.bdat(argument)
	case "RSET":
		s.clear()
		return s.reply("250 2.0.0 ok")
	case "NOOP":
		return s.reply("250 2.0.0 ok")
	case "VRFY":
		return s.reply("252 2.1.5 cannot verify, send it")
	case "QUIT":
		return s.quit()
	default:
		return s.reply("500 5.5.2 unknown command")
	}
}

// refuse is the dialogue after a 4xx or 5xx greeting, RFC 5321, 3.1: "wait for
// the client to send a QUIT".
func (s *session) refuse(line string) (more bool) {
	if strings.EqualFold(line, "QUIT") {
		return s.quit()
	}
	return s.reply("503 5.5.1 only QUIT is possible")
}

func (s *session) quit() (more bool) {
	if s.reply("221 2.0.0 bye") && s.out.Flush() == nil {
		s.finish()
	}
	return false
}

// clear ends the transaction.
func (s *session) clear() { s.from, s.to, s.body = nil, nil, nil }

func (s *session) mail(argument string) (reply string) {
	from, ok := path(argument, "FROM:")
	switch {
	case !s.hello:
		return "503 5.5.1 say EHLO first"
	case s.from != nil:
		return "503 5.5.1 nested MAIL"
	case !ok:
		return "501 5.5.4 MAIL FROM:<address> expected"
	}
	s.from = &from
	return "250 2.1.0 ok"
}

func (s *session) rcpt(argument string) (reply string) {
	to, ok := path(argument, "TO:")
	switch {
	case s.from == nil:
		return "503 5.5.1 MAIL first"
	case s.body != nil:
		return "503 5.5.1 BDAT has begun"
	case !ok || to == "":
		return "501 5.5.4 RCPT TO:<address> expected"
	}
	s.to = append(s.to, to)
	return "250 2.1.5 ok"
}

// path takes the address out of "FROM:<address> PARAMETER=..."; parameters are
// not looked at.
func path(argument, keyword string) (address string, ok bool) {
	argument = strings.TrimLeft(argument, " ")
	if len(argument) < len(keyword) || !strings.EqualFold(argument[:len(keyword)], keyword) {
		return "", false
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(argument[len(keyword):], " "), "<")
	if !ok {
		return "", false
	}
	address, _, ok = strings.Cut(rest, ">")
	return address, ok
}

func (s *session) data() (more bool) {
	switch {
	case len(s.to) == 0:
		return s.reply("503 5.5.1 RCPT first")
	case s.body != nil: // RFC 3030, 2: DATA and BDAT cannot be mixed
		return s.reply("503 5.5.1 BDAT has begun")
	case !s.reply("354 go ahead") || s.out.Flush() != nil:
		return false
	}
	s.enlarge()
	b := newBody(s.script.KeepData)
	if err := readDotted(s.in, b); err != nil {
		return false
	}
	return s.complete(b)
}

func (s *session) bdat(argument string) (more bool) {
	number, last, _ := strings.Cut(argument, " ")
	size, err := strconv.ParseInt(number, 10, 64)
	isLast := strings.EqualFold(last, "LAST")
	if err != nil || size < 0 || (last != "" && !isLast) {
		// Where the next command begins is unknown from here on.
		if s.reply("501 5.5.4 BDAT size [LAST] expected") && s.out.Flush() == nil {
			s.finish()
		}
		return false
	}
	s.enlarge()
	if s.out.Flush() != nil {
		return false
	}
	if len(s.to) == 0 { // RFC 3030, 2: the octets are read and dropped all the same
		if readChunk(s.in, io.Discard, size) != nil {
			return false
		}
		return s.reply("503 5.5.1 RCPT first")
	}
	if s.body == nil {
		s.body = newBody(s.script.KeepData)
	}
	if readChunk(s.in, s.body, size) != nil {
		return false
	}
	if isLast {
		return s.complete(s.body)
	}
	return s.reply("250 2.0.0 " + number + " octets received")
}

// complete answers a whole message, and keeps it if the answer is yes.
func (s *session) complete(b *body) (more bool) {
	if s.script.EndOfDataDelay > 0 && !s.pause(s.script.EndOfDataDelay) {
		return false
	}
	switch {
	case s.script.ResetAfterDot:
		reset(s.conn)
		return false
	case s.script.CloseAfterDot:
		s.finish()
		return false
	}
	message := b.message()
	message.From, message.To = *s.from, s.to
	message.Peer, message.Source = s.peer, s.source
	s.clear()
	answer := s.script.endOfDataReply()
	if strings.HasPrefix(answer, "2") {
		// Before the reply: who has read the reply finds the message kept.
		if !s.relay.keep(s, message) {
			<-s.done // the reset is on its way; closing here would make an end of file of it
			return false
		}
		if s.script.OnMessage != nil {
			s.script.OnMessage(message)
		}
	}
	return s.reply(strings.TrimSuffix(answer, "\r\n"))
}
