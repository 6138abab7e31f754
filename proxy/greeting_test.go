package proxy

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"smtplb/balancer"
)

const (
	ok       = balancer.OK
	notSMTP  = balancer.NotSMTP
	refuse4  = balancer.Greeting4xx
	refuse5  = balancer.Greeting5xx
	postfix  = "220 mx1.example.org ESMTP Postfix (Debian/GNU)\r\n"
	exim     = "220 mail.example.org ESMTP Exim 4.96 Mon, 06 Jan 2025 10:00:00 +0000\r\n"
	exchange = "220 mail.contoso.com Microsoft ESMTP MAIL Service ready at Mon, 6 Jan 2025 10:00:00 +0000\r\n"
	sendmail = "220 host.example.org ESMTP Sendmail 8.17.1/8.17.1; Mon, 6 Jan 2025 10:00:00 GMT\r\n"
)

type greetingCase struct {
	name    string
	text    string
	verdict verdict
	code    int
	outcome balancer.Outcome
}

func greetingCases() []greetingCase {
	return []greetingCase{
		{"nothing yet", "", incomplete, 0, ok},
		{"one digit", "2", incomplete, 0, ok},
		{"a code without its line end", "220", incomplete, 0, ok},
		{"a line without its end", "220 relay", incomplete, 0, ok},
		{"a CR that may become CRLF", "220 relay\r", incomplete, 0, ok},
		{"a first line of several", "220-relay\r\n", incomplete, 0, ok},
		{"a teaser and part of a code", "220-relay\r\n22", incomplete, 0, ok},

		{"one line", "220 relay.test ESMTP\r\n", good, 220, ok},
		{"a bare LF", "220 relay.test ESMTP\n", good, 220, ok},
		{"a code alone", "220\r\n", good, 220, ok},
		{"a code and LF alone", "220\n", good, 220, ok},
		{"a code and a space", "220 \r\n", good, 220, ok},
		{"many lines", "220-a\r\n220-b\r\n220-\r\n220 c\r\n", good, 220, ok},
		{"many lines, the last a code alone", "220-a\r\n220\r\n", good, 220, ok},
		{"many lines, bare LF", "220-a\n220 b\n", good, 220, ok},
		{"bytes behind the greeting", "220 relay\r\n250 early\r\n", good, 220, ok},
		{"bytes that are no mail", "220 relay \xff\x00\r\n", good, 220, ok},
		{"Postfix", postfix, good, 220, ok},
		{"Exim", exim, good, 220, ok},
		{"Exchange", exchange, good, 220, ok},
		{"Sendmail", sendmail, good, 220, ok},
		{"postscreen's teaser, then welcome", "220-mx1.example.org ESMTP\r\n" + postfix, good, 220, ok},

		{"postscreen's teaser, then 450", "220-mx1.example.org ESMTP\r\n450 4.3.2 Service currently unavailable\r\n", bad, 450, refuse4},
		{"a teaser, then 550", "220-mx ESMTP\r\n550 5.7.1 blocked\r\n", bad, 550, refuse5},
		{"421", "421 4.3.2 shutting down\r\n", bad, 421, refuse4},
		{"421 on many lines", "421-4.3.2 shutting\r\n421 4.3.2 down\r\n", bad, 421, refuse4},
		{"554", "554 5.7.1 no service\r\n", bad, 554, refuse5},
		{"554, bare", "554\r\n", bad, 554, refuse5},
		{"221", "221 bye\r\n", bad, 221, notSMTP},
		{"229", "229 ftp?\r\n", bad, 229, notSMTP},
		{"250", "250 ok\r\n", bad, 250, notSMTP},
		{"a code out of range", "199 x\r\n", bad, 0, notSMTP},
		{"a code out of range above", "999 x", bad, 0, notSMTP},
		{"no separator", "220x relay\r\n", bad, 0, notSMTP},
		{"four digits", "2200", bad, 0, notSMTP},
		{"a tab for a separator", "220\trelay\r\n", bad, 0, notSMTP},
		{"two digits", "22\r\n", bad, 0, notSMTP},
		{"letters", "hello\r\n", bad, 0, notSMTP},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", bad, 0, notSMTP},
		{"a TLS alert", "\x15\x03\x01\x00\x02\x02\x46", bad, 0, notSMTP},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n", bad, 0, notSMTP},
		{"IMAP", "* OK IMAP4rev1\r\n", bad, 0, notSMTP},
		{"POP3", "+OK ready\r\n", bad, 0, notSMTP},
		{"an empty line", "\r\n", bad, 0, notSMTP},
		{"an empty line after a teaser", "220-a\r\n\r\n", bad, 0, notSMTP},
		{"a line end too many", "220\r\r\n", bad, 0, notSMTP},
		{"a CR for a separator", "220\rrelay\r\n", bad, 0, notSMTP},

		{"4 KB to the last byte", "220 " + strings.Repeat("x", maxGreeting-6) + "\r\n", good, 220, ok},
		{"4 KB without an end", "220 " + strings.Repeat("x", maxGreeting-4), bad, 0, notSMTP},
		{"4 KB of lines without a last one", strings.Repeat("220-567890\r\n", maxGreeting)[:maxGreeting], bad, 0, notSMTP},
		{"one byte short of 4 KB", "220 " + strings.Repeat("x", maxGreeting-5), incomplete, 0, ok},
	}
}

func TestGreetingIsJudgedAsRFC5321HasIt(t *testing.T) {
	for _, test := range greetingCases() {
		t.Run(test.name, func(t *testing.T) {
			j := parseGreeting([]byte(test.text), 0)
			if j.verdict != test.verdict || j.code != test.code || j.outcome != test.outcome {
				t.Errorf("%.60q: verdict %d, code %d, %v, want %d, %d, %v",
					test.text, j.verdict, j.code, j.outcome, test.verdict, test.code, test.outcome)
			}
		})
	}
}

// A relay may send its greeting in pieces of any size. What was decided early
// must be what the whole would have said.
func TestGreetingByteByByteIsJudgedTheSame(t *testing.T) {
	for _, test := range greetingCases() {
		samePrefixes(t, []byte(test.text))
	}
	line := rapid.StringMatching(`(220|22|421|55[0-9]|[0-9]{0,4})([ \-\r]| relay|-x|)(\r\n|\n|\r|)`)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(line, 0, 6).Draw(t, "lines"), "")
		samePrefixes(t, []byte(text))
	})
}

func samePrefixes(t rapid.TB, text []byte) {
	whole := parseGreeting(text, 0)
	seen := 0
	for n := range text {
		j := parseGreeting(text[:n], 0)
		if again := parseGreeting(text[:n], seen); !reflect.DeepEqual(again, j) {
			t.Fatalf("%.80q: judged %+v from byte %d on, %+v from the start", text[:n], again, seen, j)
		}
		seen = j.seen
		if j.verdict == incomplete {
			continue
		}
		if j.verdict != whole.verdict || j.outcome != whole.outcome || j.code != whole.code {
			t.Fatalf("%.80q is judged %+v, its first %d bytes %+v", text, whole, n, j)
		}
	}
}

// FuzzGreeting compares the parser with a regular expression for each verdict.
func FuzzGreeting(f *testing.F) {
	for _, test := range greetingCases() {
		f.Add([]byte(test.text))
	}
	oracle := newGreetingOracle()
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxGreeting {
			text = text[:maxGreeting]
		}
		j := parseGreeting(text, 0)
		if want := oracle.judge(text); j.verdict != want {
			t.Fatalf("%q: verdict %d, want %d", text, j.verdict, want)
		}
		if (j.outcome == balancer.OK) != (j.verdict != bad) {
			t.Fatalf("%q: verdict %d with outcome %v", text, j.verdict, j.outcome)
		}
		if j.verdict == good && j.code != 220 {
			t.Fatalf("%q: good with code %d", text, j.code)
		}
		if bytes.ContainsAny(j.line, "\n") {
			t.Fatalf("%q: line %q is more than a line", text, j.line)
		}
		samePrefixes(t, text)
	})
}

type greetingOracle struct{ teaser, whole, part *regexp.Regexp }

func newGreetingOracle() greetingOracle {
	return greetingOracle{
		teaser: regexp.MustCompile(`^(220-[^\n]*\n)*`),
		whole:  regexp.MustCompile(`^220( [^\n]*)?\r?\n`),
		part:   regexp.MustCompile(`^([0-9]{0,3}|[2-5][0-9][0-9][ \r-][^\n]*)$`),
	}
}

func (o greetingOracle) judge(text []byte) verdict {
	latin := []rune{} // regular expressions read UTF-8: each byte a rune of its own
	for _, b := range text {
		latin = append(latin, rune(b))
	}
	s := string(latin)
	rest := s[len(o.teaser.FindString(s)):]
	switch {
	case o.whole.MatchString(rest):
		return good
	case o.part.MatchString(rest) && len(text) < maxGreeting:
		return incomplete
	default:
		return bad
	}
}
