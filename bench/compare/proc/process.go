package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program to start.
type Command struct {
	Args  []string       // the program and its arguments
	CPUs  CPUs           // where it may run; none: where this thread may
	Dir   string         // must be there: stdout and stderr go to the file output in it
	Death syscall.Signal // what it gets when this process dies; 0: SIGKILL
}

// Process is one that was started here. Its methods may be called from several
// goroutines.
type Process struct {
	pid    int
	args   []string
	output string
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has; err is set then
	err    error
}

// Start starts a program. Whoever calls it must call Stop.
func Start(c Command) (*Process, error) {
	output := filepath.Join(c.Dir, "output")
	file, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the child has its own descriptor
	// No context: Stop ends it, as gently as each program allows.
	cmd := exec.CommandContext(context.Background(), c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, file, file
	death := c.Death
	if death == 0 {
		death = syscall.SIGKILL
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: death, Setpgid: true} // so that Ctrl-C is ours alone
	p := &Process{args: c.Args, output: output, cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go p.live(c.CPUs, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.Args[0], err)
	}
	return p, nil
}

// live is a thread for the length of the process's life: the death of the
// thread that has started it is what the process takes for ours (prctl(2),
// PR_SET_PDEATHSIG), and Go's threads come and go.
func (p *Process) live(cpus CPUs, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := onCPUs(cpus, p.cmd.Start); err != nil {
		started <- err
		return
	}
	p.pid = p.cmd.Process.Pid
	started <- nil
	p.wait()
}

// wait outlasts the process. Children that it leaves behind are killed before
// its number is given back: until then nobody else's group can have it.
func (p *Process) wait() {
	defer close(p.exited)
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	_ = unix.Kill(-p.pid, unix.SIGKILL) // fails when nobody is left, as it should be
	p.err = p.cmd.Wait()
}

// CPU is the time that the process and its children have spent on CPUs so far,
// all threads, user and system. Children that have ended do not count.
func (p *Process) CPU() (time.Duration, error) { return sum(p.pid, cpuTime) }

// Memory is what the process and its children hold, in bytes: the sum of their
// proportional set sizes.
func (p *Process) Memory() (int64, error) { return sum(p.pid, memory) }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Failure says with which status the process ended and what it wrote last; nil
// while it runs.
func (p *Process) Failure() error {
	select {
	case <-p.exited:
	default:
		return nil
	}
	status := "exit status 0"
	if p.err != nil {
		status = p.err.Error()
	}
	return fmt.Errorf("%s ended (%s): %s", filepath.Base(p.args[0]), status, p.tail())
}

// tail is the end of what the process wrote.
func (p *Process) tail() string {
	const enough = 1000
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-enough):]))
}

const (
	gentle = time.Second      // for an orderly end
	abrupt = 10 * time.Second // for the kernel to do away with it
)

// Stop ends the process and its children, and returns when it has ended: it
// asks, asks again (which smtplb takes for "now"), then kills. Stopping a
// second time does nothing.
func (p *Process) Stop() error {
	for range 2 {
		if err := p.signal(unix.SIGTERM); err != nil || p.within(gentle) {
			break
		}
	}
	if p.within(0) {
		return nil
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", p.args[0], err)
	}
	if !p.within(abrupt) {
		return fmt.Errorf("%s (process %d) does not end", p.args[0], p.pid)
	}
	return nil
}

// signal fails when the process has ended.
func (p *Process) signal(s os.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (p *Process) within(d time.Duration) bool {
	select {
	case <-p.exited: // first: a wait of nothing must not overlook it
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
		return false
	}
}
