package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// goSMTP is a server of github.com/emersion/go-smtp. Its log has errors only:
// what each client has said is added to it.
type goSMTP struct {
	net.Listener

	mu       sync.Mutex // guards the rest
	log      bytes.Buffer
	messages bytes.Buffer
}

// Write takes a line of the log.
func (g *goSMTP) Write(line []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.Write(line)
}

func (g *goSMTP) lines(*testing.T) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Split(g.log.String(), "\n")
}

func (g *goSMTP) arrived(_ *testing.T, id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return bytes.Contains(g.messages.Bytes(), []byte(id))
}

// Accept returns connections that tell at their end what was said.
func (g *goSMTP) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &overheard{Conn: conn, log: g}, nil
}

// overheard is a connection to a server that reads and closes it, each from
// one goroutine at a time.
type overheard struct {
	net.Conn
	log io.Writer

	mu    sync.Mutex
	said  []byte
	ended sync.Once
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, p[:min(n, max(0, 100-len(o.said)))]...) // enough for a check
	return n, err
}

func (o *overheard) Close() error {
	o.ended.Do(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		fmt.Fprintf(o.log, "client said %q\n", o.said)
	})
	return o.Conn.Close()
}

// NewSession makes goSMTP a [smtp.Backend] that takes everything.
func (g *goSMTP) NewSession(*smtp.Conn) (smtp.Session, error) { return goSession{g}, nil }

type goSession struct{ server *goSMTP }

func (goSession) Mail(string, *smtp.MailOptions) error { return nil }
func (goSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (goSession) Reset()                               {}
func (goSession) Logout() error                        { return nil }

func (s goSession) Data(r io.Reader) error {
	message, err := io.ReadAll(r)
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages.Write(message)
	return err
}

func startGoSMTP(t *testing.T) realRelay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &goSMTP{Listener: l}
	server := smtp.NewServer(g)
	server.Domain, server.ErrorLog = "go-smtp.test", log.New(g, "", 0)
	served := make(chan error, 1)
	go func() { served <- server.Serve(g) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	address, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return realRelay{
		address: address,
		log:     g.lines,
		arrived: g.arrived,
		ended:   regexp.MustCompile(`^client said `),
		clean:   regexp.MustCompile(`^client said "EHLO [^ ]+\\r\\nQUIT\\r\\n"$`),
		bad:     regexp.MustCompile(`^[^c]|^client said ""`),
	}
}

// go-smtp, a relay that Go programs have inside.
func TestRealRelayGoSMTP(t *testing.T) {
	t.Parallel()
	r := startGoSMTP(t)
	r.mustBearChecks(t, 10, "")
}
