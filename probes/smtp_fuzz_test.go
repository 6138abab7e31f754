package probes

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

// answers plays a relay that says the next of its texts, whatever it was asked,
// and notes what it was asked. After STARTTLS it says all the rest, since what it
// is asked then has no lines. After its last text it is silent, or gone.
func answers(texts [][]byte, silent bool, asked *[]string) script {
	return func(p *peer) error {
		for i, text := range texts {
			if _, err := p.Write(text); err != nil {
				break // the check is over
			}
			line, err := p.in.ReadString('\n')
			if err != nil {
				break
			}
			*asked = append(*asked, line)
			if line == "STARTTLS\r\n" {
				go func() { _, _ = p.Write(bytes.Join(texts[i+1:], nil)) }() // what is said before it reads
				break
			}
		}
		if silent {
			_, _ = io.Copy(io.Discard, p.in)
		}
		return nil
	}
}

// Whatever a relay answers, in SMTP, before TLS and instead of it: a check ends
// in its time, asks what it may ask, calls a relay good only after 220 and
// 250, and says of it nothing that a terminal or a log would take amiss.
func FuzzSMTP(f *testing.F) {
	for _, server := range transcripts {
		f.Add([]byte(server.greeting+"\x00"+server.ehlo+"\x00"+server.quit), byte(0))
	}
	f.Add([]byte("220 a\r\n\x00250-a\r\n250 STARTTLS\r\n\x00220 go\r\n\x00\x15\x03\x01\x00\x02\x02\x46"), byte(1))
	f.Add([]byte("220 a\r\n\x00500 x\r\n\x00250 a\r\n\x00250 ok\r\n\x00451 later\r\n\x00250 ok\r\n\x00221 bye\r\n"), byte(2))
	f.Add([]byte("220 a\r\n\x00250 a\r\n\x00250 ok\r\n\x00250 ok\r\n\x00250 ok\r\n"), byte(2|4))
	f.Add([]byte("\x16\x03\x03\x00\x04\x0e\x00\x00\x00"), byte(8))
	may := regexp.MustCompile(`^(EHLO lb\.example|HELO lb\.example|STARTTLS|MAIL FROM:<a@example\.org>|RCPT TO:<b@example\.org>|RSET|QUIT)\r\n$`)
	f.Fuzz(func(t *testing.T, said []byte, how byte) {
		target := Target{Address: "relay:25", HELO: "lb.example", STARTTLS: how&1 != 0}
		if how&2 != 0 {
			target.MailFrom, target.RcptTo = "a@example.org", "b@example.org"
		}
		talk, greets := talkSMTP, true
		if how&8 != 0 {
			talk, greets = talkSMTPS, false
		}
		synctest.Test(t, func(t *testing.T) {
			var asked []string
			connect, ended := piped(answers(bytes.Split(said, []byte{0}), how&4 != 0, &asked))
			began := time.Now()
			r := check(t.Context(), target, connect, talk)
			if took := time.Since(began); took > DefaultTimeout+6*time.Second {
				t.Errorf("took %v, with a timeout of %v and a leave-taking of 6s", took, DefaultTimeout)
			}
			mustEnd(t, ended)
			for _, line := range asked {
				if greets && !may.MatchString(line) {
					t.Errorf("said %q", line)
				}
			}
			text := bytes.ReplaceAll(said, []byte{0}, nil)
			if r.OK && (!bytes.Contains(text, []byte("220")) || !bytes.Contains(text, []byte("250"))) {
				t.Errorf("good after %q", said)
			}
			if r.OK != (r.Err == nil) || r.Inconclusive {
				t.Errorf("got %+v", r)
			}
			texts := []string{r.Reason(), r.Note, strings.ReplaceAll(r.Greeting, "\n", "")}
			for _, line := range r.Dialogue {
				texts = append(texts, line.Text)
			}
			for _, text := range texts {
				if i := strings.IndexFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }); i >= 0 {
					t.Errorf("%q is not for a terminal", text)
				}
			}
		})
	})
}
