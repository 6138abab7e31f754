package source

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReplies(t *testing.T) {
	for wire, want := range map[string]struct {
		code int
		text string
		err  error
	}{
		"220 x\r\n":                                 {220, "220 x\r\n", nil},
		"220\r\nrest":                               {220, "220\r\n", nil},
		"220 bare\n":                                {220, "220 bare\n", nil},
		"250-a\r\n250-b\r\n250 c\r\n250 d":          {250, "250-a\r\n250-b\r\n250 c\r\n", nil},
		"220-teaser\r\n450 4.3.2 no\r\n":            {450, "220-teaser\r\n450 4.3.2 no\r\n", nil},
		"220 " + strings.Repeat("x", 5000) + "\r\n": {220, "220 " + strings.Repeat("x", 5000) + "\r\n", nil},
		"":                         {0, "", io.EOF},
		"22":                       {0, "", io.ErrUnexpectedEOF},
		"220 rel":                  {0, "", io.ErrUnexpectedEOF},
		"220-a\r\n":                {0, "", io.ErrUnexpectedEOF},
		"SSH-2.0-x\r\n":            {0, "", errNotSMTP},
		"22\r\n":                   {0, "", errNotSMTP},
		"2200 x\r\n":               {0, "", errNotSMTP},
		"120 x\r\n":                {0, "", errNotSMTP},
		"220-a\r\nhello\r\n":       {0, "", errNotSMTP},
		"\r\n":                     {0, "", errNotSMTP},
		"220 " + longer(maxReply):  {0, "", errNotSMTP},
		longLines(2*maxReply, "-"): {0, "", errNotSMTP},
	} {
		for name, from := range map[string]io.Reader{"in one": strings.NewReader(wire), "byte by byte": iotest.OneByteReader(strings.NewReader(wire))} {
			var in input
			code, text, err := in.reply(from)
			if code != want.code || string(text) != want.text || !errors.Is(err, want.err) {
				t.Errorf("%.30q %s: %d %.30q %v, want %d %.30q %v", wire, name, code, text, err, want.code, want.text, want.err)
			}
		}
	}
}

func longer(n int) string { return strings.Repeat("x", n) }

func longLines(n int, mark string) string {
	return strings.Repeat("250"+mark+strings.Repeat("x", 500)+"\r\n", n/500)
}

func TestPipelinedRepliesAreReadOneByOne(t *testing.T) {
	wire := "250 2.1.0 ok\r\n" + longLines(1000, "-") + "250 last\r\n354 go\r\n"
	var in input
	from := iotest.HalfReader(strings.NewReader(wire))
	for _, want := range []string{"250 2.1.0 ok\r\n", longLines(1000, "-") + "250 last\r\n", "354 go\r\n"} {
		if _, text, err := in.reply(from); err != nil || string(text) != want {
			t.Fatalf("%q %v, want %q", text, err, want)
		}
	}
	if _, _, err := in.reply(from); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want EOF", err)
	}
}

// FuzzReplies holds the reader against one that has all bytes at once and goes
// by lines.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{"220 x\r\n", "220-a\r\n220 b\r\n250 c\r\n", "421\n", "2", "220-\n\n", "999 x\r\n", "250-a\r\n550 b\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		want, good := simply(wire)
		var in input
		from := iotest.OneByteReader(strings.NewReader(wire))
		var got []string
		var err error
		for {
			var text []byte
			if _, text, err = in.reply(from); err != nil {
				break
			}
			got = append(got, string(text))
		}
		if len(wire) < maxReply && (!slices.Equal(got, want) || errors.Is(err, errNotSMTP) == good) {
			t.Errorf("%q: %q %v, want %q, all SMTP: %t", wire, got, err, want, good)
		}
	})
}

func simply(wire string) (replies []string, good bool) {
	var reply string
	for line := range strings.Lines(wire) {
		for i, c := range line[:min(len(line), 4)] {
			if ok := i == 0 && c >= '2' && c <= '5' || (i == 1 || i == 2) && c >= '0' && c <= '9' || i == 3 && strings.ContainsRune(" -\r\n", c); !ok {
				return replies, false
			}
		}
		if !strings.HasSuffix(line, "\n") {
			break
		}
		if reply += line; line[3] != '-' {
			replies, reply = append(replies, reply), ""
		}
	}
	return replies, true
}

func TestOffers(t *testing.T) {
	for reply, want := range map[string]offers{
		"250 relay\r\n":                                              {},
		"250-PIPELINING\r\n250 STARTTLS\r\n":                         {starttls: true},
		"250-relay\r\n250-SIZE 1000\r\n250-pipelining\r\n250\r\n":    {size: true, pipelining: true},
		"250-relay\n250-CHUNKING\n250-SIZE\n250 X-CHUNKING\n":        {chunking: true, size: true},
		"250-relay\r\n250-\r\n250-AUTH STARTTLS\r\n250 XSTARTTLS\n":  {},
		"250-relay\r\n250-PIPELINING \r\n250-CHUNKING\r\n250-x\r\n2": {pipelining: true, chunking: true},
	} {
		if got := parseOffers([]byte(reply)); got != want {
			t.Errorf("%q: %+v, want %+v", reply, got, want)
		}
	}
}
