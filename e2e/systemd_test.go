package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// manager plays systemd: it has the socket that sd_notify(3) writes to, and
// listens to the main process alone, as NotifyAccess=main does.
type manager struct {
	socket string

	mu       sync.Mutex // guards what is below
	main     int
	heard    []string // of the main process, by message
	rejected []string // of others
}

func startManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{socket: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) }); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		text, oob := make([]byte, 4096), make([]byte, 256)
		for {
			n, o, _, _, err := conn.ReadMsgUnix(text, oob)
			if err != nil {
				return
			}
			m.hear(senderOf(oob[:o]), string(text[:n]))
		}
	})
	t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
	return m
}

// senderOf is the process that the kernel says has sent a message.
func senderOf(oob []byte) int {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 {
		return 0
	}
	from, err := syscall.ParseUnixCredentials(&messages[0])
	if err != nil {
		return 0
	}
	return int(from.Pid)
}

func (m *manager) hear(pid int, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.main == 0 {
		m.main = pid // that was started
	}
	if pid != m.main {
		m.rejected = append(m.rejected, fmt.Sprintf("%d: %s", pid, text))
		return
	}
	m.heard = append(m.heard, text)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "MAINPID="); ok {
			m.main, _ = strconv.Atoi(value)
		}
	}
}

// wait waits for a message of the main process with all of these lines, or their
// beginnings, after the first from ones, and returns how many there are by then.
func (m *manager) wait(t *testing.T, from int, lines ...string) int {
	t.Helper()
	at := 0
	smtptest.Eventually(t, patience, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for at = from; at < len(m.heard); at++ {
			if hasAll(m.heard[at], lines) {
				at++
				return true
			}
		}
		return false
	}, "a message %q", lines)
	return at
}

func hasAll(text string, lines []string) bool {
	for _, want := range lines {
		if !strings.Contains("\n"+text, "\n"+want) {
			return false
		}
	}
	return true
}

func (m *manager) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.heard)
}

// startService starts the program as systemd does, with more of an environment,
// and stdin as descriptor 3.
func (m *manager) startService(t *testing.T, s site, environment string, stdin *os.File) *succession {
	t.Helper()
	own := filepath.Join(t.TempDir(), "smtplb")
	install(t, raced, own)
	if s.address == "" {
		s.address = freeAddress(t, "127.0.0.1").String()
	}
	s.admin = freeAddress(t, "127.0.0.1").String()
	file := writeFile(t, "smtplb.yaml", s.text())
	script := "export NOTIFY_SOCKET=" + m.socket + " " + environment + "; exec 3<&0 </dev/null; exec \"$@\""
	var in io.Reader
	if stdin != nil {
		in = stdin
	}
	p := &succession{process: launch(t, in, nil, "/bin/sh", "-c", script, "sh", own, "run", "--config", file), program: own, reaped: map[int]bool{}}
	p.address, p.admin, p.file = s.address, s.admin, file
	p.pids = []int{p.cmd.Process.Pid}
	t.Cleanup(func() { p.end(t) })
	return p
}

// What systemd hears: that it is ready, how it does, that it reloads, which process
// is the main one after an upgrade, that it stops. Each is said by the main process
// of the moment, and the watchdog is fed by it alone.
func TestServiceManagerHearsHowItDoes(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	m := startManager(t)
	p := m.startService(t, site{backends: []string{backend("relay-a", relay.Addr())}}, "WATCHDOG_USEC=600000 WATCHDOG_PID=$$", nil)
	at := m.wait(t, 0, "READY=1", "STATUS=0 sessions, 1 of 1 relays up")
	at = m.wait(t, at, "WATCHDOG=1", "STATUS=")
	at = m.wait(t, at, "WATCHDOG=1")

	p.kill(p.pid(), syscall.SIGHUP)
	at = m.wait(t, at, "RELOADING=1", "MONOTONIC_USEC=")
	at = m.wait(t, at, "READY=1")
	if err := os.Rename(p.file, p.file+".away"); err != nil {
		t.Fatal(err)
	}
	p.kill(p.pid(), syscall.SIGHUP) // refused: systemd must not wait for the end of it
	at = m.wait(t, at, "RELOADING=1", "MONOTONIC_USEC=")
	at = m.wait(t, at, "READY=1")
	if got := p.refuseUpgrade(t); !strings.Contains(got, "no such file") {
		t.Errorf("errors %q", got)
	}
	at = m.wait(t, at, "WATCHDOG=1") // goes on

	if err := os.Rename(p.file+".away", p.file); err != nil {
		t.Fatal(err)
	}
	writing := openData(t, p.address)
	p.upgrade(t)
	at = m.wait(t, at, fmt.Sprintf("MAINPID=%d", p.pid()))
	at = m.wait(t, at, "READY=1", "STATUS=0 sessions")
	at = m.wait(t, at, "WATCHDOG=1")
	at = m.wait(t, at, "WATCHDOG=1")
	writing.Close()
	smtptest.Eventually(t, patience, func() bool { return p.ended(t, p.pids[0]) }, "the old process ends")

	p.kill(p.pid(), syscall.SIGTERM)
	m.wait(t, at, "STOPPING=1", "STATUS=draining")
	smtptest.Eventually(t, patience, func() bool { return p.ended(t, p.pid()) }, "the new process ends")
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rejected) > 0 {
		t.Errorf("messages of processes that are not the main one: %q", m.rejected)
	}
}

// listening is a socket as systemd opens it, with a name for LISTEN_FDNAMES.
func listening(t *testing.T) (*os.File, netip.AddrPort) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, l.Addr().(*net.TCPAddr).AddrPort()
}

const activated = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES="

// Systemd opens the socket: clients that come before the program wait, and it goes
// from process to process. It is known by its address, whatever its name is.
func TestSocketOfSystemdIsUsed(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	m := startManager(t)
	socket, address := listening(t)
	early := smtptest.Dial(t, address.String())
	p := m.startService(t, site{address: address.String(), backends: []string{backend("relay-a", relay.Addr())}}, activated+"smtplb.socket", socket)
	if _, err := early.Greeting(); err != nil {
		t.Errorf("the client that came before: %v", err)
	}
	if err := early.Quit(); err != nil {
		t.Error(err)
	}
	p.waitLine(t, "started", nil)
	p.upgrade(t)
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
}

// A socket that no listener has is an error that names it, and so is one that has a
// listener's name and another address.
func TestSocketOfSystemdThatNobodyHas(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	for name, want := range map[string]string{
		"other.socket": "systemd gives a socket other.socket on %s that nobody has: give it the name of a listener (FileDescriptorName=) or one of these addresses: 127.0.0.1:",
		"in":           "the inherited socket listens on %s",
	} {
		m := startManager(t)
		socket, address := listening(t)
		file := writeFile(t, "smtplb.yaml", site{
			address: freeAddress(t, "127.0.0.1").String(), admin: freeAddress(t, "127.0.0.1").String(), backends: []string{backend("relay-a", relay.Addr())},
		}.text())
		p := runOnce(t, socket, "/bin/sh", "-c", "export NOTIFY_SOCKET="+m.socket+" "+activated+name+"; exec 3<&0 </dev/null; exec \"$@\"", "sh", raced, "run", "--config", file)
		if want := fmt.Sprintf(want, address); !strings.Contains(p, want) {
			t.Errorf("%s: standard error %q, want %q", name, p, want)
		}
		if m.count() > 0 {
			t.Errorf("%s: %d messages to the manager", name, m.count())
		}
	}
}

// runOnce runs a command that must end with status 1, and returns what it wrote.
func runOnce(t *testing.T, stdin *os.File, command ...string) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	process, err := os.StartProcess(command[0], command, &os.ProcAttr{
		Env: append(os.Environ(), "GORACE=atexit_sleep_ms=0"), Files: []*os.File{stdin, write, write},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = process.Kill() })
	defer timer.Stop()
	text, err := io.ReadAll(read)
	if err != nil {
		t.Error(err)
	}
	state, err := process.Wait()
	if err != nil || state.ExitCode() != 1 {
		t.Errorf("%v, %v: want exit status 1", state, err)
	}
	return string(text)
}

// What a person has ordered outlasts a restart, where systemd gives a directory.
func TestOrderOutlastsARestart(t *testing.T) {
	t.Parallel()
	relay, other := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	m, dir := startManager(t), t.TempDir()
	s := site{backends: []string{backend("relay-a", relay.Addr()), backend("relay-b", other.Addr())}}
	p := m.startService(t, s, "STATE_DIRECTORY="+dir, nil)
	p.waitLine(t, "started", nil)
	p.order(t, "relay-a", "drain")
	p.kill(p.pid(), syscall.SIGTERM)
	p.waitExit(t)
	if _, err := os.Stat(filepath.Join(dir, "state.json")); err != nil {
		t.Fatal(err)
	}
	p = startManager(t).startService(t, s, "STATE_DIRECTORY="+dir, nil)
	p.waitLine(t, "started", nil)
	if b := p.shown(t).Pools[0].Tiers[0].Backends[0]; b.State != "draining" {
		t.Errorf("after a restart %s is %s, %s", b.Name, b.State, b.Reason)
	}
	if _, err := os.Stat(filepath.Join(dir, "state.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file that was read: %v, want it gone, so that it is not used twice", err)
	}
	p.order(t, "relay-a", "enable")
	p.kill(p.pid(), syscall.SIGTERM)
	p.waitExit(t)
	// Garbage is said to be that, and costs nothing.
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"pools":{"out":{"state":{"version":"x"}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p = startManager(t).startService(t, s, "STATE_DIRECTORY="+dir, nil)
	p.waitLine(t, "started", nil)
	p.waitLine(t, "state: dropped", nil)
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
}
