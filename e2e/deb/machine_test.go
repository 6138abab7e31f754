//go:build deb

package deb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// patience is how long a test waits for what must come, on a busy machine too.
const patience = 30 * time.Second

// machine is the Debian, booted.
type machine struct {
	t    *testing.T
	root string // of its files
	init int    // its process 1, as seen from here
}

// boot boots the Debian until the test ends.
func boot(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, root: filepath.Join(os.Getenv(dirVariable), "root")}
	group := cgroup(t)
	cmd := exec.Command("testdata/boot.sh", m.root, group)
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all of the Debian
		_ = cmd.Wait()         // killed
		if t.Failed() {
			t.Logf("its console:\n%s", console.String())
		}
		removeCgroup(t, group)
	})
	smtptest.Eventually(t, patience, func() bool { return m.findInit(cmd.Process.Pid) }, "systemd runs")
	state := ""
	smtptest.Eventually(t, patience, func() bool {
		state, _ = m.try("systemctl", "is-system-running")
		state = strings.TrimSpace(state)
		return state == "running" || state == "degraded"
	}, "the system is up")
	if state != "running" {
		t.Fatalf("the system is %s:\n%s%s", state, m.run("systemctl", "--failed", "--no-pager"), m.run("journalctl", "--priority=warning", "--no-pager"))
	}
	return m
}

// findInit looks for the child of unshare, once it has become systemd.
func (m *machine) findInit(unshare int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", unshare, unshare))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return false
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	m.init = pid
	return err == nil && strings.TrimSpace(string(name)) == "systemd"
}

// cgroup makes a group in the hierarchy of version 2, wherever that is mounted.
func cgroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			dir, err := os.MkdirTemp(f[1], "smtplb-deb-")
			if err != nil {
				t.Fatal(err)
			}
			return dir
		}
	}
	t.Fatal("no cgroup2 is mounted")
	return ""
}

// removeCgroup removes a group with all below it, once nothing is in it.
func removeCgroup(t *testing.T, group string) {
	smtptest.Eventually(t, patience, func() bool {
		var dirs []string
		_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir) // or it is tried again
		}
		_, err := os.Stat(group)
		return errors.Is(err, fs.ErrNotExist)
	}, "%s is gone", group)
}

// try runs a command in the machine, and returns what it wrote.
func (m *machine) try(args ...string) (string, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 3*patience)
	defer cancel()
	inside := []string{"--target", strconv.Itoa(m.init), "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--root", "--wd",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	out, err := exec.CommandContext(ctx, "nsenter", append(inside, args...)...).CombinedOutput()
	return string(out), err
}

// run is try for a command that must succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// refuse is try for a command that must fail.
func (m *machine) refuse(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		m.t.Fatalf("%q: %v: want it to fail\n%s", args, err, out)
	}
	return out
}

// install installs a package by apt, without any network.
func (m *machine) install(which string) string {
	m.t.Helper()
	from := deb(m.t, which)
	to := "/root/" + filepath.Base(from)
	text, err := os.ReadFile(from)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(to, string(text))
	return m.run("apt-get", "install", "--yes", "--quiet", "--allow-downgrades", to)
}

// write writes a file of the machine; an existing one stays whose it is.
func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// exists tells whether there is such a file in the machine.
func (m *machine) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(m.root, path))
	return err == nil
}

// property is one of the unit's, by systemctl show.
func (m *machine) property(name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl", "show", "--value", "--property="+name, "smtplb"))
}

// journal is what the unit has said, to journald and by it.
func (m *machine) journal() string {
	m.t.Helper()
	return m.run("journalctl", "--unit=smtplb", "--output=cat", "--no-pager")
}

// said returns what the journal has in addition once f is done.
func (m *machine) said(f func()) string {
	m.t.Helper()
	before := m.journal()
	f()
	return strings.TrimPrefix(m.journal(), before)
}

// mainPID is the number of the main process, in the machine.
func (m *machine) mainPID() string { m.t.Helper(); return m.property("MainPID") }

// signal sends one to a process of the machine; by "0" it tells whether there is
// such a process.
func (m *machine) signal(pid, signal string) error {
	m.t.Helper()
	if out, err := m.try("sh", "-c", "kill -s "+signal+" "+pid); err != nil {
		return fmt.Errorf("kill -s %s %s: %w: %s", signal, pid, err, out)
	}
	return nil
}
