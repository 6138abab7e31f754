package e2e

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// find returns where a program of Debian's is; e2e/install-deps.sh installs them.
func find(t *testing.T, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	lacking(t, "%s is missing: run e2e/install-deps.sh", name)
	return ""
}

// output is what a program has written so far. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data.String()
}

func (o *output) tail() string {
	text := o.text()
	return text[max(0, len(text)-3000):]
}

// counter is a writer that keeps the last number after a word in what Postfix's
// programs show with -c, which they end with a carriage return.
type counter struct {
	number *regexp.Regexp // its first group

	mu   sync.Mutex
	rest []byte
	last int
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, p...)
	end := bytes.LastIndexByte(c.rest, '\r')
	if end < 0 {
		return len(p), nil
	}
	if found := c.number.FindAllSubmatch(c.rest[:end+1], -1); found != nil {
		c.last, _ = strconv.Atoi(string(found[len(found)-1][1])) // digits, as the expression has it
	}
	c.rest = append(c.rest[:0], c.rest[end+1:]...)
	return len(p), nil
}

func (c *counter) value() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// sink is Postfix's smtp-sink: it takes every message and throws it away.
type sink struct {
	cmd    *exec.Cmd
	counts *counter
	ended  sync.Once
}

// startSink returns once the sink accepts connections.
func startSink(t *testing.T, address netip.AddrPort) *sink {
	t.Helper()
	args := []string{"-c", "-m", "1000"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "nobody") // it insists
	}
	s := &sink{counts: &counter{number: regexp.MustCompile(`mesg=(\d+)\r`)}}
	s.cmd = exec.Command(find(t, "smtp-sink"), append(args, address.String(), "1024")...)
	s.cmd.Stdout, s.cmd.Stderr = s.counts, os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	smtptest.Eventually(t, patience, func() bool {
		conn, err := net.DialTimeout("tcp", address.String(), time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "smtp-sink listens on %s", address)
	return s
}

// kill is SIGKILL. When it returns, messages is final.
func (s *sink) kill() {
	s.ended.Do(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
}

// messages is how many the sink has counted.
func (s *sink) messages() int { return s.counts.value() }

// source is Postfix's smtp-source: it sends messages, each in a session of its
// own, and gives up with a status other than 0 at the first that is not
// accepted or whose connection breaks.
type source struct {
	cmd    *exec.Cmd
	counts *counter
	errors bytes.Buffer
	done   chan error
}

func startSource(t *testing.T, address string, sessions, messages int) *source {
	t.Helper()
	s := &source{counts: &counter{number: regexp.MustCompile(`(\d+)\r`)}, done: make(chan error, 1)}
	s.cmd = exec.Command(find(t, "smtp-source"), "-c", "-s", strconv.Itoa(sessions), "-m", strconv.Itoa(messages), "-l", "2048", address)
	s.cmd.Stdout, s.cmd.Stderr = s.counts, &s.errors
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // fails when it is over, as it should be
	return s
}

// accepted is how many messages were accepted so far.
func (s *source) accepted() int { return s.counts.value() }

// wait returns when all messages are accepted, and fails the test if not.
func (s *source) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-s.done:
		if err != nil {
			t.Fatalf("smtp-source, after %d messages: %v: %s", s.accepted(), err, s.errors.String())
		}
	case <-time.After(3 * time.Minute):
		t.Fatalf("smtp-source is not done, after %d messages", s.accepted())
	}
}
