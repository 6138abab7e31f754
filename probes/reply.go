package probes

import (
	"bufio"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
)

// net/textproto's ReadResponse is not used here: it takes the half line of a
// relay that dies in its greeting for a whole one, and waits for ever on the
// last line "250" without a text, which is allowed (RFC 5321, section 4.2).

// Bounds on what a relay may say. A line is allowed 512 bytes (RFC 5321, section
// 4.5.3.1.5); the greeting's bound is that of live sessions.
const (
	maxLine     = 4 << 10
	maxGreeting = 4 << 10
	maxReply    = 16 << 10
)

// errNotSMTP is about bytes that no SMTP reply consists of.
var errNotSMTP = errors.New("no SMTP reply")

// reply is the relay's answer, of one or many lines.
type reply struct {
	code  int      // 0: not known
	lines []string // whole lines, made printable
}

// reply reads one whole reply. The code that counts is that of the first line
// which has not the wanted one: behind postscreen's teaser "220-" may come a
// 450 or a 521. With an error the reply is what there was of it; a line that
// stopped half-way is in the dialogue only.
func (d *dialogue) reply(want, most int) (reply, error) {
	var rep reply
	d.turn = false
	for size := 0; ; {
		b, err := d.in.ReadSlice('\n')
		size += len(b)
		if len(b) > 0 {
			d.add(Received, string(b))
		}
		code, last, ok := parseLine(b)
		switch {
		case !ok:
			return rep, fmt.Errorf("%w: %q", errNotSMTP, shorten(printable(string(b))))
		case errors.Is(err, bufio.ErrBufferFull) || size > most:
			return rep, fmt.Errorf("%w: no end after %d bytes", errNotSMTP, size)
		case err != nil:
			d.note(err.Error())
			return rep, err
		}
		if rep.code == 0 || rep.code == want {
			rep.code = code
		}
		rep.lines = append(rep.lines, printable(string(b)))
		if last {
			d.turn = true
			return rep, nil
		}
	}
}

// parseLine reads one line of a reply: three digits, then "-" when more lines
// follow, " " or nothing when none does. Of a line without its LF it tells only
// whether it can still become one: ok is false as soon as it cannot.
func parseLine(b []byte) (code int, last, ok bool) {
	for i, c := range b {
		switch {
		case i == 0 && (c < '2' || c > '5'), i < 3 && (c < '0' || c > '9'):
			return 0, false, false
		case i < 3:
			code = code*10 + int(c-'0')
		case c == '-':
			return code, false, true
		default:
			return code, true, c == ' ' || c == '\r' || c == '\n'
		}
	}
	return 0, false, true
}

// refusal is the reply as an error.
func (rep reply) refusal() *textproto.Error {
	texts := make([]string, 0, len(rep.lines))
	for _, line := range rep.lines {
		if text := strings.TrimSpace(line[min(len(line), 4):]); text != "" {
			texts = append(texts, text)
		}
	}
	return &textproto.Error{Code: rep.code, Msg: strings.Join(texts, " ")}
}

// refusalText is the refusal as the relay put it: its Error has quotes.
func refusalText(e *textproto.Error) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, e.Msg))
}

// offers tells whether the reply to EHLO lists an extension. Its first line is
// the relay's name (RFC 5321, section 4.1.1.1).
func (rep reply) offers(keyword string) bool {
	for i, line := range rep.lines {
		word, _, _ := strings.Cut(line[min(len(line), 4):], " ")
		if i > 0 && strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

// String is all lines, separated by "\n".
func (rep reply) String() string { return strings.Join(rep.lines, "\n") }
