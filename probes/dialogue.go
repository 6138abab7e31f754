package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode"
)

// Direction is who said a line of a dialogue.
type Direction byte

// The directions.
const (
	Sent     Direction = '>' // we did
	Received Direction = '<' // the relay did
	Noted    Direction = '*' // nobody: something happened
)

// Line is one line of what was said in a check.
type Line struct {
	At        time.Duration // since the check began
	Direction Direction
	Text      string // without its end and without control characters
}

// String is the line for people to read: "3ms < 220 relay-a.example ESMTP".
func (l Line) String() string {
	return fmt.Sprintf("%8s %c %s", l.At.Round(100*time.Microsecond), l.Direction, l.Text)
}

// dialogue is a connection to a relay and all that was said on it.
type dialogue struct {
	conn  net.Conn      // the connection: its deadlines and its end
	tls   *tls.Conn     // what is said inside TLS; nil outside
	out   io.Writer     // conn, or tls in it
	in    *bufio.Reader // of the same
	start time.Time
	lines []Line

	// turn says that a reply of the relay has just ended, so that it is ours to
	// speak; never before the greeting is over.
	turn bool
}

func (d *dialogue) open(conn net.Conn) {
	d.conn = conn
	d.speak(conn)
}

// speak has what follows go through rw.
func (d *dialogue) speak(rw io.ReadWriter) {
	d.out = rw
	d.in = bufio.NewReaderSize(rw, maxLine)
}

// interrupt ends every read and write, now and later.
func (d *dialogue) interrupt() {
	_ = d.conn.SetDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// bound ends every read and write after patience, or at once when ctx ends. The
// order matters: a ctx that ended before the new deadline was set is seen by
// the second line, one that ends later calls interrupt itself.
func (d *dialogue) bound(ctx context.Context, patience time.Duration) {
	_ = d.conn.SetDeadline(time.Now().Add(patience)) // as above
	if ctx.Err() != nil {
		d.interrupt()
	}
}

// ask says one line and reads the reply to it.
func (d *dialogue) ask(line string, want int) (reply, error) {
	d.add(Sent, line)
	d.turn = false
	if _, err := io.WriteString(d.out, line+"\r\n"); err != nil {
		d.note(err.Error())
		return reply{}, err
	}
	return d.reply(want, maxReply)
}

// close ends the connection so that the relay sees a FIN and no reset: with
// bytes unread in its buffer, or still on their way, Linux would answer them
// with a RST (tcp_close). So ours is ended first, and the relay's read to its
// end, for a moment and a bounded number of bytes. Inside TLS a close_notify
// comes before the FIN, lest it be taken for an attacker's (RFC 8446, section
// 6.1); the relay's own is not waited for: it is among what is read to the end.
func (d *dialogue) close(ctx context.Context) {
	const (
		patience = time.Second
		most     = 256 << 10
	)
	d.bound(ctx, patience)
	if d.tls != nil {
		_ = d.tls.CloseWrite() // fails where the relay is gone already
	}
	if c, ok := d.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, d.conn, most) // the verdict stands, whatever comes
	}
	_ = d.conn.Close()
}

func (d *dialogue) note(text string) { d.add(Noted, text) }

func (d *dialogue) add(direction Direction, text string) {
	d.lines = append(d.lines, Line{At: time.Since(d.start), Direction: direction, Text: printable(text)})
}

// printable makes a relay's bytes safe for terminals, logs and pages.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) && c != unicode.ReplacementChar {
			return c
		}
		return '?'
	}, strings.TrimRight(s, "\r\n"))
}
