//go:build appliance

package appliance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// machine is one that QEMU emulates. Its disk is laid over the image, which is not
// changed; it outlives a power cut.
type machine struct {
	t    *testing.T
	l    *lan
	name string
	mac  string
	dir  string
	uefi bool

	cmd  *exec.Cmd
	done chan struct{} // closed when QEMU has ended
	console
}

// bootTime is far more than a boot takes, by emulation on two busy cores.
const bootTime = 15 * time.Minute

func newMachine(t *testing.T, l *lan, name, image, cdrom string, number int) *machine {
	t.Helper()
	m := &machine{t: t, l: l, name: name, mac: fmt.Sprintf("52:54:00:00:00:%02x", number), dir: t.TempDir()}
	l.port("tap-" + name)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", m.disk())
	if cdrom != "" {
		if err := os.Symlink(cdrom, m.cdrom()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: the end of its console:\n%s", name, m.tail())
		}
		m.cut()
	})
	return m
}

func (m *machine) disk() string  { return filepath.Join(m.dir, "disk.qcow2") }
func (m *machine) cdrom() string { return filepath.Join(m.dir, "cdrom.iso") }

// on switches it on.
func (m *machine) on() {
	m.t.Helper()
	socket := filepath.Join(m.dir, "console")
	_ = os.Remove(socket) // of the last time
	// One processor: with two, a kernel that changes its own code (Linux's static
	// branches) now and then dies of an int3 that QEMU 7.2 kept of a step in
	// between. Nor is it slower, with two machines on two processors.
	args := []string{
		"netns", "exec", m.l.name, "qemu-system-x86_64", "-name", m.name, "-accel", "tcg", "-smp", "1", "-m", "512",
		"-display", "none", "-monitor", "none", "-nodefaults", "-vga", "std",
		"-chardev", "socket,id=console,server=on,wait=off,logfile=" + filepath.Join(m.dir, "console.log") + ",logappend=on,path=" + socket, "-serial", "chardev:console",
		"-drive", "if=virtio,format=qcow2,cache=unsafe,file=" + m.disk(),
		"-netdev", "tap,id=lan,script=no,downscript=no,ifname=tap-" + m.name, "-device", "virtio-net-pci,romfile=,netdev=lan,mac=" + m.mac,
		"-device", "virtio-rng-pci",
	}
	if _, err := os.Stat(m.cdrom()); err == nil {
		args = append(args, "-drive", "if=none,id=cd,media=cdrom,readonly=on,file="+m.cdrom(), "-device", "ide-cd,drive=cd")
	}
	if m.uefi {
		args = append(args, "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd",
			"-drive", "if=pflash,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_VARS.fd")
	}
	m.cmd = exec.Command("ip", args...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(m.dir, "qemu.log"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.done = make(chan struct{})
	started := make(chan error)
	go func() { // on a thread of its own: the signal at a parent's death is one of a thread's
		defer close(m.done)
		defer log.Close()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // it is killed in the end
		}
	}()
	if err := <-started; err != nil {
		m.t.Fatal(err)
	}
	m.open(m.t, m.name, socket, m.done)
}

// cut takes its power.
func (m *machine) cut() {
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it has ended, then
	<-m.done
	m.close()
}

// console is a machine's serial line.
type console struct {
	t    *testing.T
	name string
	conn net.Conn

	mu   sync.Mutex // guards what is below
	all  strings.Builder
	seen int // what expect has passed
	news chan struct{}
}

func (c *console) open(t *testing.T, name, socket string, ended <-chan struct{}) {
	t.Helper()
	c.t, c.name, c.news = t, name, make(chan struct{}, 1)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			c.conn = conn
			break
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(filepath.Dir(socket), "qemu.log")) // empty, then
			t.Fatalf("%s: QEMU has ended: %s", name, log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: no console: %v", name, err)
		}
	}
	go func() {
		part := make([]byte, 4096)
		for {
			n, err := c.conn.Read(part)
			c.mu.Lock()
			c.all.WriteString(string(part[:n]))
			c.mu.Unlock()
			select {
			case c.news <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
}

func (c *console) close() {
	if c.conn != nil {
		c.conn.Close()
	}
}

func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.all.String()
	return plain(text[max(0, len(text)-4000):])
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?!]*[a-zA-Z]|\x1b\[[!?][a-z]|\x1b\][^\x07]*\x07|\r`)

func plain(text string) string { return escapes.ReplaceAllString(text, "") }

// expect waits for a text to come, and returns all that came up to it.
func (c *console) expect(want string, patience time.Duration) string {
	c.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		text := c.all.String()[c.seen:]
		if i := strings.Index(text, want); i >= 0 {
			c.seen += i + len(want)
			c.mu.Unlock()
			return plain(text[:i+len(want)])
		}
		c.mu.Unlock()
		select {
		case <-c.news:
		case <-deadline.C:
			c.t.Fatalf("%s: %q has not come within %s; since the last:\n%s", c.name, want, patience, plain(text))
		}
	}
}

func (c *console) line(text string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(text + "\r")); err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
}

const step = 4 * time.Minute // one step of a dialogue

// answer waits for a question and types an answer; what came before the question
// is returned.
func (c *console) answer(question, text string) string {
	c.t.Helper()
	before := c.expect(question, step)
	c.expect(": ", step)
	c.line(text)
	return before
}

// login is as root.
func (c *console) login(password string) {
	c.t.Helper()
	c.expect("login: ", bootTime)
	c.shell(password)
}

// shell has one, at the question for a name.
func (c *console) shell(password string) {
	c.t.Helper()
	c.line("root")
	c.expect("Password: ", step)
	c.line(password)
	c.expect("# ", step)
	c.line("bind 'set enable-bracketed-paste off'; stty -echo; PS1=")
	c.expect("\n", step)
}

// sh runs a line of the shell, and returns what it prints; it must succeed.
func (c *console) sh(command string) string {
	c.t.Helper()
	c.line("echo BEG''IN; " + command + "; echo EN''D=$?")
	c.expect("BEGIN", step)
	out := strings.TrimSpace(strings.TrimSuffix(c.expect("END=", step), "END="))
	if status := strings.TrimSpace(c.expect("\n", step)); status != "0" {
		c.t.Fatalf("%s: %s: status %s: %s", c.name, command, status, out)
	}
	return out
}
