package sink

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"smtplb/bench/mail"
)

// undotted is what undot should make of DATA, written for the reader: what
// comes before the line with the single dot, and how much that takes.
func undotted(data []byte) (content []byte, taken int, done bool) {
	lines := bytes.SplitAfter(data, []byte("\r\n"))
	for _, line := range lines {
		if string(line) == ".\r\n" {
			return content, taken + len(line), true
		}
		taken += len(line)
		content = append(content, bytes.TrimPrefix(line, []byte("."))...)
	}
	return content, taken, false
}

func arrival(content []byte) mail.Arrival {
	var k mail.Checker
	_, _ = k.Write(content)
	return k.Arrival()
}

func TestUndotWhateverThePieces(t *testing.T) {
	composer := mail.NewComposer()
	line := rapid.SampledFrom([]string{
		"", ".", "..", "...", ".x", "x.", "x", "\r", ".\r", "..\r", "\n", ".\n", "\n.", "\r.\r", "\n.\n", "\r\r", "a longer line of text.", "x\r",
	})
	rapid.Check(t, func(t *rapid.T) {
		var data bytes.Buffer
		if rapid.Bool().Draw(t, "ours") {
			m := composer.Message(mail.ID{Run: 1, Seq: 1}, 400)
			_ = m.WriteDotted(&data) // a buffer never fails
			data.Truncate(data.Len() - len(".\r\n"))
		}
		for _, l := range rapid.SliceOf(line).Draw(t, "lines") {
			data.WriteString(l + "\r\n")
		}
		data.WriteString(".\r\nMAIL FROM:<next@example.com>\r\n")
		text := data.Bytes()
		content, taken, _ := undotted(text)

		var tr transfer
		got, done := 0, false
		for !done {
			if got == len(text) {
				t.Fatal("not done at the end")
			}
			piece := text[got : got+rapid.IntRange(1, len(text)-got).Draw(t, "piece")]
			var n int
			n, done = tr.undot(piece)
			if !done && n != len(piece) {
				t.Fatalf("took %d of %d and is not done", n, len(piece))
			}
			got += n
		}
		if got != taken {
			t.Errorf("took %d octets of %q, want %d", got, text, taken)
		}
		if got, want := tr.checker.Arrival(), arrival(content); got != want {
			t.Errorf("%q arrives as %+v, want %+v", text, got, want)
		}
	})
}

// Of line ends, only CRLF is one: what others take for the end of a message
// would let a second message through in the first (SMTP smuggling).
func TestOnlyCRLFDotCRLFEndsAMessage(t *testing.T) {
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\n.\r\r", "\r\n..\r\n", "\r\n.\x00\r\n"} {
		var tr transfer
		if _, done := tr.undot([]byte("Subject: x\r\n\r\ntext" + end)); done {
			t.Errorf("%q ended a message", end)
		}
	}
}

func TestOurMessageArrivesWhole(t *testing.T) {
	m := mail.NewComposer().Message(mail.ID{Run: 5, Seq: 6}, 300_000)
	var dotted bytes.Buffer
	if err := m.WriteDotted(&dotted); err != nil {
		t.Fatal(err)
	}
	var tr transfer
	if n, done := tr.undot(dotted.Bytes()); !done || n != dotted.Len() {
		t.Fatalf("took %d of %d, done %v", n, dotted.Len(), done)
	}
	want := mail.Arrival{ID: mail.ID{Run: 5, Seq: 6}, Known: true, Size: 300_000}
	if got := tr.checker.Arrival(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func BenchmarkUndot(b *testing.B) {
	ours := mail.NewComposer().Message(mail.ID{Run: 1, Seq: 1}, 1<<20)
	var dotted bytes.Buffer
	if err := ours.WriteDotted(&dotted); err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		data []byte
	}{
		{"content=ours", dotted.Bytes()},
		{"content=prose", []byte("Subject: x\r\n\r\n" + strings.Repeat("A sentence is short. The next is so, too.\r\n", 25_000) + ".\r\n")},
		{"content=dots", []byte("Subject: x\r\n\r\n" + strings.Repeat("..................................\r\n", 29_000) + ".\r\n")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.data)))
			b.ReportAllocs()
			var tr transfer
			for b.Loop() {
				tr.checker.Reset()
				tr.state = lineStart
				for rest := bench.data; len(rest) > 0; {
					n, _ := tr.undot(rest[:min(len(rest), readBuffer)])
					rest = rest[n:]
				}
			}
		})
	}
}
