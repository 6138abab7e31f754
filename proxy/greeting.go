package proxy

import (
	"bytes"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/internal/socket"
)

// maxGreeting bounds the bytes of a greeting that are held back.
const maxGreeting = 4 << 10

// verdict is what is known of a greeting so far.
type verdict uint8

const (
	incomplete verdict = iota // so far so good, more is to come
	good                      // a whole greeting with code 220
	bad                       // another code, or no SMTP
)

// judgement is what parseGreeting found. Code and line are of the line that
// decided; the outcome is OK unless the verdict is bad. Of an incomplete
// greeting the first seen bytes are whole lines and need not be read again.
type judgement struct {
	verdict verdict
	code    int
	outcome balancer.Outcome
	line    []byte
	seen    int
}

// parseGreeting judges the bytes that a relay has sent so far, a reply of one
// or many lines as in RFC 5321, section 4.2.1: a code and "-" on each line but
// the last. A bare LF ends a line too. The last line's code counts: behind
// postscreen's teaser "220-" may come a 220, a 450 or a 550. What follows a
// good greeting is not looked at. seen is the judgement's before there was more,
// at first 0: a greeting that comes byte by byte is not parsed from its start
// each time.
func parseGreeting(b []byte, seen int) judgement {
	rest := b[seen:]
	for len(rest) > 0 {
		code, ok := leadingCode(rest)
		line, tail, whole := bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case !ok:
			return judgement{verdict: bad, outcome: balancer.NotSMTP, line: line}
		case !whole && len(b) < maxGreeting:
			return judgement{verdict: incomplete, seen: len(b) - len(rest)}
		case !whole:
			return judgement{verdict: bad, outcome: balancer.NotSMTP, line: line}
		case code != 220:
			return judgement{verdict: bad, code: code, outcome: refusal(code), line: line}
		case len(line) == 3 || line[3] == ' ':
			return judgement{verdict: good, code: code, line: line}
		case line[3] != '-': // a lone CR
			return judgement{verdict: bad, outcome: balancer.NotSMTP, line: line}
		}
		rest = tail
	}
	if len(b) >= maxGreeting {
		return judgement{verdict: bad, outcome: balancer.NotSMTP}
	}
	return judgement{verdict: incomplete, seen: len(b)}
}

// leadingCode reads the reply code at the start of a line; ok is false as soon
// as the bytes cannot become one. A line that is not whole gives code 0.
func leadingCode(line []byte) (code int, ok bool) {
	for i, c := range line {
		switch {
		case i < 3 && c >= '0' && c <= '9':
			code = code*10 + int(c-'0')
		case i < 3:
			return 0, false
		case c == ' ' || c == '-' || c == '\r' || c == '\n':
			return code, code >= 200 && code <= 599
		default:
			return 0, false
		}
	}
	return 0, true
}

func refusal(code int) balancer.Outcome {
	switch code / 100 {
	case 4:
		return balancer.Greeting4xx
	case 5:
		return balancer.Greeting5xx
	default:
		return balancer.NotSMTP
	}
}

// readGreeting reads what the relay has sent and goes on when its greeting is
// whole, or cannot become one. Nearly always the first read has all of it and
// nothing is kept.
func (l *loop) readGreeting(s *session, c *contender) {
	for {
		room := l.buffer[:maxGreeting-len(c.held)]
		n, err := socket.Read(c.backend, room)
		switch {
		case err == unix.EAGAIN:
			c.in.ready = false
			return
		case err != nil:
			l.next(s, c, failure{outcome: outcomeOf(err)})
			return
		case n == 0:
			l.next(s, c, failure{outcome: balancer.Closed})
			return
		}
		if n < len(room) && !c.in.ending {
			c.in.ready = false
		}
		b := room[:n]
		if len(c.held) > 0 {
			c.held = append(c.held, b...)
			b = c.held
		}
		j := parseGreeting(b, int(c.seen))
		switch j.verdict {
		case good:
			s.code = j.code
			s.greeting = l.ns - c.connected
			l.establish(s, c, b)
			return
		case bad:
			l.next(s, c, failure{outcome: j.outcome, reply: printable(string(j.line[:min(len(j.line), 200)]))})
			return
		}
		c.seen = uint16(j.seen)
		if len(c.held) == 0 {
			c.held = append(make([]byte, 0, maxGreeting), b...)
		}
		if !c.in.ready {
			return
		}
	}
}
