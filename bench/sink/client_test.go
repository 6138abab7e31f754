package sink

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/bench/mail"
	"smtplb/internal/smtptest"
)

// start runs a sink until the test ends, which must leave nothing behind.
func start(t *testing.T, cfg Config) *Sink {
	t.Helper()
	smtptest.CheckDescriptors(t)
	if cfg.Relays == nil {
		cfg.Relays = []Relay{{Name: "a", Address: "127.0.0.1:0"}, {Name: "b", Address: "127.0.0.1:0"}}
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if open := s.Stats().Total().Open; open != 0 {
			t.Errorf("%d connections open after Close", open)
		}
	})
	return s
}

// client is one that does as it is told and hides nothing.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, to netip.AddrPort) *client {
	t.Helper()
	c, err := connect(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func connect(to netip.AddrPort) (*client, error) {
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReader(conn)}, nil
}

// reply reads a reply of one line or more, without line ends.
func (c *client) reply() (string, error) {
	var lines []string
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return line, err
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' || line[0] > '9' {
			return strings.Join(lines, "\n"), nil
		}
	}
}

func (c *client) ask(words string) (string, error) {
	if _, err := io.WriteString(c, words); err != nil {
		return "", err
	}
	return c.reply()
}

// want fails the test unless the reply to words begins so.
func (c *client) want(t *testing.T, words, reply string) {
	t.Helper()
	if got, err := c.ask(words); err != nil || !strings.HasPrefix(got, reply) {
		t.Fatalf("to %q: %q and %v, want %q", words, got, err, reply)
	}
}

// wantEnd fails unless the connection ends in good order without a word.
func (c *client) wantEnd(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		t.Fatalf("read %q and %v, want the end of the connection", rest, err)
	}
}

func (c *client) closeWrite(t *testing.T) {
	t.Helper()
	conn := c.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// failed names how a step went wrong, in the words of Fault.Kind.
func failed(stage, reply string, err error) string {
	switch {
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return stage + "_reset"
	case errors.Is(err, io.EOF):
		return stage + "_closed"
	case err != nil:
		return stage + " " + err.Error()
	case strings.HasPrefix(reply, "SSH-"):
		return "not_smtp"
	case strings.HasPrefix(reply, "4") || strings.HasPrefix(reply, "5"):
		return stage + "_" + reply[:1] + "xx"
	}
	return ""
}

// sent is what a client knows of a message when its session is over.
type sent struct {
	kind             string // how the session failed; "" if it did not
	accepted, unsure bool
}

// deliver is a whole session with one message.
func deliver(to netip.AddrPort, m *mail.Message, chunked bool) (result sent) {
	c, err := connect(to)
	if errors.Is(err, syscall.ECONNRESET) { // it was fast enough to reach the client in connect
		return sent{kind: "greeting_reset"}
	}
	if err != nil {
		return sent{kind: "connect " + err.Error()}
	}
	defer c.Close()
	var content bytes.Buffer
	if chunked {
		fmt.Fprintf(&content, "BDAT %d LAST\r\n", m.Size())
		err = m.WriteContent(&content)
	} else {
		err = m.WriteDotted(&content)
	}
	if err != nil {
		return sent{kind: err.Error()}
	}
	for _, step := range [...]struct{ stage, words string }{
		{"greeting", ""}, {"ehlo", "EHLO c\r\n"}, {"mail", "MAIL FROM:<a@client.example>\r\n"}, {"rcpt", "RCPT TO:<b@relay.example>\r\n"},
		{"data", "DATA\r\n"}, {"content", content.String()}, {"quit", "QUIT\r\n"},
	} {
		if step.stage == "data" && chunked {
			continue
		}
		reply, err := c.ask(step.words)
		if step.stage == "content" {
			result.accepted = strings.HasPrefix(reply, "250")
			result.unsure = err != nil
		}
		if result.kind = failed(step.stage, reply, err); result.kind != "" {
			return result
		}
	}
	if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
		result.kind = "after QUIT"
	}
	return result
}
