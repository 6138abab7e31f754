package source

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

const (
	// A greeting, a reply to EHLO and pipelined replies fit; more makes it grow.
	firstBuffer = 1 << 10
	// maxReply bounds a reply: many lines of 512 octets (RFC 5321, 4.5.3.1.5).
	maxReply = 16 << 10
)

// input reads replies. The zero value is ready.
type input struct {
	buf  []byte
	r, w int // buf[r:w] is not used yet
}

// reset forgets what is buffered.
func (in *input) reset() { in.r, in.w = 0, 0 }

// reply reads the next reply, of one line or many (RFC 5321, 4.2.1). Its code is
// the highest of its lines: behind a teaser "220-" may come a 450. The text is
// valid until the next call. The end of the connection is io.EOF before a reply,
// io.ErrUnexpectedEOF within one.
func (in *input) reply(from io.Reader) (code int, text []byte, err error) {
	if in.r == in.w {
		in.reset()
	}
	line := 0 // where the current line begins, from in.r
	for {
		rest := in.buf[in.r+line : in.w]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			if _, _, ok := parseLine(rest); !ok {
				return 0, nil, notSMTP(rest)
			}
			if err := in.fill(from); err != nil {
				return 0, nil, err
			}
			continue
		}
		c, last, ok := parseLine(rest[:end+1])
		if !ok {
			return 0, nil, notSMTP(rest[:end])
		}
		code = max(code, c)
		line += end + 1
		if last {
			text = in.buf[in.r : in.r+line]
			in.r += line
			return code, text, nil
		}
	}
}

// fill reads more behind what there is, and may move it.
func (in *input) fill(from io.Reader) error {
	if in.w == len(in.buf) {
		switch {
		case in.r > 0:
			in.w = copy(in.buf, in.buf[in.r:in.w])
			in.r = 0
		case len(in.buf) >= maxReply:
			return errors.Join(notSMTP(in.buf), errors.New("no end after "+strconv.Itoa(maxReply)+" bytes"))
		default:
			larger := make([]byte, max(2*len(in.buf), firstBuffer))
			copy(larger, in.buf)
			in.buf = larger
		}
	}
	n, err := from.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && in.w > in.r {
		return io.ErrUnexpectedEOF
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// parseLine reads one line of a reply: three digits, then "-" when more lines
// follow, " " or nothing when none does. Of the beginning of a line it tells
// whether it can still become one.
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

// offers is what a reply to EHLO offers.
type offers struct {
	pipelining, chunking, starttls, size bool
}

// parseOffers looks at each line but the first, which is the server's name.
func parseOffers(reply []byte) offers {
	var o offers
	_, reply, _ = bytes.Cut(reply, []byte("\n"))
	for len(reply) > 4 {
		var line []byte
		line, reply, _ = bytes.Cut(reply, []byte("\n"))
		if len(line) < 4 {
			continue
		}
		keyword, _, _ := bytes.Cut(bytes.TrimRight(line[4:], "\r"), []byte(" "))
		switch {
		case bytes.EqualFold(keyword, []byte("PIPELINING")):
			o.pipelining = true
		case bytes.EqualFold(keyword, []byte("CHUNKING")):
			o.chunking = true
		case bytes.EqualFold(keyword, []byte("STARTTLS")):
			o.starttls = true
		case bytes.EqualFold(keyword, []byte("SIZE")):
			o.size = true
		}
	}
	return o
}
