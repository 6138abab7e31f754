package sink

import (
	"bytes"
	"strconv"
	"strings"
)

// command obeys one command of RFC 5321, BDAT of RFC 3030, or STARTTLS of RFC
// 3207.
func (d *dialogue) command(line []byte) {
	var letters [8]byte
	verb := upper(letters[:0], line)
	switch string(verb) {
	case "EHLO", "HELO":
		d.reach(PointEHLO, line)
	case "STARTTLS":
		d.reach(PointSTARTTLS, line)
	case "MAIL":
		d.reach(PointMAIL, line)
	case "RCPT":
		d.reach(PointRCPT, line)
	case "DATA":
		d.reach(PointDATA, line)
	case "BDAT":
		d.reach(PointBDAT, line)
	case "RSET":
		d.reach(PointRSET, line)
	case "NOOP":
		d.reach(PointNOOP, line)
	case "QUIT":
		d.reach(PointQUIT, line)
	case "VRFY":
		d.say("252 2.1.5 cannot verify, send it")
	default:
		d.say("500 5.5.2 unknown command")
	}
}

// upper appends the first word of a command in capitals, at most eight letters
// of it and one more for a word that is longer.
func upper(to, line []byte) []byte {
	for i, b := range line {
		if b == ' ' {
			break
		}
		if i == cap(to) {
			return to[:0]
		}
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		to = append(to, b)
	}
	return to
}

// refused is the dialogue after a 4xx or 5xx greeting, RFC 5321, 3.1: "wait for
// the client to send a QUIT".
func (d *dialogue) refused(line []byte) {
	if bytes.EqualFold(line, []byte("QUIT")) {
		d.reach(PointQUIT, line)
		return
	}
	d.say("503 5.5.1 only QUIT is possible")
}

// perform does what should be done at a point.
func (d *dialogue) perform(p Point, line []byte) {
	switch p {
	case PointGreeting:
		d.out = append(d.out, d.relay.greeting...)
	case PointEHLO:
		d.ehlo(line[0] == 'E' || line[0] == 'e')
	case PointSTARTTLS:
		d.starttls(line)
	case PointMAIL:
		d.say(d.mail(line[len("MAIL"):]))
	case PointRCPT:
		d.say(d.rcpt(line[len("RCPT"):]))
	case PointDATA:
		d.startData(line)
	case PointBDAT:
		d.startChunk(line)
	case PointContent:
		d.keep()
		d.clear()
		d.say(d.relay.taken)
	case PointRSET:
		d.clear()
		d.say("250 2.0.0 ok")
	case PointNOOP:
		d.say("250 2.0.0 ok")
	case PointQUIT:
		d.say("221 2.0.0 bye")
		d.step = stepQuit
	}
}

func (d *dialogue) ehlo(extended bool) {
	d.hello = true
	d.clear()
	if !d.counted {
		d.counted = true
		d.relay.counts.sessions.Add(1)
	}
	reply := d.relay.helo
	switch {
	case extended && d.relay.offersTLS && !d.secure:
		reply = d.relay.ehloTLS
	case extended:
		reply = d.relay.ehlo
	}
	d.out = append(d.out, reply...)
}

func (d *dialogue) starttls(line []byte) {
	switch {
	case len(line) > len("STARTTLS"):
		d.say("501 5.5.4 STARTTLS takes no parameter")
	case d.secure || d.from:
		d.say("503 5.5.1 not now")
	case !d.relay.offersTLS:
		d.say("502 5.5.1 no TLS here")
	default:
		d.say("220 2.0.0 go ahead")
		d.step = stepTLS
	}
}

func (d *dialogue) mail(argument []byte) (reply string) {
	_, ok := path(argument, "FROM:")
	switch {
	case !d.hello:
		return "503 5.5.1 say EHLO first"
	case d.from:
		return "503 5.5.1 nested MAIL"
	case !ok:
		return "501 5.5.4 MAIL FROM:<address> expected"
	}
	d.from = true
	return "250 2.1.0 ok"
}

func (d *dialogue) rcpt(argument []byte) (reply string) {
	to, ok := path(argument, "TO:")
	switch {
	case !d.from:
		return "503 5.5.1 MAIL first"
	case d.chunked:
		return "503 5.5.1 BDAT has begun"
	case !ok || len(to) == 0:
		return "501 5.5.4 RCPT TO:<address> expected"
	}
	d.to = true
	return "250 2.1.5 ok"
}

// path takes the address out of " FROM:<address> PARAMETER=..."; parameters are
// not looked at.
func path(argument []byte, keyword string) (address []byte, ok bool) {
	argument = bytes.TrimLeft(argument, " ")
	if len(argument) < len(keyword) || !strings.EqualFold(string(argument[:len(keyword)]), keyword) {
		return nil, false
	}
	argument = bytes.TrimLeft(argument[len(keyword):], " ")
	if len(argument) == 0 || argument[0] != '<' {
		return nil, false
	}
	end := bytes.IndexByte(argument, '>')
	if end < 0 {
		return nil, false
	}
	return argument[1:end], true
}

// parseBDAT takes "BDAT size [LAST]" apart.
func parseBDAT(line []byte) (c chunk, ok bool) {
	fields := strings.Fields(string(line[len("BDAT"):]))
	if len(fields) == 0 || len(fields) > 2 || fields[0][0] < '0' || fields[0][0] > '9' {
		return chunk{}, false
	}
	size, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || len(fields) == 2 && !strings.EqualFold(fields[1], "LAST") {
		return chunk{}, false
	}
	return chunk{left: size, size: size, last: len(fields) == 2}, true
}
