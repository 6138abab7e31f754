package probes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the relay's end of one connection, played by a test's script. What
// goes wrong in a script is its error.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// script plays a relay. It need not close the connection.
type script func(*peer) error

// ending is how a script meets its test again.
type ending struct {
	checked chan struct{} // closed by the test: the check is over
	err     chan error    // holds what went wrong in the script
}

func newEnding() ending { return ending{make(chan struct{}), make(chan error, 1)} }

// mustEnd is called after the check, and fails if the relay was treated badly.
func mustEnd(t *testing.T, e ending) {
	t.Helper()
	close(e.checked)
	if err := <-e.err; err != nil {
		t.Error("the relay:", err)
	}
}

// relay plays a script for one connection on loopback, then ends its side of it.
// However the script goes, the client must not have reset the connection.
func relay(t *testing.T, play script) (Target, ending) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := newEnding()
	go func() {
		c, err := l.Accept()
		if err != nil {
			ended.err <- err
			return
		}
		defer c.Close()
		p := &peer{Conn: c, in: bufio.NewReader(c)}
		err = play(p)
		_ = c.(*net.TCPConn).CloseWrite() // fails after a reset, of which unreset tells
		<-ended.checked
		ended.err <- errors.Join(err, p.unreset())
	}()
	t.Cleanup(func() { l.Close() })
	return Target{Name: "relay-a", Address: l.Addr().String(), HELO: "lb.example"}, ended
}

// piped is a dialer for scripts without a network, so that hours pass in a
// bubble of testing/synctest.
func piped(play script) (dialer, ending) {
	ended := newEnding()
	return func(context.Context, Target) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			ended.err <- play(&peer{Conn: theirs, in: bufio.NewReader(theirs)})
		}()
		return ours, nil
	}, ended
}

func (p *peer) say(text string) error {
	_, err := io.WriteString(p, text)
	return err
}

func (p *peer) hear(want string) error {
	got, err := p.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("want %q, got %q: %w", want, got, err)
	}
	if got != want+"\r\n" {
		return fmt.Errorf("want %q, got %q", want, got)
	}
	return nil
}

// quiet fails if the client says anything within d.
func (p *peer) quiet(d time.Duration) error {
	if err := p.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	b, err := p.in.Peek(1)
	if len(b) > 0 {
		return fmt.Errorf("the client spoke out of turn: %q", b)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("want silence, got %w", err)
	}
	return p.SetReadDeadline(time.Time{})
}

// farewell fails unless the client says nothing more and ends with a FIN.
func (p *peer) farewell() error {
	rest, err := io.ReadAll(p.in)
	if err != nil {
		return fmt.Errorf("want an orderly end, got %w", err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("want nothing more, got %q", rest)
	}
	return nil
}

// steps plays a dialogue: "< text" is said as it is, "> line" is awaited. It
// then waits for the client's end.
func steps(all ...string) script {
	return func(p *peer) error {
		if err := p.play(all); err != nil {
			return err
		}
		return p.farewell()
	}
}

func (p *peer) play(all []string) error {
	for _, step := range all {
		var err error
		if text, ok := strings.CutPrefix(step, "< "); ok {
			err = p.say(text)
		} else {
			err = p.hear(strings.TrimPrefix(step, "> "))
		}
		if err != nil {
			return fmt.Errorf("at %q: %w", step, err)
		}
	}
	return nil
}

// unreset fails if a reset has come from the client. A read need not show it:
// where a FIN came before the reset, reads end as with the FIN alone.
func (p *peer) unreset() error {
	raw, err := p.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var pending int
	err = raw.Control(func(fd uintptr) {
		pending, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	})
	if errors.Is(err, net.ErrClosed) {
		return nil // the script closed it
	}
	if pending != 0 {
		return fmt.Errorf("the client reset the connection: %w", unix.Errno(pending))
	}
	return err
}

// cut ends the connection with a reset.
func (p *peer) cut() error {
	if err := p.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return p.Close()
}

// advance lets time pass in a bubble.
func advance(d time.Duration) { <-time.After(d) }
