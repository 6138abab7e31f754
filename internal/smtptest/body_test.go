package smtptest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// undot is what readDotted should do, said in the simplest way: message and
// rest, or false if the end is missing.
func undot(wire string) (message, rest string, ok bool) {
	var out strings.Builder
	for {
		line, after, found := strings.Cut(wire, "\r\n")
		switch {
		case !found:
			return "", "", false
		case line == ".":
			return out.String(), after, true
		}
		out.WriteString(strings.TrimPrefix(line, "."))
		out.WriteString("\r\n")
		wire = after
	}
}

func FuzzDotUnstuffing(f *testing.F) {
	for _, seed := range []string{
		".\r\n", "..\r\n.\r\n", "a\r\n.\r\nb", "a\n.\n\r\n.\r\n", "\r\r\n.\r\n", "\r", ".", "..", "a\r\n..b\r\n\r\n.\r\nQUIT\r\n", ".\r.\r\n.\r\n",
		strings.Repeat("x", 20) + "\r\n..\r\n.\r\n", strings.Repeat("x", 15) + "\r\n.\r\n", strings.Repeat("x", 14) + "\r\n.\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		message, rest, ok := undot(wire)
		for name, source := range map[string]io.Reader{
			"in one":       strings.NewReader(wire),
			"byte by byte": iotest.OneByteReader(strings.NewReader(wire)),
		} {
			var got bytes.Buffer
			in := bufio.NewReaderSize(source, 16) // the smallest there is: many block ends
			err := readDotted(in, &got)
			if (err == nil) != ok {
				t.Fatalf("%s: %q gave %v, want end found: %t", name, wire, err, ok)
			}
			if !ok {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("%s: %q gave %v, want EOF", name, wire, err)
				}
				continue
			}
			after, _ := io.ReadAll(in)
			if got.String() != message || string(after) != rest {
				t.Fatalf("%s: %q gave %q then %q, want %q then %q", name, wire, got.String(), after, message, rest)
			}
		}
	})
}

func FuzzDotStuffing(f *testing.F) {
	f.Add([]byte(".\r\n..\r\n"))
	f.Add([]byte("a\r\n.b"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		content := Outgoing{Body: append([]byte{}, message...)}.content()
		var wire bytes.Buffer
		out := bufio.NewWriterSize(&wire, 16)
		writeDotted(out, content)
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
		got, rest, ok := undot(wire.String())
		if !ok || got != string(content) || rest != "" {
			t.Fatalf("%q travels as %q and arrives as %q, %q left", content, wire.String(), got, rest)
		}
	})
}

func TestBodyHasItsSizeItsIDAndWholeLines(t *testing.T) {
	least := len(Body("id", 0))
	for size := range 2000 {
		body := Body("id", size)
		if len(body) != max(size, least) {
			t.Fatalf("size %d gave %d bytes", size, len(body))
		}
		if !bytes.HasSuffix(body, []byte("\r\n")) || headerField(body, "X-Test-ID") != "id" {
			t.Fatalf("size %d: %q", size, body)
		}
		for line := range strings.SplitSeq(string(body), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n") { // RFC 5321, 4.5.3.1.6
				t.Fatalf("size %d: line %q", size, line)
			}
		}
	}
	if !bytes.Contains(Body("id", 1000), []byte("\r\n.\r\n..\r\n")) {
		t.Error("no lines of dots")
	}
	if !bytes.Equal(Body("id", 3000), Body("id", 3000)) || bytes.Equal(Body("id", 3000), Body("ie", 3000)) {
		t.Error("bodies must be the same for the same ID and differ for others")
	}
}
