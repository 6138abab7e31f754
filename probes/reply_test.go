package probes

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func read(r io.Reader, want int) (reply, *dialogue, error) {
	d := &dialogue{in: bufio.NewReaderSize(r, maxLine)}
	rep, err := d.reply(want, maxGreeting)
	return rep, d, err
}

func TestNextReplyStaysForTheNextQuestion(t *testing.T) {
	rep, d, err := read(strings.NewReader("250-mx\r\n250 STARTTLS\r\n221 bye\r\n"), 250)
	if err != nil || rep.code != 250 || len(rep.lines) != 2 || !d.turn {
		t.Fatalf("got %+v, %v, want two lines of 250", rep, err)
	}
	if rep, err := d.reply(221, maxReply); err != nil || rep.code != 221 {
		t.Errorf("got %+v, %v, want 221", rep, err)
	}
}

// Whatever a relay sends: a reply is whole when its last byte is there and not
// before, means the same in one piece and in many, and stays within bounds.
func FuzzReply(f *testing.F) {
	for _, server := range transcripts {
		f.Add([]byte(server.greeting + server.ehlo + server.quit))
		f.Add([]byte(server.ehlo))
	}
	for _, s := range []string{"", "220", "220-\r\n220", "22x\r\n", "554-no\r\n554 no\r\n", "SSH-2.0\r\n", "220-a\r\n421 b\r\n", "220\rx\n", "\xff\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, d, err := read(bytes.NewReader(b), 220)
		pieces, _, err2 := read(iotest.OneByteReader(bytes.NewReader(b)), 220)
		if whole.String() != pieces.String() || whole.code != pieces.code || (err == nil) != (err2 == nil) {
			t.Fatalf("in one piece %+v, %v, in many %+v, %v", whole, err, pieces, err2)
		}
		if d.turn != (err == nil) {
			t.Errorf("our turn: %v, after %v", d.turn, err)
		}
		if err != nil {
			if !errors.Is(err, errNotSMTP) && !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want no SMTP or EOF", err)
			}
			return
		}
		if whole.code < 200 || whole.code > 599 {
			t.Errorf("code %d, want 200 to 599", whole.code)
		}
		used := 0
		for range whole.lines {
			used += bytes.IndexByte(b[used:], '\n') + 1
		}
		if used > maxGreeting {
			t.Errorf("took %d bytes, want %d at most", used, maxGreeting)
		}
		if _, _, err := read(bytes.NewReader(b[:used-1]), 220); err == nil {
			t.Errorf("taken as whole without its last byte: %q", b[:used-1])
		}
	})
}
