package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// patience is how long a test waits for what must come, on a busy machine too.
const patience = 30 * time.Second

// process is a running smtplb.
type process struct {
	address string // of the first listener
	admin   string // of the HTTP server
	file    string // its configuration
	cmd     *exec.Cmd
	exited  chan struct{} // closed once status is set
	status  int

	mu    sync.Mutex // guards lines
	lines []string   // of standard error
}

// start runs a site under the race detector, until the test ends, and returns
// when it listens. Whatever the test does, it must end with status 0 then.
func start(t *testing.T, s site) *process {
	t.Helper()
	return startProgram(t, s, raced)
}

// startReleased is start with the program as it is released, for tests that
// measure it.
func startReleased(t *testing.T, s site) *process {
	t.Helper()
	return startProgram(t, s, released)
}

// startProgram is start with a command that takes the arguments of smtplb.
func startProgram(t *testing.T, s site, command ...string) *process {
	t.Helper()
	if s.address == "" {
		s.address = freeAddress(t, "127.0.0.1").String()
	}
	if s.admin == "" {
		s.admin = freeAddress(t, "127.0.0.1").String()
	}
	file := writeFile(t, "smtplb.yaml", s.text())
	p := launch(t, nil, nil, append(command, "run", "--config", file)...)
	p.address, p.admin, p.file = s.address, s.admin, file
	p.waitLine(t, "started", nil)
	return p
}

// launch starts a command and collects its standard error.
func launch(t *testing.T, stdin io.Reader, stdout io.Writer, command ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout = stdin, stdout
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // else a second more for every test
	// A test that is killed takes the program along.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.collect(stderr)
		_ = p.cmd.Wait() // the status tells
		p.status = p.cmd.ProcessState.ExitCode()
		close(p.exited)
	}()
	t.Cleanup(func() { p.finish(t) })
	return p
}

func (p *process) collect(stderr io.Reader) {
	in := bufio.NewReader(stderr)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			p.lines = append(p.lines, strings.TrimSuffix(line, "\n"))
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// finish ends the process, if the test has not, and looks at what it leaves.
func (p *process) finish(t *testing.T) {
	t.Helper()
	end := time.Now().Add(patience)
	for p.running() && time.Now().Before(end) {
		p.signal(syscall.SIGTERM) // the first drains, the next stop at once
		select {
		case <-p.exited:
		case <-time.After(100 * time.Millisecond):
		}
	}
	if p.running() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		t.Errorf("still running %v after SIGTERM", patience)
	}
	if p.status != 0 {
		t.Errorf("exit status %d, want 0", p.status)
	}
	text := p.stderr()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "goroutine "} {
		if strings.Contains(text, bad) {
			t.Errorf("%q on standard error", bad)
		}
	}
	if t.Failed() {
		t.Logf("standard error, its end:\n%s", text[max(0, len(text)-2000):])
	}
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // fails only when it has exited

// waitExit returns the exit status.
func (p *process) waitExit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.status
	case <-time.After(patience):
		t.Fatalf("still running after %v", patience)
		return -1
	}
}

func (p *process) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// logLine is one line of the log, as any reader of JSON sees it.
type logLine map[string]any

// time is when the line was written.
func (l logLine) time(t *testing.T) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, l.text("time"))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (l logLine) text(key string) string {
	s, _ := l[key].(string)
	return s
}

// logged returns the lines with that msg so far. Anything on standard error
// that is not one JSON object a line is a failure.
func (p *process) logged(t *testing.T, msg string) []logLine {
	t.Helper()
	var found []logLine
	for _, raw := range p.rawLines(t, msg) {
		var line logLine
		if err := json.Unmarshal(raw, &line); err != nil {
			t.Fatalf("log line %s: %v", raw, err)
		}
		found = append(found, line)
	}
	return found
}

func (p *process) rawLines(t *testing.T, msg string) [][]byte {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var found [][]byte
	for _, line := range p.lines {
		raw := []byte(line)
		var head struct{ Msg string }
		if bytes.Contains(raw, []byte(`"`+msg+`"`)) || !bytes.HasPrefix(raw, []byte("{")) {
			if err := json.Unmarshal(raw, &head); err != nil {
				t.Fatalf("not a log line: %q: %v", line, err)
			}
			if head.Msg == msg {
				found = append(found, raw)
			}
		}
	}
	return found
}

// waitLine waits for a line with that msg which match, if any, accepts.
func (p *process) waitLine(t *testing.T, msg string, match func(logLine) bool) logLine {
	t.Helper()
	var found logLine
	smtptest.Eventually(t, patience, func() bool {
		for _, line := range p.logged(t, msg) {
			if match == nil || match(line) {
				found = line
				return true
			}
		}
		if !p.running() {
			t.Fatalf("no %q line, and it exited with status %d:\n%s", msg, p.status, p.stderr())
		}
		return false
	}, "a line %q", msg)
	return found
}

// waitState waits for the line that a relay is up or down, n-th of its kind.
func (p *process) waitState(t *testing.T, name, to string, n int) logLine {
	t.Helper()
	seen := func() (lines []logLine) {
		for _, line := range p.logged(t, "backend") {
			if line.text("backend") == name && line.text("to") == to {
				lines = append(lines, line)
			}
		}
		return lines
	}
	smtptest.Eventually(t, patience, func() bool { return len(seen()) >= n }, "%s %s, time %d", name, to, n)
	return seen()[n-1]
}

// session is a session's line in the log.
type session struct {
	ID, Listener, Client, Pool, Backend string
	Tier                                int
	Site                                string
	Warm                                bool
	Attempts                            []struct {
		Backend, Outcome string
		MS               float64
		Reply            string
	}
	GreetingCode int     `json:"greeting_code"`
	GreetingMS   float64 `json:"greeting_ms"`
	SetupMS      float64 `json:"setup_ms"`
	BytesUp      int64   `json:"bytes_up"`
	BytesDown    int64   `json:"bytes_down"`
	DurationMS   float64 `json:"duration_ms"`
	End, Reason  string
}

// asked lists the relays that a session went through, as "relay-a:refused".
func (s session) asked() string {
	words := make([]string, len(s.Attempts))
	for i, a := range s.Attempts {
		words[i] = a.Backend + ":" + a.Outcome
	}
	return strings.Join(words, " ")
}

// sessions waits until n sessions have ended, and returns all that have, in
// the order of their ends.
func (p *process) sessions(t *testing.T, n int) []session {
	t.Helper()
	var raw [][]byte
	smtptest.Eventually(t, patience, func() bool {
		raw = p.rawLines(t, "session")
		return len(raw) >= n
	}, "%d ended sessions", n)
	all := make([]session, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &all[i]); err != nil {
			t.Fatalf("session line %s: %v", raw[i], err)
		}
	}
	return all
}

// only returns the one session that there was.
func (p *process) only(t *testing.T) session {
	t.Helper()
	all := p.sessions(t, 1)
	if len(all) != 1 {
		t.Fatalf("%d sessions, want 1: %+v", len(all), all)
	}
	return all[0]
}

// ends counts sessions by their end, for messages.
func ends(all []session) string {
	counts := map[string]int{}
	for _, s := range all {
		counts[s.End]++
	}
	return fmt.Sprint(counts)
}
