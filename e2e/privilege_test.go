package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

const (
	justPorts  = 1 << unix.CAP_NET_BIND_SERVICE
	rawSockets = 1 << unix.CAP_NET_RAW
	netAdmin   = 1 << unix.CAP_NET_ADMIN
)

// held are the capabilities of a process, in hexadecimal, and whether it may gain
// any. Each thread has its own: they must have the same.
func held(t *testing.T, pid int) (effective uint64) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads of %d: %v, %v", pid, threads, err)
	}
	seen := map[string]bool{}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var own []string
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if slices.Contains([]string{"CapPrm", "CapEff", "NoNewPrivs"}, key) {
				own = append(own, key+" "+strings.TrimSpace(value))
			}
		}
		seen[strings.Join(own, ", ")] = true
	}
	for all := range seen {
		var permitted uint64
		var sealed int
		if _, err := fmt.Sscanf(all, "CapPrm %x, CapEff %x, NoNewPrivs %d", &permitted, &effective, &sealed); err != nil {
			t.Fatalf("%s: %v", all, err)
		}
		if len(seen) != 1 || permitted != effective || sealed != 1 {
			t.Errorf("threads have %v; want one line, no more permitted than in effect, and no new privileges", seen)
		}
	}
	return effective
}

// needRoot: only root can be other users, or has something to give up.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "not root")
	}
}

// asUser is a command that runs the program as a user with some capabilities, out
// of a directory that the user can read.
func asUser(t *testing.T, program string, capabilities ...string) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "smtplb-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	own := filepath.Join(dir, "smtplb")
	install(t, program, own)
	for _, name := range []string{dir, own} {
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command := []string{find(t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"}
	if len(capabilities) > 0 {
		all := "+" + strings.Join(capabilities, ",+")
		command = append(command, "--inh-caps="+all, "--ambient-caps="+all)
	}
	return append(command, own)
}

// startAs is startProgram for a user who may not read the test's own files.
func startAs(t *testing.T, s site, command []string) *process {
	t.Helper()
	s.address, s.admin = freeAddress(t, "127.0.0.1").String(), freeAddress(t, "127.0.0.1").String()
	file := filepath.Join(filepath.Dir(command[len(command)-1]), "smtplb.yaml")
	if err := os.WriteFile(file, []byte(s.text()), 0o644); err != nil {
		t.Fatal(err)
	}
	p := launch(t, nil, nil, append(command, "run", "--config", file)...)
	p.address, p.admin, p.file = s.address, s.admin, file
	return p
}

func TestOnlyWhatTheConfigurationNeedsIsKept(t *testing.T) {
	t.Parallel()
	needRoot(t)
	tests := []struct {
		name    string
		command func(program string) []string
		backend []string
		want    uint64
	}{
		{"root", func(p string) []string { return []string{p} }, nil, justPorts},
		{"root, with a mark", func(p string) []string { return []string{p} }, []string{"fwmark: 7"}, justPorts | rawSockets},
		{"root that was given little", func(p string) []string {
			return []string{find(t, "setpriv"), "--bounding-set=-all,+net_raw,+chown", p}
		}, nil, 0},
		{"a user", func(p string) []string { return asUser(t, p) }, nil, 0},
		{"a user who may take ports", func(p string) []string { return asUser(t, p, "net_bind_service") }, nil, justPorts},
		{"a user with a mark", func(p string) []string { return asUser(t, p, "net_raw") }, []string{"fwmark: 7"}, rawSockets},
		{"a user who was given too much", func(p string) []string {
			return asUser(t, p, "net_bind_service", "net_raw", "net_admin", "dac_override", "sys_admin")
		}, nil, justPorts | rawSockets | netAdmin},
	}
	for _, test := range tests {
		for build, program := range map[string]string{"": released, ", raced": raced} {
			t.Run(test.name+build, func(t *testing.T) {
				t.Parallel()
				relay := smtptest.Start(t, smtptest.Script{})
				command := test.command(program)
				s := site{backends: []string{backend("relay-a", relay.Addr(), test.backend...)}}
				var p *process
				root := strings.HasPrefix(test.name, "root")
				if root {
					p = startProgram(t, s, command...)
				} else {
					p = startAs(t, s, command)
				}
				p.waitLine(t, "started", nil)
				if got := held(t, p.cmd.Process.Pid); got != test.want {
					t.Errorf("it has the capabilities %#x, want %#x", got, test.want)
				}
				said := p.logged(t, "privileges: runs as root, and has given up all but these capabilities: better run it as another user, by "+
					"deploy/systemd/smtplb.service, or after: setcap cap_net_bind_service=+ep smtplb, or: sysctl net.ipv4.ip_unprivileged_port_start=25")
				if len(said) > 0 != root {
					t.Errorf("it says %v", said)
				}
				if err := smtptest.Dial(t, p.address).Send(smtptest.Outgoing{}); err != nil {
					t.Errorf("a message through it: %v", err)
				}
			})
		}
	}
}

// A user who lacks what the file asks for is told so at the start.
func TestWhatMayNotBeDoneIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := site{backends: []string{backend("relay-a", freeAddress(t, "127.0.0.1"), "fwmark: 7")}}
	command := asUser(t, released, "net_bind_service")
	file := filepath.Join(filepath.Dir(command[len(command)-1]), "smtplb.yaml")
	s.address = freeAddress(t, "127.0.0.1").String()
	if err := os.WriteFile(file, []byte(s.text()), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], "run", "--config", file)...)
	cmd.Stderr = &stderr
	_ = cmd.Run() // the status tells
	want(t, "run", outcome{cmd.ProcessState.ExitCode(), "", stderr.String()}, 1, "backend relay-a: fwmark 7: needs the capability CAP_NET_RAW or CAP_NET_ADMIN")
}

// What was given up is missed by nothing that a service does later: a reload of a
// file that was replaced, another port below 1024, an upgrade,
// with the same limits after it. What needs more is refused, and all goes on.
func TestALifeWithoutPrivileges(t *testing.T) {
	t.Parallel()
	needRoot(t)
	relay := smtptest.Start(t, smtptest.Script{})
	plain := site{backends: []string{backend("relay-a", relay.Addr())}}
	marked := site{backends: []string{backend("relay-a", relay.Addr(), "fwmark: 7")}}
	const notPermitted = "fwmark 7: needs the capability CAP_NET_RAW or CAP_NET_ADMIN: operation not permitted"
	p := startSuccession(t, plain, raced)

	line := p.reload(t, marked, "reload refused: nothing changed")
	if all := strings.Join(line.list("errors"), " "); !strings.Contains(all, notPermitted) || !strings.Contains(all, "restart it") {
		t.Errorf("the refusal says %s", all)
	}
	p.address = "127.93.0.1:525" // of this test alone
	p.reload(t, plain, "reloaded")
	if _, err := smtptest.Dial(t, p.address).Greeting(); err != nil {
		t.Error(err)
	}
	p.upgrade(t)
	if got := held(t, p.pid()); got != justPorts {
		t.Errorf("after an upgrade: %#x", got)
	}
	s := marked
	s.address, s.admin = p.address, p.admin
	if err := os.WriteFile(p.file, []byte(s.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	if why := p.refuseUpgrade(t); !strings.Contains(why, notPermitted) || !strings.Contains(why, "restart it") {
		t.Errorf("an upgrade that needs more is refused with %s", why)
	}
}

// Root without its capabilities cannot read another user's file: that is said
// before the reload that would need it.
func TestAFileThatCannotBeReadAgainIsNamed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	command := asUser(t, released)
	program := command[len(command)-1]
	file := filepath.Join(filepath.Dir(program), "smtplb.yaml")
	s := site{address: freeAddress(t, "127.0.0.1").String(), admin: freeAddress(t, "127.0.0.1").String(), backends: []string{backend("relay-a", freeAddress(t, "127.0.0.1"))}}
	if err := os.WriteFile(file, []byte(s.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	p := launch(t, nil, nil, program, "run", "--config", file)
	p.waitLine(t, "started", nil)
	line := p.waitLine(t, "privileges: a reload will be refused: give the file to root, or let everybody read it", nil)
	if !strings.Contains(line.text("error"), file) {
		t.Errorf("%v does not name %s", line, strconv.Quote(file))
	}
}
