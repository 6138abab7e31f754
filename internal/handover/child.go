package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Program is what to start, and how.
type Program struct {
	Path string
	Args []string // the first is its name
	Env  []string
}

// Again is the program that runs, by the path that it was started from, with the
// same arguments: what lies there now is another version, perhaps. Of the
// environment it leaves out what the service manager has meant for this process
// alone.
func Again() (Program, error) {
	path, err := os.Executable() // as it was at the start: Go keeps it
	if err != nil {
		return Program{}, err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "WATCHDOG_PID", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", variable:
			return true
		}
		return false
	})
	return Program{Path: path, Args: os.Args, Env: env}, nil
}

// File is a descriptor with a name for the other side.
type File struct {
	Name string
	FD   int
}

// Child is the new process, as the old one sees it.
type Child struct {
	*line
	pid   int
	pidfd int // -1 where the kernel has none
}

// Start starts the program and gives it duplicates of the files, under their
// names, and what it should know before it prepares: JSON, or nil. The caller ends
// with Release or Kill.
func Start(ctx context.Context, program Program, files []File, known []byte) (*Child, error) {
	if os.Getpid() == 1 {
		return nil, errors.New("process 1, of a container, cannot be replaced: when it ends, all end; stop and start the container")
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	greeting := &hello{Version: version, Known: known}
	fds := []uintptr{0, 1, 2, uintptr(ends[1])}
	for _, f := range files {
		greeting.Files = append(greeting.Files, f.Name)
		fds = append(fds, uintptr(f.FD))
	}
	c := &Child{line: newLine(ends[0]), pidfd: -1}
	c.pid, err = syscall.ForkExec(program.Path, program.Args, &syscall.ProcAttr{
		Env:   append(slices.Clone(program.Env), fmt.Sprintf("%s=%d", variable, controlFD)),
		Files: fds,
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, PidFD: &c.pidfd},
	})
	_ = unix.Close(ends[1])
	if err != nil {
		_ = c.file.Close()
		return nil, fmt.Errorf("start %s: %w", program.Path, err)
	}
	if err := c.send(ctx, &message{Hello: greeting}); err != nil {
		c.Kill()
		return nil, c.why(err)
	}
	return c, nil
}

// PID is the new process's.
func (c *Child) PID() int { return c.pid }

// Prepared waits until the new process is prepared: nothing that it still has to
// do may fail. It returns the names of the files that it will use.
func (c *Child) Prepared(ctx context.Context) (taken []string, err error) {
	m, err := c.receive(ctx)
	if err != nil {
		return nil, c.why(err)
	}
	if m.Prepared == nil {
		return nil, unexpected(m, "that it is prepared")
	}
	return m.Prepared.Taken, nil
}

// Give gives it the state, JSON, and waits until it serves.
func (c *Child) Give(ctx context.Context, state []byte) error {
	if err := c.send(ctx, &message{State: state}); err != nil {
		return c.why(err)
	}
	m, err := c.receive(ctx)
	if err != nil {
		return c.why(err)
	}
	if !m.Serving {
		return unexpected(m, "that it serves")
	}
	return nil
}

// Release leaves the new process on its own. It can be sent signals still.
func (c *Child) Release() {
	_ = c.send(context.Background(), &message{Released: true}) // it goes by the end of the connection, too
	_ = c.file.Close()
}

// Signal sends it a signal.
func (c *Child) Signal(s syscall.Signal) {
	if c.pidfd >= 0 {
		_ = unix.PidfdSendSignal(c.pidfd, s, nil, 0) // it has ended, else
		return
	}
	_ = unix.Kill(c.pid, s)
}

// Kill ends the new process, if it has not ended.
func (c *Child) Kill() {
	c.Signal(unix.SIGKILL)
	_ = c.file.Close()
	c.Forget()
}

// Forget gives up what Signal needs.
func (c *Child) Forget() {
	if c.pidfd >= 0 {
		_ = unix.Close(c.pidfd)
		c.pidfd = -1
	}
}

// why puts the end of the connection into words.
func (c *Child) why(err error) error {
	if errors.Is(err, errEnded) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("the new process, %d, has ended before it was ready, without a reason", c.pid)
	}
	return err
}
