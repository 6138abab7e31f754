package smtptest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"strings"
)

// headSize is how much of a message is searched for header fields.
const headSize = 4 << 10

// body is a message on its way in: hashed and counted, not held.
type body struct {
	hash hash.Hash
	size int64
	head []byte
	data []byte
	hold bool
}

func newBody(hold bool) *body { return &body{hash: sha256.New(), hold: hold} }

// Write never fails.
func (b *body) Write(p []byte) (int, error) {
	b.size += int64(len(p))
	_, _ = b.hash.Write(p) // never fails either, see hash.Hash
	if room := headSize - len(b.head); room > 0 {
		b.head = append(b.head, p[:min(room, len(p))]...)
	}
	if b.hold {
		b.data = append(b.data, p...)
	}
	return len(p), nil
}

// message is what is known of the message from its bytes alone.
func (b *body) message() Message {
	m := Message{
		ID:      headerField(b.head, "X-Test-ID"),
		Subject: headerField(b.head, "Subject"),
		Size:    b.size,
		Data:    b.data,
	}
	b.hash.Sum(m.Sum[:0])
	return m
}

// headerField returns the first field of that name, unfolded lines only.
func headerField(head []byte, name string) string {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) == 0 {
			break
		}
		field, value, ok := strings.Cut(string(line), ":")
		if ok && strings.EqualFold(field, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// block returns what in holds, at least one byte, which stays in it.
func block(in *bufio.Reader) ([]byte, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	return in.Peek(in.Buffered())
}

// move hands the first n bytes that in holds to out.
func move(out io.Writer, in *bufio.Reader, n int) error {
	p, err := in.Peek(n)
	if err != nil {
		return err
	}
	if _, err = out.Write(p); err != nil {
		return err
	}
	_, err = in.Discard(n)
	return err
}

// readChunk copies the size octets of a BDAT command.
func readChunk(in *bufio.Reader, out io.Writer, size int64) error {
	for size > 0 {
		p, err := block(in)
		if err != nil {
			return err
		}
		n := int(min(size, int64(len(p))))
		if err := move(out, in, n); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// readDotted copies a message up to the line with the single dot, which it
// takes away with the dots that the client put in front of others (RFC 5321,
// 4.5.2). Only CRLF ends a line (2.3.8). It moves whole blocks between dots, for
// the sake of messages of 100 MB.
func readDotted(in *bufio.Reader, out io.Writer) error {
	atLineStart := true
	for {
		p, err := block(in)
		if err != nil {
			return err
		}
		if atLineStart && p[0] == '.' {
			end, err := in.Peek(3) // no line is shorter than a dot and CRLF
			if err != nil {
				return err
			}
			if string(end) == ".\r\n" {
				_, err = in.Discard(3)
				return err
			}
			if _, err = in.Discard(1); err != nil {
				return err
			}
			atLineStart = false
			continue
		}
		if len(p) == 1 && p[0] == '\r' { // the other half of the line end is to come
			if p, err = in.Peek(2); err != nil {
				return err
			}
		}
		n, lineEnd := upToDot(p)
		if err := move(out, in, n); err != nil {
			return err
		}
		atLineStart = lineEnd
	}
}

// upToDot returns how much of p can be moved before the next dot at a line's
// start must be looked at, and whether that much ends with a line end. It is
// never 0. A CR at the end of p stays behind, unless it is all that is left.
func upToDot(p []byte) (n int, lineEnd bool) {
	if i := bytes.Index(p, []byte("\r\n.")); i >= 0 {
		return i + 2, true
	}
	if len(p) > 1 && p[len(p)-1] == '\r' {
		return len(p) - 1, false
	}
	return len(p), bytes.HasSuffix(p, []byte("\r\n"))
}

// Body returns a message for tests, the same for the same arguments: a header
// with X-Test-ID, then random printable lines, some of which begin with dots.
// It has size bytes, but for sizes that cannot hold header and one line end.
func Body(id string, size int) []byte {
	const lineLength = 76
	const alphabet = ".ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"
	head := fmt.Sprintf("From: <sender@client.test>\r\nTo: <recipient@relay.test>\r\n"+
		"Subject: test message %s\r\nX-Test-ID: %s\r\n\r\n", id, id)
	rest := max(size-len(head), 2)
	message := make([]byte, 0, len(head)+rest)
	message = append(message, head...)
	if rest >= 16 {
		message = append(message, ".\r\n..\r\n"...) // what goes wrong first
		rest -= 7
	}
	random := rand.NewChaCha8(sha256.Sum256([]byte(id)))
	var letters [lineLength + 1]byte
	for rest > 0 {
		n := min(lineLength, rest-2)
		if rest-n-2 == 1 { // a single byte could not hold the next line's end
			n++
		}
		_, _ = random.Read(letters[:n]) // never fails
		for _, letter := range letters[:n] {
			message = append(message, alphabet[letter%64])
		}
		message = append(message, '\r', '\n')
		rest -= n + 2
	}
	return message
}
