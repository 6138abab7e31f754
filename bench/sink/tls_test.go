package sink

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/bench/mail"
	"smtplb/internal/smtptest"
)

func startTLS(t *testing.T, faults ...string) *Sink {
	t.Helper()
	config, err := SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, Config{TLS: config, Faults: mustFaults(t, faults...), Relays: []Relay{
		{Name: "a", Address: "127.0.0.1:0"}, {Name: "implicit", Address: "127.0.0.1:0", ImplicitTLS: true},
	}})
}

// secure is a client after its handshake.
func (c *client) secure(t *testing.T) *client {
	t.Helper()
	conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &client{conn, bufio.NewReader(conn)}
}

// upgraded is a client of relay a after STARTTLS.
func upgraded(t *testing.T, s *Sink) *client {
	t.Helper()
	c := dial(t, s.Address("a"))
	c.want(t, "", "220")
	c.want(t, "EHLO c\r\n", "250-")
	c.want(t, "STARTTLS\r\n", "220")
	return c.secure(t)
}

func TestMailOverTLS(t *testing.T) {
	s := startTLS(t, "rcpt=2ms")
	implicit := dial(t, s.Address("implicit")).secure(t)
	implicit.want(t, "", "220")
	for i, c := range []*client{upgraded(t, s), implicit} {
		if got, err := c.ask("EHLO c\r\n"); err != nil || strings.Contains(got, "STARTTLS") {
			t.Errorf("offers %q, %v", got, err)
		}
		c.want(t, "MAIL FROM:<a@b>\r\n", "250")
		c.want(t, "RCPT TO:<a@b>\r\n", "250")
		c.want(t, "DATA\r\n", "354")
		m := mail.NewComposer().Message(mail.ID{Run: 3, Seq: uint64(i)}, 500_000)
		if err := m.WriteDotted(c); err != nil {
			t.Fatal(err)
		}
		c.want(t, "", "250")
		c.want(t, "QUIT\r\n", "221")
		c.wantEnd(t)
	}
	if got := s.Receipts().Of(3); got.Total != 2 || len(got.Corrupt) > 0 {
		t.Errorf("%+v", got)
	}
	if total := s.Stats().Total(); total.Connections != 2 || total.Sessions != 2 || total.Faults["rcpt_delay"] != 2 {
		t.Errorf("%+v", total)
	}
}

func TestFaultsOverTLS(t *testing.T) {
	t.Run("close", func(t *testing.T) {
		c := upgraded(t, startTLS(t, "mail=close"))
		c.want(t, "EHLO c\r\n", "250")
		if _, err := io.WriteString(c, "MAIL FROM:<a@b>\r\n"+strings.Repeat("NOOP\r\n", 1000)); err != nil {
			t.Fatal(err)
		}
		c.wantEnd(t)
	})
	t.Run("reset", func(t *testing.T) {
		c := upgraded(t, startTLS(t, "noop=reset"))
		if got, err := c.ask("NOOP\r\n"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q and %v, want a reset", got, err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		c := upgraded(t, startTLS(t, "noop=silence"))
		if _, err := io.WriteString(c, "NOOP\r\n"); err != nil {
			t.Fatal(err)
		}
		c.closeWrite(t)
		if got, err := io.ReadAll(c.in); len(got) > 0 {
			t.Errorf("%q and %v, want nothing", got, err)
		}
	})
	t.Run("reply", func(t *testing.T) {
		s := startTLS(t, "greeting=450")
		c := dial(t, s.Address("implicit")).secure(t)
		c.want(t, "", "450")
	})
	t.Run("down", func(t *testing.T) {
		s := startTLS(t)
		c := upgraded(t, s)
		c.want(t, "EHLO c\r\n", "250")
		s.SetFaults(mustFaults(t, "connect=down"))
		if _, err := c.in.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want a reset", err)
		}
		if n := s.Stats().Relay("a").Faults["down"]; n != 1 {
			t.Errorf("%d sessions reset, want 1", n)
		}
	})
}

// RFC 3207, 4.2, and the mistake of many: what came before the handshake is not
// obeyed after it.
func TestNothingIsSmuggledIntoTLS(t *testing.T) {
	s := startTLS(t)
	c := dial(t, s.Address("a"))
	c.want(t, "", "220")
	c.want(t, "EHLO c\r\n", "250")
	c.want(t, "STARTTLS\r\nRSET\r\n", "220")
	secure := c.secure(t)
	secure.want(t, "NOOP\r\n", "250 2.0.0 ok")
	if n := secure.in.Buffered(); n > 0 {
		t.Errorf("%d octets more than the reply", n)
	}
}

func TestNoHandshake(t *testing.T) {
	s := startTLS(t)
	c := dial(t, s.Address("implicit"))
	if _, err := io.WriteString(c, "EHLO this is no handshake\r\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, c.in) // an alert, perhaps
	smtptest.Eventually(t, patience, func() bool { return s.Stats().Total().Open == 0 }, "the end of the session")
}

func TestCloseEndsSessionsOverTLS(t *testing.T) {
	s := startTLS(t, "noop=1h", "rset=silence")
	waiting, silent, idle := upgraded(t, s), upgraded(t, s), upgraded(t, s)
	shaking := dial(t, s.Address("implicit"))
	for c, words := range map[*client]string{waiting: "NOOP\r\n", silent: "RSET\r\n", idle: "EHLO c\r\n"} {
		if _, err := io.WriteString(c, words); err != nil {
			t.Fatal(err)
		}
	}
	smtptest.Eventually(t, patience, func() bool {
		total := s.Stats().Total()
		return total.Faults["noop_delay"] == 1 && total.Faults["rset_silence"] == 1 && total.Open == 4
	}, "the faults")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{waiting, silent, idle, shaking} {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c.in); errors.Is(err, syscall.EAGAIN) {
			t.Error("still open")
		}
	}
}
