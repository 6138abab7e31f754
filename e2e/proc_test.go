package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What /proc tells of a process, proc(5).

// procStatus is a number of /proc/PID/status: VmRSS (in KB), Threads.
func (p *process) procStatus(t *testing.T, key string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s", key, text)
	return 0
}

// descriptors is the number of open ones.
func (p *process) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// sockets is the number of open descriptors that are sockets. Pipes are kept
// for the next large message.
func (p *process) sockets(t *testing.T) int {
	t.Helper()
	return socketsOf(t, p.cmd.Process.Pid)
}

func socketsOf(t *testing.T, pid int) int {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		// One that is closed by now is none.
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// clockTick is what /proc counts in: 1/100 s on every Linux that Go runs on.
const clockTick = 100

// cpuSeconds is the time that the process has spent on a processor.
func (p *process) cpuSeconds(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name, in parentheses, may hold anything; utime and stime are fields
	// 14 and 15, the 12th and 13th after it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	total := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		total += n
	}
	return float64(total) / clockTick
}

// connectionsTo counts the connections of an IPv4 server that it has not
// closed, whether it has accepted them or not.
func connectionsTo(t *testing.T, server netip.AddrPort) int {
	t.Helper()
	const established, closeWait = "01", "08" // include/net/tcp_states.h
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	ip := server.Addr().As4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], server.Port())
	n := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[1] == local && (f[3] == established || f[3] == closeWait) {
			n++
		}
	}
	return n
}
