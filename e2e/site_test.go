package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// site is a configuration file with one listener and one pool. Fields with
// "more" in their comment are YAML, and empty ones are left to the defaults.
type site struct {
	address  string   // of the listener; "" takes a free port of 127.0.0.1
	listener string   // more keys of the listener, in flow style; allow is 127.0.0.0/8 unless it is here
	backends []string // as backend returns them
	pool     string   // more keys of the pool, a line each
	rest     string   // more of the file
	admin    string   // admin.address; "" takes a free port of 127.0.0.1
}

// quick are timeouts and checks for tests: a relay that does not greet costs
// half a second, one that is checked and found bad is down soon, and who comes
// back is used at once.
const quick = "timeouts: {connect: 1s, greeting: 500ms, session_setup: 10s}\n" +
	"probe: {interval: 200ms, fast_interval: 100ms, timeout: 1s, rise: 2, fall: 2}\n" +
	"slow_start: 0s\n" +
	"failover: {failback_delay: 0s}"

// unchecked makes the same timeouts, and leaves a relay in use that fails again
// and again, so that every session has to find out for itself.
const unchecked = "timeouts: {connect: 1s, greeting: 500ms, session_setup: 10s}\n" +
	"probe: {type: tcp, interval: 1h, rise: 1, fall: 100}\n" +
	"passive: {failures: 1000}"

// backend is an entry of a pool, with more keys in flow style.
func backend(name string, address netip.AddrPort, more ...string) string {
	return fmt.Sprintf("{%s}", strings.Join(append([]string{"name: " + name, fmt.Sprintf("address: %q", address)}, more...), ", "))
}

func (s site) text() string {
	var b strings.Builder
	keys := s.listener
	if !strings.Contains(keys, "allow:") {
		keys = strings.TrimSuffix("allow: [127.0.0.0/8], "+keys, ", ")
	}
	fmt.Fprintf(&b, "listeners:\n  - {name: in, address: %q, pool: out, %s}\n", s.address, keys)
	b.WriteString("pools:\n  - name: out\n    backends:\n")
	for _, entry := range s.backends {
		fmt.Fprintf(&b, "      - %s\n", entry)
	}
	for line := range strings.Lines(s.pool) {
		b.WriteString("    " + line)
	}
	b.WriteString("\n" + s.rest)
	if s.admin != "" && !strings.Contains(s.rest, "admin:") {
		fmt.Fprintf(&b, "\nadmin: {address: %q}\n", s.admin)
	}
	return b.String()
}

// freeAddress returns an address at which nothing else will listen, or connect
// from, until the test ends; for the program under test it is free.
func freeAddress(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	// A relay that is stopped keeps its port.
	holder, err := smtptest.Listen(net.JoinHostPort(host, "0"), smtptest.Script{})
	if err != nil {
		t.Fatalf("a free port of %s: %v", host, err)
	}
	t.Cleanup(holder.Close)
	holder.StopListening()
	return holder.Addr()
}

// writeFile puts text into a file of the test's own.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
