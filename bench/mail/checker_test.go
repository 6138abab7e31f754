package mail

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAnyPiecesGiveTheSameArrival(t *testing.T) {
	composer := NewComposer()
	rapid.Check(t, func(t *rapid.T) {
		id := ID{rapid.Uint64().Draw(t, "run"), rapid.Uint64().Draw(t, "seq")}
		text := content(t, composer.Message(id, rapid.IntRange(0, 2000).Draw(t, "size")))
		var k Checker
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(0, len(rest)).Draw(t, "piece")
			if got, err := k.Write(rest[:n]); got != n || err != nil {
				t.Fatalf("Write of %d: %d, %v", n, got, err)
			}
			rest = rest[max(n, 1):]
			if n == 0 {
				_, _ = k.Write(text[len(text)-len(rest)-1 : len(text)-len(rest)])
			}
		}
		if got, want := k.Arrival(), (Arrival{ID: id, Known: true, Size: int64(len(text))}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		k.Reset()
		if got := k.Arrival(); got != (Arrival{}) {
			t.Errorf("after Reset: %+v", got)
		}
	})
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	text := content(t, NewComposer().Message(ID{0xc0ffee, 7}, 700))
	for i := range len(text) * 8 {
		text[i/8] ^= 1 << (i % 8)
		if got := check(text); got.Known && !got.Corrupt {
			t.Fatalf("bit %d of octet %d (%q): not seen", i%8, i/8, text[i/8])
		}
		text[i/8] ^= 1 << (i % 8)
	}
}

func TestDamageIsSeen(t *testing.T) {
	composer := NewComposer()
	rapid.Check(t, func(t *rapid.T) {
		text := content(t, composer.Message(ID{1, rapid.Uint64().Draw(t, "seq")}, rapid.IntRange(0, 3000).Draw(t, "size")))
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		n := rapid.IntRange(1, len(text)-at).Draw(t, "n")
		var damaged []byte
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0: // cut out
			damaged = append(bytes.Clone(text[:at]), text[at+n:]...)
		case 1: // repeated
			damaged = append(bytes.Clone(text[:at+n]), text[at:]...)
		case 2: // overwritten by another part
			from := rapid.IntRange(0, len(text)-n).Draw(t, "from")
			damaged = append(append(bytes.Clone(text[:at]), text[from:from+n]...), text[at+n:]...)
		}
		if bytes.Equal(damaged, text) {
			return
		}
		got := check(damaged)
		// What stands in front of our line is some relay's.
		prefixed := bytes.HasSuffix(damaged, text) && !bytes.Contains(damaged[:len(damaged)-len(text)], []byte("\r\n\r\n"))
		if got.Known && !got.Corrupt && !prefixed {
			t.Errorf("damage at %d, %d octets: not seen", at, n)
		}
	})
}

func TestWhatRelaysPutInFront(t *testing.T) {
	composer := NewComposer()
	text := content(t, composer.Message(ID{3, 4}, 1000))
	tests := []struct {
		name, prefix string
		known        bool
	}{
		{"nothing", "", true},
		{"Received", "Received: from a by b\r\n\tfor <c>; today\r\n", true},
		{"a line longer than ours", "X-Long: " + strings.Repeat("x", 5000) + "\r\n", true},
		{"a line as long as the checker's", "X: " + strings.Repeat("x", maxField-5) + "\r\n", true},
		{"another program's field of that name", fieldName + "yes\r\n", true},
		{"an empty line", "\r\n", false},
		{"a whole message", "Subject: forwarded\r\n\r\n", false},
		{"an empty line without CR", "Subject: forwarded\n\n", false},
		{"half a line", "X-", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := check([]byte(test.prefix), text)
			want := Arrival{Size: int64(len(test.prefix) + len(text))}
			if test.known {
				want.ID, want.Known = ID{3, 4}, true
			}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestForeignMail(t *testing.T) {
	good := string(content(t, NewComposer().Message(ID{1, 7}, 400)))
	line, _, _ := strings.Cut(good, crlf)
	for _, text := range []string{
		"", "\n", "hello", "Subject: x\r\n\r\nX-Smtpbench: none", strings.Repeat("x", 1<<20),
		line,
		strings.Replace(line, "seq=7", "seq=07", 1) + crlf,
		strings.Replace(line, "seq=7", "seq=+7", 1) + crlf,
		strings.Replace(line, "seq=7", "seq=", 1) + crlf,
		strings.Replace(line, "seq=7", "seq=18446744073709551616", 1) + crlf,
		strings.Replace(line, "size=400", "size=9223372036854775808", 1) + crlf,
		strings.Replace(line, "run=0", "run=g", 1) + crlf,
		strings.Replace(line, "X-S", "x-s", 1) + crlf,
		line + " " + crlf,
		line + "\n",
	} {
		if got, want := check([]byte(text)), (Arrival{Size: int64(len(text))}); got != want {
			t.Errorf("%.80q: %+v, want %+v", text, got, want)
		}
	}
	if got := check([]byte(line + crlf)); !got.Known || !got.Corrupt {
		t.Errorf("our line alone: %+v", got)
	}
}

func TestCheckerAllocatesNothing(t *testing.T) {
	text := content(t, NewComposer().Message(ID{1, 7}, 100_000))
	var k Checker
	if n := testing.AllocsPerRun(100, func() {
		k.Reset()
		_, _ = k.Write(text[:50])
		_, _ = k.Write(text[50:])
	}); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

// FuzzChecker: whatever comes, in whatever pieces, there is no panic, the
// pieces make no difference, and what is called intact was composed by us.
func FuzzChecker(f *testing.F) {
	composer := NewComposer()
	f.Add(content(f, composer.Message(ID{1, 2}, 400)), 100)
	f.Add(append([]byte("Received: x\r\n"), content(f, composer.Message(ID{math.MaxUint64, math.MaxUint64}, 0))...), 3)
	f.Add([]byte("X-Smtpbench: run="), 1)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		whole := check(text)
		cut = max(0, min(cut, len(text)))
		if pieces := check(text[:cut], text[cut:]); pieces != whole {
			t.Fatalf("cut at %d: %+v, whole: %+v", cut, pieces, whole)
		}
		if whole.Size != int64(len(text)) {
			t.Fatalf("size %d of %d", whole.Size, len(text))
		}
		if !whole.Known && (whole.Corrupt || whole.ID != ID{}) {
			t.Fatalf("%+v of a foreign message", whole)
		}
		if whole.Known && !bytes.Contains(text, []byte(whole.ID.String()+" size=")) {
			t.Fatalf("%v is not in the text", whole.ID)
		}
	})
}

func BenchmarkChecker(b *testing.B) {
	composer := NewComposer()
	for _, size := range []int{4 << 10, 20 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			text := content(b, composer.Message(ID{1, 2}, size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var k Checker
			for b.Loop() {
				k.Reset()
				for rest := text; len(rest) > 0; {
					n := min(len(rest), chunkSize)
					_, _ = k.Write(rest[:n])
					rest = rest[n:]
				}
				if k.Arrival().Corrupt {
					b.Fatal("corrupt")
				}
			}
		})
	}
}
