package sink

import (
	"bytes"

	"smtplb/bench/mail"
)

// transfer is a message on its way in: checked and counted, not held.
type transfer struct {
	checker mail.Checker
	state   dotState
}

// dotState is what the octets of DATA so far mean for the next one. The dots
// that a state names are not in the content yet.
type dotState uint8

const (
	lineStart  dotState = iota // a dot here is the client's
	inLine                     // a dot here is the message's
	afterCR                    // within a line
	afterDot                   // at the start of a line
	afterDotCR                 // there, too
)

// undot takes octets of DATA up to the line with the single dot, and gives the
// checker what is content: without the dots that the client put in front of
// others (RFC 5321, 4.5.2). Only CRLF ends a line (2.3.8). It returns how much
// of p it took; less than all only when it is done.
func (t *transfer) undot(p []byte) (n int, done bool) {
	for n < len(p) {
		b := p[n]
		switch t.state {
		case lineStart:
			if b != '.' {
				t.state = inLine
				continue
			}
			t.state = afterDot
			n++
		case afterDot:
			if b != '\r' {
				t.state = inLine
				continue
			}
			t.state = afterDotCR
			n++
		case afterDotCR:
			if b == '\n' {
				t.state = lineStart
				return n + 1, true
			}
			t.write([]byte{'\r'})
			t.state = afterCR
		case afterCR:
			if b != '\n' {
				t.state = inLine
				continue
			}
			t.write(p[n : n+1])
			t.state = lineStart
			n++
		case inLine:
			length := upToDot(p[n:])
			t.write(p[n : n+length])
			n += length
			t.state = stateAfter(p[n-length : n])
		}
	}
	return n, false
}

func (t *transfer) write(p []byte) { _, _ = t.checker.Write(p) } // never fails

// upToDot is the length of p before the first dot at the start of one of its
// lines. The first line of p has begun before it.
func upToDot(p []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(p[from:], '.')
		if i < 0 {
			return len(p)
		}
		i += from
		if i >= 2 && p[i-1] == '\n' && p[i-2] == '\r' {
			return i
		}
		from = i + 1
	}
}

// stateAfter is the state after p, which is not empty and begins in a line.
func stateAfter(p []byte) dotState {
	switch {
	case bytes.HasSuffix(p, []byte("\r\n")):
		return lineStart
	case p[len(p)-1] == '\r':
		return afterCR
	default:
		return inLine
	}
}
