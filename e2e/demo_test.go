package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"smtplb/internal/smtptest"
)

// screen is what a person sees.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// What the demo invites to: send with swaks and see it arrive, stop relays one
// after the other and see nothing fail but the very last.
func TestDemoDoesWhatItSays(t *testing.T) {
	for _, port := range []int{2525, 2526, 2527, 2528, 9925} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatalf("the demo's ports 2525 to 2528 and 9925 must be free: %v", err)
		}
		l.Close()
	}
	keyboard, typed := io.Pipe()
	t.Cleanup(func() { typed.Close() })
	seen := &screen{}
	p := launch(t, keyboard, seen, raced, "demo")
	smtptest.Eventually(t, patience, func() bool { return strings.Contains(p.stderr(), "started") }, "the demo has started")
	see := func(text string) {
		t.Helper()
		smtptest.Eventually(t, patience, func() bool { return strings.Contains(seen.String(), text) }, "%q on the screen", text)
	}
	enter := func(line, answer string) {
		t.Helper()
		if _, err := io.WriteString(typed, line+"\n"); err != nil {
			t.Fatal(err)
		}
		see(answer)
	}
	see("swaks --server 127.0.0.1:2525")
	if n := strings.Count(strings.TrimSpace(seen.String()), "\n") + 1; n > 6 {
		t.Errorf("%d lines of help, want five and no more than six:\n%s", n, seen.String())
	}

	swaks(t, "hello from swaks")
	see(`"hello from swaks"`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, find(t, "bash"), "-c", readmeShell(t)).CombinedOutput(); err != nil {
		t.Errorf("the README's lines for bash: %v\n%s", err, out)
	}
	see(`"hello from a shell"`)
	want(t, "status at the default address", command(t, "status"), 0, "relay-a", "relay-c")
	want(t, "reload without a file", command(t, "reload"), 1, "there is no configuration file to reload")
	enter("stop relay-a", "relay-a is stopped")
	for n := range 10 {
		subject := fmt.Sprintf("without relay-a, %d", n)
		swaks(t, subject)
		see(fmt.Sprintf("%q", subject))
	}
	enter("busy b", "relay-b is busy")
	swaks(t, "from the other site")
	see("relay-c (dr) received")
	enter("stop relay-c", "relay-c is stopped")
	out, err := exec.Command(find(t, "swaks"), swaksArgs("to nobody")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "421 4.3.2 ") {
		t.Errorf("with no relay left swaks says %v:\n%s\nwant 421 4.3.2", err, out)
	}
	enter("start relay-a", "relay-a serves again")
	enter("status", "why")
	enter("stop relay-x", "there is no relay")
	if _, err := io.WriteString(typed, "quit\n"); err != nil {
		t.Fatal(err)
	}
	typed.Close()
	if status := p.waitExit(t); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
}

// readmeShell is what the README has a person without swaks type.
func readmeShell(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```bash\n")
	lines, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the README has no lines for bash")
	}
	return lines
}

func swaksArgs(subject string) []string {
	return []string{"--server", "127.0.0.1:2525", "--from", "you@example.com", "--to", "me@example.net", "--header", "Subject: " + subject, "--timeout", "30s"}
}

func swaks(t *testing.T, subject string) {
	t.Helper()
	if out, err := exec.Command(find(t, "swaks"), swaksArgs(subject)...).CombinedOutput(); err != nil {
		t.Errorf("swaks, %s: %v\n%s", subject, err, out)
	}
}
