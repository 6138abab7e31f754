package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// console is where a person answers setup. It gives up when the appliance has
// been set up elsewhere.
type console struct {
	ctx   context.Context
	s     *settingUp
	fd    int           // of a terminal, or -1
	was   *unix.Termios // to be brought back
	lines chan string
	ended chan struct{} // closed when nothing more is read
	err   error         // why not; nil: it ended
}

// newConsole begins to read lines; what reads them goes on until the input ends,
// or the process.
func newConsole(ctx context.Context, s *settingUp) *console {
	c := &console{ctx: ctx, s: s, fd: -1, lines: make(chan string), ended: make(chan struct{})}
	if f, ok := s.std.in.(*os.File); ok {
		if was, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			c.fd, c.was = int(f.Fd()), was
		}
	}
	const longest = 64 << 10
	go func() {
		defer close(c.ended)
		in := bufio.NewScanner(s.std.in)
		in.Buffer(nil, longest)
		for in.Scan() {
			select {
			case c.lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
		c.err = in.Err() // or the end
	}()
	return c
}

func (c *console) line() (string, error) {
	const look = time.Second
	pace := time.NewTicker(look)
	defer pace.Stop()
	for {
		select {
		case text := <-c.lines:
			return text, nil
		case <-c.ended:
			return "", errors.Join(errors.New("the answers end before the last question: nothing was written"), c.err)
		case <-c.ctx.Done():
			return "", errors.New("interrupted: nothing was written")
		case <-pace.C:
			if c.s.firstBoot && c.s.done() {
				return "", errElsewhere
			}
		}
	}
}

// quiet has the terminal show nothing of what is typed.
func (c *console) quiet() error {
	if c.fd < 0 {
		return nil
	}
	quiet := *c.was
	quiet.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(c.fd, unix.TCSETS, &quiet)
}

// secret is a line that is typed after quiet.
func (c *console) secret() (string, error) {
	defer c.restore()
	return c.line()
}

// restore brings back the terminal as it was.
func (c *console) restore() {
	if c.fd >= 0 {
		_ = unix.IoctlSetTermios(c.fd, unix.TCSETS, c.was) // it is gone, then
	}
}
