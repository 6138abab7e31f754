package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"smtplb/internal/smtptest"
)

// family is a program of somebody else's with the processes that it starts.
type family struct {
	cmd    *exec.Cmd
	output string // the file with what it writes
	exited chan struct{}
}

// startFamily runs a command, in a process group of its own, until the test
// ends.
func startFamily(t *testing.T, cmd *exec.Cmd) *family {
	t.Helper()
	f := &family{cmd: cmd, output: filepath.Join(t.TempDir(), "output"), exited: make(chan struct{})}
	out, err := os.Create(f.output)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// A file, where a pipe would keep us waiting for the last of the family.
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // ended by us; who ends before is found out in waitFor
		close(f.exited)
	}()
	t.Cleanup(f.end)
	return f
}

// waitFor is smtptest.Eventually that gives up once the program has ended.
func (f *family) waitFor(t *testing.T, condition func() bool, what string) {
	t.Helper()
	smtptest.Eventually(t, patience, func() bool {
		select {
		case <-f.exited:
			text, _ := os.ReadFile(f.output) // its last words, if there are any
			t.Fatalf("%s has exited: %s\n%s", f.cmd.Path, f.cmd.ProcessState, text)
		default:
		}
		return condition()
	}, "%s: %s", filepath.Base(f.cmd.Path), what)
}

// end leaves no process of the family, which has nothing to save.
func (f *family) end() {
	_ = syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL) // fails when all have ended
	<-f.exited
}
