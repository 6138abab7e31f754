package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// The tests of the files case_*_test.go are the cases of docs/cases.md.

// talker is a relay that keeps what each of its visitors said, and when. Its
// talk is for smtptest.Script.Raw.
type talker struct {
	greeting []string          // in pieces, each a segment of its own
	pause    time.Duration     // between the pieces
	replies  map[string]string // by the command's verb; "250 ok" for the others

	mu     sync.Mutex // guards visits
	visits []talk
}

// talk is what one visitor said.
type talk struct {
	early string   // before the greeting was over
	lines []string // after it
	end   string   // "closed", or how else it ended
}

func (r *talker) talk(conn net.Conn) {
	var v talk
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.visits = append(r.visits, v)
	}()
	in := bufio.NewReader(conn)
	for n, piece := range r.greeting {
		if n > 0 {
			_ = conn.SetReadDeadline(time.Now().Add(r.pause))
			early := make([]byte, 1)
			for _, err := in.Read(early); err == nil; _, err = in.Read(early) {
				v.early += string(early)
			}
		}
		if _, err := io.WriteString(conn, piece); err != nil {
			return
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			v.end = "closed"
			return
		}
		if err != nil {
			v.end = fmt.Sprintf("after %q: %v", line, err)
			return
		}
		v.lines = append(v.lines, strings.TrimSuffix(line, "\r\n"))
		verb, _, _ := strings.Cut(v.lines[len(v.lines)-1], " ")
		reply, special := r.replies[verb]
		switch {
		case special:
		case verb == "QUIT":
			reply = "221 bye\r\n"
		default:
			reply = "250 ok\r\n"
		}
		_, _ = io.WriteString(conn, reply) // a visitor that is gone is read of next
		if verb == "QUIT" {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}
}

// checks returns the finished visits that were checks: those that named name.
func (r *talker) checks(name string) (found []talk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.visits {
		if len(v.lines) > 0 && v.lines[0] == "EHLO "+name {
			found = append(found, v)
		}
	}
	return found
}

// Case 1. The relays that a check may meet: an old one, a modern one, one that
// is none, one that is busy and one that greets and then will not talk.
func TestCaseCheckTellsRelaysApart(t *testing.T) {
	t.Parallel()
	greets := []string{"220 relay.test\r\n"}
	for _, test := range []struct {
		name    string
		relay   *talker
		state   string
		because string // a part of the reason
	}{
		{"knows only HELO", &talker{greeting: greets, replies: map[string]string{"EHLO": "500 5.5.1 what?\r\n"}}, "up", ""},
		{"EHLO on several lines", &talker{greeting: greets, replies: map[string]string{"EHLO": "250-relay.test\r\n250-PIPELINING\r\n250 HELP\r\n"}}, "up", ""},
		{"not SMTP", &talker{greeting: []string{"I sell fish\r\n"}}, "down", "greeting: not_smtp"},
		{"busy", &talker{greeting: []string{"421 4.3.2 later\r\n"}}, "busy", "greeting: 421 4.3.2 later"},
		{"refuses EHLO and HELO", &talker{greeting: greets, replies: map[string]string{"EHLO": "512 no DNS\r\n", "HELO": "512 no DNS\r\n"}}, "down", "ehlo: 512 no DNS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			relay := smtptest.Start(t, smtptest.Script{Raw: test.relay.talk})
			other := smtptest.Start(t, smtptest.Script{})
			p := start(t, site{pool: strings.Replace(quick, "rise:", "helo: check.test, rise:", 1),
				backends: []string{backend("relay", relay.Addr()), backend("other", other.Addr())}})
			if test.state == "up" {
				smtptest.Eventually(t, patience, func() bool { return len(test.relay.checks("check.test")) >= 4 }, "four checks")
				if lines := p.logged(t, "backend"); len(lines) > 0 {
					t.Errorf("changes of state: %v, want none", lines)
				}
			} else if line := p.waitState(t, "relay", test.state, 1); !strings.Contains(line.text("reason"), test.because) {
				t.Errorf("it is %s: %s; want %q in it", test.state, line.text("reason"), test.because)
			}
			for n := range 4 {
				if err := visit(p.address); err != nil {
					t.Fatal(err)
				}
				p.sessions(t, n+1) // one at a time
			}
			want := map[string]int{"up": 2}[test.state]
			if got := shares(p.sessions(t, 4)); got["relay"] != want {
				t.Errorf("sessions %v, want %d on the relay that is %s", got, want, test.state)
			}
		})
	}
}

// Cases 2, 4 and 5. However a greeting comes in pieces, it is one: the relay is
// healthy, the client reads every byte of it, and nobody says a word before
// its end, neither a check nor a client that cannot wait. A check ends with
// QUIT, waits for 221 and closes in good order.
func TestCaseGreetingInPieces(t *testing.T) {
	t.Parallel()
	const teaser = "220-relay.test wait for it\r\n220 relay.test ready\r\n"
	for _, test := range []struct {
		name   string
		pieces []string
		pause  time.Duration
		checks int
	}{
		{"single bytes", strings.Split(teaser, ""), 10 * time.Millisecond, 3},
		{"cut within the line ends", []string{"220-relay.test wait for it\r", "\n2", "20 relay.test ready\r", "\n"}, 200 * time.Millisecond, 3},
		{"as postscreen does", strings.SplitAfter(teaser, "\r\n")[:2], 6 * time.Second, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			heard := &talker{greeting: test.pieces, pause: test.pause}
			relay := smtptest.Start(t, smtptest.Script{Raw: heard.talk})
			p := start(t, site{pool: "probe: {interval: 200ms, fast_interval: 100ms, helo: check.test}", backends: []string{backend("relay", relay.Addr())}})
			client := smtptest.Dial(t, p.address)
			say("EHLO early.test\r\n")(t, client)
			if got, err := client.Greeting(); err != nil || got != teaser {
				t.Errorf("the client read %q, %v; want the greeting verbatim", got, err)
			}
			if code, _, err := client.ReadReply(); err != nil || code != 250 {
				t.Errorf("the reply to what it said early: %d, %v", code, err)
			}
			if err := client.Quit(); err != nil {
				t.Error(err)
			}
			smtptest.Eventually(t, patience, func() bool {
				return len(heard.checks("check.test")) >= test.checks && len(heard.checks("early.test")) == 1
			}, "%d checks, and the session", test.checks)
			polite := []string{"EHLO check.test", "QUIT"}
			for _, v := range heard.checks("check.test") {
				if v.early != "" || !slices.Equal(v.lines, polite) || v.end != "closed" {
					t.Errorf("a check said %q before the greeting was over, then %q, and %s; want %q, and closed", v.early, v.lines, v.end, polite)
				}
			}
			if v := heard.checks("early.test")[0]; v.early != "" {
				t.Errorf("the relay heard %q before its greeting was over", v.early)
			}
			if lines := p.logged(t, "backend"); len(lines) > 0 {
				t.Errorf("changes of state: %v, want none", lines)
			}
		})
	}
}
