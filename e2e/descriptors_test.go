package e2e

import (
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// With 64 descriptors there is room for some sessions, not for a hundred. The
// others wait in the kernel's queue: none is refused, those that run notice
// nothing, and the process waits as well, rather than ask again and again.
func TestWithoutDescriptorsClientsWaitAndNothingSpins(t *testing.T) {
	t.Parallel()
	const clients, first = 100, 10
	relay := smtptest.Start(t, smtptest.Script{})
	p := startProgram(t, site{backends: []string{backend("relay-a", relay.Addr())}}, find(t, "prlimit"), "--nofile=64:64", raced)
	var running []*smtptest.Client
	for range first {
		client := smtptest.Dial(t, p.address)
		if _, err := client.Greeting(); err != nil {
			t.Fatal(err)
		}
		running = append(running, client)
	}

	release := make(chan struct{})
	var served sync.WaitGroup
	for range clients {
		served.Go(func() {
			client, err := smtptest.DialTimeout(p.address, 2*patience)
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			if _, err := client.Greeting(); err != nil {
				t.Error(err)
			}
			<-release
			if err := client.Quit(); err != nil {
				t.Errorf("a client that waited: %v", err)
			}
		})
	}
	full := p.waitLine(t, "proxy", nil)
	if full.text("level") != "warn" || full.text("error") != "accepting pauses, running sessions go on: too many open files" {
		t.Errorf("log line %v", full)
	}
	began, cpu := time.Now(), p.cpuSeconds(t)
	for time.Since(began) < 3*time.Second {
		for n, client := range running {
			if code, text, err := client.Cmd("NOOP"); err != nil || code != 250 {
				t.Fatalf("running session %d: %d %s %v", n, code, text, err)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	spent, lasted := p.cpuSeconds(t)-cpu, time.Since(began).Seconds()
	t.Logf("%.1f s full: %.2f s of CPU, %d descriptors", lasted, spent, p.descriptors(t))
	if spent > lasted/2 {
		t.Errorf("%.2f s of CPU in %.1f s: something spins", spent, lasted)
	}
	if n := relay.Active(); n >= clients {
		t.Errorf("%d sessions run: there was no want of descriptors", n)
	}
	close(release)
	served.Wait()
	for _, client := range running {
		if err := client.Quit(); err != nil {
			t.Error(err)
		}
	}
	for _, s := range p.sessions(t, clients+first) {
		if s.End != "backend_closed" || s.asked() != "relay-a:ok" {
			t.Errorf("session ended as %s, asked %s %s", s.End, s.asked(), s.Reason)
		}
	}
}

// The soft limit is raised to the hard one (Go leaves one), and where that is too little for
// max_sessions a line says so, with the numbers.
func TestTooFewDescriptorsAreToldOfAtStart(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	for _, test := range []struct {
		limits, listener string
		want             []string // of the warning; none: there is none
	}{
		{"--nofile=64:4096", "", []string{"10000, which takes 20000 descriptors", "may open 4095", "LimitNOFILE=22864"}},
		{"--nofile=64:4096", "max_sessions: 100", nil},
		{"--nofile=64:64", "max_sessions: 100", []string{"may open 64"}},
	} {
		s := site{listener: test.listener, backends: []string{backend("relay-a", relay.Addr())}}
		p := startProgram(t, s, find(t, "prlimit"), test.limits, raced)
		text := ""
		for _, line := range p.logged(t, "descriptors") {
			text += line.text("warning")
		}
		if test.want == nil && text != "" {
			t.Errorf("%s %s: warning %q", test.limits, test.listener, text)
		}
		for _, part := range test.want {
			if !strings.Contains(text, part) {
				t.Errorf("%s %s: warning %q does not say %q", test.limits, test.listener, text, part)
			}
		}
	}
}
