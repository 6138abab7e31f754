package e2e

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// SIGTERM lets go of whom it can and waits for whom it must: the client in its
// turn reads the end of its connection, the one that waits for the answer to
// its message gets the answer, however long past the quiet spell.
func TestSigtermCutsNobodyWhoWaitsForAReply(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{EndOfDataDelay: 12 * time.Second})
	p := start(t, site{backends: []string{backend("relay-a", relay.Addr())}})
	idle := smtptest.Dial(t, p.address)
	if code, _, err := idle.Cmd("EHLO idle.test"); err != nil || code != 250 {
		t.Fatalf("EHLO: %d %v", code, err)
	}
	waiting := smtptest.Dial(t, p.address)
	sent := make(chan error, 1)
	m := smtptest.Outgoing{ID: "waiting", Size: 4096}
	go func() { sent <- waiting.Send(m) }()
	smtptest.Eventually(t, patience, func() bool { return relay.Active() == 2 }, "two sessions")
	time.Sleep(500 * time.Millisecond) // the relay says nothing between the dot and its answer; 4 KB need no second

	p.signal(syscall.SIGTERM)
	if line := p.waitLine(t, "draining", nil); line["sessions"] != 2.0 || line.text("reason") != "terminated" {
		t.Errorf("draining line %v, want 2 sessions", line)
	}
	refusesNew(t, p)
	if _, _, err := idle.ReadReply(); !errors.Is(err, io.EOF) {
		t.Errorf("idle client: %v, want the end of the connection", err)
	}
	if len(sent) > 0 {
		t.Errorf("the waiting client has its answer (%v) before the idle one was let go: the delay is too short to show anything", <-sent)
	}
	if err := <-sent; err != nil {
		t.Errorf("the client that waited for its answer: %v", err)
	}
	if err := waiting.Quit(); err != nil {
		t.Errorf("QUIT after the answer: %v", err)
	}
	if status := p.waitExit(t); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if n := len(p.logged(t, "stopped")); n != 1 {
		t.Errorf("%d lines stopped, want 1", n)
	}
	if n := relay.MessageCount(); n != 1 {
		t.Errorf("the relay has %d messages, want 1", n)
	}
	words := map[string]string{}
	for _, s := range p.sessions(t, 2) {
		words[s.Client] = s.End
	}
	if got := words[idle.Conn().LocalAddr().String()]; got != "drained" {
		t.Errorf("the idle session ended as %q, want drained", got)
	}
	if got := words[waiting.Conn().LocalAddr().String()]; got != "backend_closed" {
		t.Errorf("the waiting session ended as %q, want backend_closed", got)
	}
}

// refusesNew: whoever comes while it drains is refused by the kernel, or reads
// 421 if it was in the queue.
func refusesNew(t *testing.T, p *process) {
	t.Helper()
	client, err := smtptest.DialTimeout(p.address, patience)
	if err != nil {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new client: %v, want connection refused", err)
		}
		return
	}
	defer client.Close()
	if code, text, err := client.ReadReply(); !errors.Is(err, syscall.ECONNRESET) && (err != nil || code != 421) {
		t.Errorf("a new client reads %d %s, %v; want 421", code, text, err)
	}
}

// The second SIGTERM is for those who cannot wait.
func TestSecondSigtermStopsNow(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{ReplyDelay: time.Hour})
	p := start(t, site{backends: []string{backend("relay-a", relay.Addr())}})
	client := smtptest.Dial(t, p.address)
	if _, err := client.Greeting(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client.Conn(), "EHLO never-answered.test\r\n"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	p.waitLine(t, "draining", nil)
	if !p.running() {
		t.Fatal("stopped though a session waits for its relay")
	}
	p.signal(syscall.SIGTERM)
	if status := p.waitExit(t); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if n := len(p.logged(t, "stopping now")); n != 1 {
		t.Errorf("%d lines %q, want 1", n, "stopping now")
	}
	if s := p.only(t); s.End != "shutdown" {
		t.Errorf("the session ended as %s, want shutdown", s.End)
	}
	if _, _, err := client.ReadReply(); err == nil {
		t.Error("the client still reads replies")
	}
}

// A person at a terminal stops it as SIGTERM does.
func TestInterruptDrains(t *testing.T) {
	t.Parallel()
	p := start(t, site{backends: []string{backend("relay-a", freeAddress(t, "127.0.0.1"))}})
	p.signal(syscall.SIGINT)
	if status := p.waitExit(t); status != 0 || len(p.logged(t, "draining")) != 1 || len(p.logged(t, "stopped")) != 1 {
		t.Errorf("exit status %d, lines:\n%s", status, p.stderr())
	}
}

// SIGHUP, whose default is death, ends nothing.
func TestSighupKillsNothing(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{backends: []string{backend("relay-a", relay.Addr())}})
	client := smtptest.Dial(t, p.address)
	if _, err := client.Greeting(); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	if line := p.waitLine(t, "reloaded", nil); len(line.list("changes")) != 0 {
		t.Errorf("the file is what it was, and the line is %v", line)
	}
	if err := client.Send(smtptest.Outgoing{ID: "m1", Size: 1024}); err != nil {
		t.Errorf("the session that ran: %v", err)
	}
	if err := visit(p.address); err != nil {
		t.Errorf("a new session: %v", err)
	}
}
