package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"smtplb/balancer"
)

func haFile(t *testing.T, addresses ...string) string {
	t.Helper()
	text := "listeners:\n"
	for _, a := range addresses {
		text += fmt.Sprintf("  - {address: %q, allow: [10.10.0.0/16]}\n", a)
	}
	return write(t, "smtplb.yaml", text+"pools:\n  - backends: [{address: \"10.10.1.11:25\"}]\n")
}

func TestHAKeepalivedIsMadeOfTheListeners(t *testing.T) {
	file := haFile(t, "192.0.2.25:25", "192.0.2.25:587", "[2001:db8::25]:25")
	keepalived := func(args ...string) (int, string, string) {
		t.Helper()
		return commandIn(t, nil, append([]string{"ha", "keepalived", "--config", file}, args...)...)
	}
	// The program of a test may lie where keepalived could not name it.
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs := keepalived("--interface", "eth0", "--peer", "192.0.2.12", "--self", "192.0.2.11")
	if status != exitOK {
		t.Fatalf("status %d, %s", status, errs)
	}
	holds(t, "keepalived.conf", out, program+" ha check --config "+file+" --track-file /run/smtplb.relays", "virtual_router_id 25", "priority 240",
		"preempt_delay 30", "unicast_src_ip 192.0.2.11", "192.0.2.12", "192.0.2.25/32 dev eth0", "2001:db8::25/128 dev eth0")
	if strings.Count(out, "192.0.2.25/32") != 1 {
		t.Errorf("an address is there twice:\n%s", out)
	}
	for _, test := range []struct {
		args   []string
		status int
		errs   string
	}{
		{nil, exitUsage, "--interface: required"},
		{[]string{"--interface", "eth0"}, exitUsage, "--peer: required"},
		{[]string{"--interface", "eth0", "--peer", "other"}, exitUsage, `--peer "other": must be an IP address`},
		{[]string{"--interface", "eth0", "--peer", "192.0.2.12", "--self", "x"}, exitUsage, `--self "x": must be an IP address`},
		{[]string{"--interface", "eth0", "--peer", "192.0.2.12", "--router-id", "0"}, exitError, "router ID 0: must be 1 to 255"},
		{[]string{"--interface", "eth0", "--peer", "192.0.2.25"}, exitError, "192.0.2.25: is a listener's address"},
		{[]string{"--interface", "eth0", "--peer", "192.0.2.12", "--config", file + ".none"}, exitError, "no such file"},
		{[]string{"--interface", "eth0", "--peer", "192.0.2.12", "--config", haFile(t, "0.0.0.0:25")}, exitError,
			"listener 0.0.0.0:25: address 0.0.0.0:25: must be the one address that moves"},
	} {
		status, out, errs := keepalived(test.args...)
		if status != test.status || out != "" || !strings.Contains(errs, test.errs) {
			t.Errorf("%q: status %d, %q, want %d, %q", test.args, status, errs, test.status, test.errs)
		}
	}
	if status, out, _ := commandIn(t, nil, "ha"); status != exitOK || !strings.Contains(out, "keepalived") {
		t.Errorf("ha alone: status %d, %q", status, out)
	}
}

func TestHACheckTellsWhoCanHaveTheAddresses(t *testing.T) {
	var left atomic.Int64 // answers until it drains
	left.Store(100)
	a := newAsked(t, func(a *asked) {
		a.Ready = func() (bool, string) { return left.Add(-1) >= 0, "draining" }
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "relays")
	check := func(want int, text, number string, args ...string) {
		t.Helper()
		status, out, errs := commandIn(t, a.environ, append([]string{"ha", "check", "--track-file", file}, args...)...)
		got, err := os.ReadFile(file)
		if status != want || !strings.Contains(out+errs, text) || err != nil || string(got) != number {
			t.Errorf("%q: status %d, %q, %q, the file %q, %v, want %d, %q, %q", args, status, out, errs, got, err, want, text, number)
		}
	}
	check(exitOK, "ready; relays that this node does not reach: 0\n", "0\n")
	was, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	check(exitOK, `{"ready": true, "relays_unreached": 0}`+"\n", "0\n", "--json", "--for", "1ms")
	if is, err := os.Stat(file); err != nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) {
		t.Error("the file was written again, which wakes keepalived")
	}

	// Only what is checked and found bad: the other node's people may have drained
	// other relays.
	a.outbound.Drain(time.Now(), 1)
	for range 3 {
		a.outbound.Probe(time.Now(), 0, balancer.VerdictFailed, "refused")
		a.bulk.Probe(time.Now(), 0, balancer.VerdictFailed, "refused")
		a.bulk.Probe(time.Now(), 1, balancer.VerdictFailed, "refused")
	}
	check(exitOK, "does not reach: 3\n", "-3\n")

	left.Store(4)
	check(exitError, "takes no clients any more: not ready: draining", "-3\n", "--for", "1h")
	check(exitError, "takes no clients: draining", "-3\n", "--for", "1h")
	left.Store(100)
	if status, _, errs := commandIn(t, a.environ, "ha", "check", "--track-file", dir); status != exitError || !strings.Contains(errs, "--track-file: ") {
		t.Errorf("a directory: status %d, %q", status, errs)
	}
	if status, _, errs := commandIn(t, a.environ, "ha", "check", "--track-file", dir+"/none/relays"); status != exitError || !strings.Contains(errs, "--track-file: ") {
		t.Errorf("no directory: status %d, %q", status, errs)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%v lie there, %v, want the file alone", names, err)
	}
}

// A program that goes is seen at once, and not at keepalived's next look.
func TestHACheckEndsWhenSmtplbGoes(t *testing.T) {
	var looks atomic.Int64
	stopped := make(chan struct{})
	a := newAsked(t, func(a *asked) {
		a.Ready = func() (bool, string) {
			if looks.Add(1) == 3 {
				over, cancel := context.WithCancel(context.Background())
				cancel()
				go func() {
					_ = a.Shutdown(over) // it does not wait for answers
					close(stopped)
				}()
			}
			return true, ""
		}
	})
	status, _, errs := commandIn(t, a.environ, "ha", "check", "--for", "1h")
	<-stopped
	if status != exitError || !strings.Contains(errs, "nobody answers at "+a.addr) {
		t.Errorf("status %d, %q", status, errs)
	}
}
