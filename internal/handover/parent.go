package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Parent is the old process, as the new one sees it.
type Parent struct {
	*line
	files []File
	known []byte
}

// helloTime is how long the old process may take to say what it gives: it has
// written that when it started this one.
const helloTime = 10 * time.Second

// Inherit returns the old process that has started this one, and its files; nil
// if there is none. It is to be called once, before any other descriptor may be
// inherited by somebody.
func Inherit() (*Parent, error) {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil //nolint:nilnil // there is none
	}
	_ = os.Unsetenv(variable)
	fd, err := strconv.Atoi(text)
	if err != nil || fd != controlFD {
		return nil, fmt.Errorf("%s is %q, want %d: it is not for people to set", variable, text, controlFD)
	}
	if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return nil, fmt.Errorf("%s=%d: %w", variable, fd, err)
	}
	unix.CloseOnExec(fd)
	p := &Parent{line: newLine(fd)}
	ctx, cancel := context.WithTimeout(context.Background(), helloTime)
	defer cancel()
	m, err := p.receive(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the process to replace: %w", err)
	case m.Hello == nil:
		return nil, unexpected(m, "what it gives")
	}
	for i, name := range m.Hello.Files {
		unix.CloseOnExec(firstFD + i)
		p.files = append(p.files, File{name, firstFD + i})
	}
	p.known = m.Hello.Known
	if m.Hello.Version != version {
		err := fmt.Errorf("the process to replace hands over by version %d, this one by %d: stop and start", m.Hello.Version, version)
		p.Failed(err)
		return nil, err
	}
	return p, nil
}

// Files are those of the old process; they are the caller's.
func (p *Parent) Files() []File { return p.files }

// Known is what the old process has given to Start; nil if that is nothing.
func (p *Parent) Known() []byte { return p.known }

// Prepared says that nothing may fail any more, with the names of the files that
// are used, and waits for the state.
func (p *Parent) Prepared(ctx context.Context, taken []string) (state []byte, err error) {
	if err := p.send(ctx, &message{Prepared: &prepared{taken}}); err != nil {
		return nil, err
	}
	m, err := p.receive(ctx)
	if err != nil {
		return nil, err
	}
	if m.State == nil {
		return nil, unexpected(m, "its state")
	}
	return m.State, nil
}

// Serving says that this process serves, and returns when the old one has
// released it.
func (p *Parent) Serving(ctx context.Context) error {
	defer p.close()
	if err := p.send(ctx, &message{Serving: true}); err != nil {
		return err
	}
	m, err := p.receive(ctx)
	if errors.Is(err, errEnded) {
		return nil // it has no say any more
	}
	if err != nil {
		return err
	}
	if !m.Released {
		return unexpected(m, "to be released")
	}
	return nil
}

func (p *Parent) close() { _ = p.file.Close() } // nothing follows from its failing

// Failed says why this process gives up; it is to exit then.
func (p *Parent) Failed(err error) {
	_ = p.send(context.Background(), &message{Failed: err.Error()}) // it sees the end
	p.close()
}
