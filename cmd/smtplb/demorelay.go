package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// demoMode is how a relay of the demo behaves.
type demoMode string

const (
	demoServes  demoMode = "serves again"
	demoStopped demoMode = "is stopped: it refuses connections"
	demoBusy    demoMode = "is busy: it greets 421"
	demoSilent  demoMode = "is silent: it accepts and does not greet"
)

// modeFor is what the verb that a person types asks of a relay; empty for one
// that is not known.
func modeFor(verb string) demoMode {
	switch verb {
	case "start":
		return demoServes
	case "stop":
		return demoStopped
	case "busy":
		return demoBusy
	case "silent":
		return demoSilent
	default:
		return ""
	}
}

// demoRelay is an SMTP server that prints what it receives and throws it away.
type demoRelay struct {
	name, site, address string
	out                 io.Writer

	mu     sync.Mutex
	mode   demoMode
	server *smtp.Server
	held   []net.Conn // silent connections, to be closed at the end
}

func startDemoRelay(name, site, address string, out io.Writer) (*demoRelay, error) {
	r := &demoRelay{name: name, site: site, address: address, out: out, mode: demoStopped}
	if err := r.set(demoServes); err != nil {
		return nil, err
	}
	return r, nil
}

// set changes the behaviour towards connections from now on; stopping ends
// those there are.
func (r *demoRelay) set(mode demoMode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if mode == demoStopped {
		r.stop()
	} else if r.server == nil {
		if err := r.listen(); err != nil {
			return err
		}
	}
	r.mode = mode
	return nil
}

// listen is called with mu held.
func (r *demoRelay) listen() error {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", r.address)
	if err != nil {
		return err
	}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &demoSession{relay: r}, nil
	}))
	s.Domain = r.name
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	s.ErrorLog = silentLog{}
	r.server = s
	go func() { _ = s.Serve(&demoGate{Listener: ln, relay: r}) }() // ends with its listener
	return nil
}

// stop is called with mu held.
func (r *demoRelay) stop() {
	if r.server != nil {
		_ = r.server.Close()
		r.server = nil
	}
	for _, c := range r.held {
		_ = c.Close()
	}
	r.held = nil
}

func (r *demoRelay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop()
}

// demoGate lets through to the server what the relay serves, and treats the
// rest as its mode wants.
type demoGate struct {
	net.Listener
	relay *demoRelay
}

func (g *demoGate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil || g.relay.takes(c) {
			return c, err
		}
	}
}

func (r *demoRelay) takes(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.mode {
	case demoBusy:
		_, _ = fmt.Fprintf(c, "421 4.3.2 %s is busy, try later\r\n", r.name)
		_ = c.Close()
		return false
	case demoSilent:
		r.held = append(r.held, c)
		return false
	default:
		return true
	}
}

// demoSession receives one client's messages.
type demoSession struct {
	relay *demoRelay
	from  string
	to    []string
}

// Mail notes the sender.
func (s *demoSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

// Rcpt notes a recipient.
func (s *demoSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

// Data reads a message and prints a line about it.
func (s *demoSession) Data(body io.Reader) error {
	counted := &countingReader{r: body}
	subject := "(no header)"
	if m, err := mail.ReadMessage(counted); err == nil {
		subject = m.Header.Get("Subject")
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return errors.New("message broke off")
	}
	_, _ = fmt.Fprintf(s.relay.out, "%s (%s) received %d bytes from <%s> to <%s>: %q\n",
		s.relay.name, s.relay.site, counted.n, s.from, strings.Join(s.to, ">, <"), subject)
	return nil
}

// Reset forgets a message that was begun.
func (s *demoSession) Reset() { s.from, s.to = "", nil }

// Logout ends the session.
func (s *demoSession) Logout() error { return nil }

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// silentLog drops what the server says about clients that leave early.
type silentLog struct{}

func (silentLog) Printf(string, ...any) {}
func (silentLog) Println(...any)        {}
