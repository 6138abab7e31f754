package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	netmail "net/mail"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMessageArrivesAsItWasSent(t *testing.T) {
	composer := NewComposer()
	sizes := []int{-1, 0, 1, MinSize, 1000, 4096, chunkSize - 1, chunkSize, chunkSize + 1, fillerSize, 3*fillerSize + 17}
	for size := MinSize; size < MinSize+3*lineSize; size++ {
		sizes = append(sizes, size)
	}
	ids := []ID{{}, {1, 1}, {0xc0ffee, 123456}, {math.MaxUint64, math.MaxUint64}}
	for _, size := range sizes {
		for _, id := range ids {
			m := composer.Message(id, size)
			want := Arrival{ID: id, Known: true, Size: int64(max(size, MinSize))}
			text := content(t, m)
			if got := check(text); got != want || m.Size() != want.Size {
				t.Fatalf("%v of %d octets: arrives as %+v, says it has %d", id, size, got, m.Size())
			}
			wellFormed(t, text)
		}
	}
}

// wellFormed: what any relay lets pass. RFC 5321, 2.3.8 and 4.5.3.1.6: lines
// end in CRLF, no CR or LF stands alone, and none is longer than 1,000 octets.
func wellFormed(t *testing.T, text []byte) {
	t.Helper()
	if !bytes.HasSuffix(text, []byte(crlf)) {
		t.Fatalf("ends with %q", text[len(text)-4:])
	}
	for line := range bytes.SplitSeq(text, []byte(crlf)) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("bad line %q", line)
		}
	}
}

func TestMessageIsMail(t *testing.T) {
	composer := NewComposer()
	m := composer.Message(ID{0xc0ffee, 7}, 4096)
	parsed, err := netmail.ReadMessage(bytes.NewReader(content(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	if got := parsed.Header.Get("X-Smtpbench"); !strings.HasPrefix(got, "run=0000000000c0ffee seq=7 size=4096 crc=") {
		t.Errorf("X-Smtpbench: %q", got)
	}
	if got := parsed.Header.Get("Message-ID"); got != "<0000000000c0ffee.7@smtpbench.invalid>" {
		t.Errorf("Message-ID: %q", got)
	}
	for _, field := range []string{"From", "To"} {
		if _, err := parsed.Header.AddressList(field); err != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := parsed.Header.Date(); err != nil {
		t.Error(err)
	}
}

// A header with the body of a neighbour must not fit.
func TestNeighboursDiffer(t *testing.T) {
	composer := NewComposer()
	a, b := content(t, composer.Message(ID{1, 1}, 4096)), content(t, composer.Message(ID{1, 2}, 4096))
	cut := bytes.Index(a, []byte("\r\n\r\n"))
	if bytes.Equal(a[cut:], b[cut:]) {
		t.Error("the bodies of two messages are the same")
	}
	if got := check(a[:cut], b[cut:]); !got.Corrupt {
		t.Errorf("header and body of different messages: %+v", got)
	}
}

// writes records the sizes of writes, and keeps what was written.
type writes struct {
	bytes.Buffer
	sizes []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return w.Buffer.Write(p)
}

func TestDottedIsContentWithDotsDoubled(t *testing.T) {
	composer := NewComposer()
	rapid.Check(t, func(t *rapid.T) {
		id := ID{rapid.Uint64().Draw(t, "run"), rapid.Uint64().Draw(t, "seq")}
		size := rapid.OneOf(rapid.IntRange(0, 2000), rapid.IntRange(chunkSize-700, chunkSize+700),
			rapid.IntRange(0, 4*chunkSize), rapid.IntRange(fillerSize-10, 2*fillerSize)).Draw(t, "size")
		m := composer.Message(id, size)
		var plain, dotted writes
		if err := errors.Join(m.WriteContent(&plain), m.WriteDotted(&dotted)); err != nil {
			t.Fatal(err)
		}
		want := bytes.ReplaceAll(append([]byte(crlf), plain.Bytes()...), []byte("\r\n."), []byte("\r\n.."))[2:]
		if !bytes.Equal(dotted.Bytes(), append(want, finalDot...)) {
			t.Error("dots are not doubled as they should be")
		}
		if !bytes.Contains(plain.Bytes(), []byte("\r\n.\r\n..\r\n")) {
			t.Error("no line begins with a dot")
		}
		for _, w := range []*writes{&plain, &dotted} {
			if want := w.Len()/chunkSize + 2; len(w.sizes) > want {
				t.Errorf("%d octets in %d writes, want at most %d", w.Len(), len(w.sizes), want)
			}
			for _, n := range w.sizes {
				if n > chunkSize {
					t.Errorf("a write of %d octets", n)
				}
			}
		}
	})
}

// failing lets so many writes pass.
type failing struct{ good int }

func (w *failing) Write(p []byte) (int, error) {
	if w.good--; w.good < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestWriteErrorsAreReturned(t *testing.T) {
	composer := NewComposer()
	m := composer.Message(ID{1, 1}, 5*chunkSize)
	for good := range 5 {
		if err := m.WriteDotted(&failing{good}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after %d writes: %v", good, err)
		}
	}
}

func TestIDReadsAsItsHeader(t *testing.T) {
	if got, want := fmt.Sprint(ID{0xabc, 12}), "run=0000000000000abc seq=12"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func BenchmarkMessage(b *testing.B) {
	composer := NewComposer()
	for _, size := range []int{4 << 10, 20 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var seq uint64
			for b.Loop() {
				seq++
				m := composer.Message(ID{1, seq}, size)
				if err := m.WriteDotted(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
