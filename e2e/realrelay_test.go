package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// hour is how many checks of a relay an hour has, at the default interval.
const hour = int(time.Hour / (5 * time.Second))

// realRelay is a relay that somebody else wrote, run by a test alone, and what
// its log means.
type realRelay struct {
	address netip.AddrPort
	log     func(t *testing.T) []string        // the lines since it serves
	arrived func(t *testing.T, id string) bool // a message with id in its header is in its inbox

	ended *regexp.Regexp // a line that each session ends with, whatever happens in it
	clean *regexp.Regexp // such a line of a check that went from greeting to QUIT
	from  string         // what the log has of a session of mailer's, with %s for the address; "": it wants no PROXY header
	bad   *regexp.Regexp // a line that an administrator would look at
}

// mailer is where the test's mail comes from.
const mailer = "127.0.0.9"

// checking is how a pool checks a real relay here, to be closed with a brace: as
// often as can be, with the default patience. It never hedges: the relay that is
// asked second would be the same one, and be hung up on.
const checking = "timeouts: {hedge: 0s}\nprobe: {interval: 100ms, fast_interval: 100ms, timeout: 15s"

// mustBearChecks has smtplb make at least an hour's checks of the relay, under
// names that share the work, with more keys of probe and of each backend, and
// send it a message. All must go well, in smtplb's log and in the relay's own.
func (r realRelay) mustBearChecks(t *testing.T, names int, probe string, more ...string) {
	t.Helper()
	began := time.Now()
	s := site{pool: checking + probe + "}"}
	for n := range names {
		// From an address of its own: postscreen lets those pass that it has seen
		// just now.
		source := fmt.Sprintf("source: 127.0.1.%d", n+1)
		s.backends = append(s.backends, backend(fmt.Sprintf("relay-%02d", n), r.address, append(more, source)...))
	}
	p := start(t, s)
	t.Cleanup(func() {
		if log := r.log(t); t.Failed() {
			t.Logf("the relay's log, its end:\n%s", strings.Join(log[max(0, len(log)-10):], "\n"))
		}
	})
	r.mustTakeMail(t, p)
	smtptest.Eventually(t, 5*patience, func() bool { return len(matching(r.log(t), r.ended)) > hour }, "%d checks in the relay's log", hour)

	log := r.log(t)
	clean := len(matching(log, r.clean))
	t.Logf("%d checks of %d names in %.0f s", clean, names, time.Since(began).Seconds())
	if lines := p.logged(t, "backend"); len(lines) > 0 {
		t.Errorf("%d changes of state, the first %v; want none", len(lines), lines[0])
	}
	if lines := matching(log, r.bad); len(lines) > 0 {
		t.Errorf("the relay complains in %d lines, the first: %s", len(lines), lines[0])
	}
	if others := len(matching(log, r.ended)) - clean; others != 1 {
		t.Errorf("%d sessions that are no clean check, want the message's one", others)
	}
	r.mustComplain(t)
}

// mustTakeMail sends a message through p, and finds it in the relay's inbox.
func (r realRelay) mustTakeMail(t *testing.T, p *process) {
	t.Helper()
	c, err := smtptest.DialFrom(netip.MustParseAddr(mailer), p.address, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const id = "real-relay"
	if err := c.Send(smtptest.Outgoing{ID: id, Size: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	if s := p.only(t); s.End != "backend_closed" || !strings.HasSuffix(s.asked(), ":ok") || len(s.Attempts) != 1 {
		t.Errorf("session line: end %s, asked %s; want backend_closed and one relay", s.End, s.asked())
	}
	smtptest.Eventually(t, patience, func() bool { return r.arrived(t, id) }, "the message is in the relay's inbox")
	if r.from == "" {
		return
	}
	if named := fmt.Sprintf(r.from, mailer); !strings.Contains(strings.Join(r.log(t), "\n"), named) {
		t.Errorf("the relay's log has no %q: it does not know the client", named)
	}
}

// mustComplain shows that the relay's log would have told: a client that hangs
// up after the greeting is in it.
func (r realRelay) mustComplain(t *testing.T) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", r.address.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if r.from != "" {
		_, err = fmt.Fprintf(conn, "PROXY TCP4 %s %s 4000 25\r\n", mailer, mailer)
	}
	if err == nil {
		_, err = conn.Read(make([]byte, 4)) // it has been accepted, and greeted
	}
	if err == nil {
		err = conn.(*net.TCPConn).CloseWrite()
	}
	if err != nil {
		t.Fatal(err)
	}
	smtptest.Eventually(t, patience, func() bool { return len(matching(r.log(t), r.bad)) > 0 }, "the relay complains about a client that hangs up")
}

// matching are the lines that what matches.
func matching(lines []string, what *regexp.Regexp) []string {
	var found []string
	for _, line := range lines {
		if what.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

// linesSince are a log file's whole lines from the one that begins, which
// program writes once it serves, on. There are none before that.
func linesSince(t *testing.T, file, begins string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for n, line := range lines[:len(lines)-1] {
		if strings.Contains(line, begins) {
			return lines[n : len(lines)-1]
		}
	}
	return nil
}

// inFiles tells whether one of the files that glob matches has text in it.
func inFiles(t *testing.T, glob, text string) bool {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		// One that has been moved by now is found at its new place next time.
		if content, err := os.ReadFile(file); err == nil && strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}
