package e2e

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// badClient is a client that misbehaves; it says what it must see on its way.
type badClient struct {
	name  string
	relay smtptest.Script
	act   func(t *testing.T, client *smtptest.Client)
	end   string // or several, where the two ends race
	asked string
}

// badClients are all the ways in which a client can go wrong.
func badClients() []badClient {
	slow := smtptest.Script{GreetingDelay: 300 * time.Millisecond}
	good := smtptest.Script{}
	return []badClient{
		{"says nothing and leaves", good, greeted, "client_closed", "relay-a:ok"},
		{"leaves before the greeting", slow, func(*testing.T, *smtptest.Client) {}, "client_closed client_reset", "relay-a:ok"},
		{"resets before the greeting", slow, cut, "client_reset", ""},
		{"resets after the greeting", good, then(greeted, cut), "client_reset", "relay-a:ok"},
		{"resets within a command", good, then(greeted, say("MAIL FR"), cut), "client_reset", "relay-a:ok"},
		{"resets within the message", good, then(inData, say("half a mess"), cut), "client_reset", "relay-a:ok"},
		{"resets after the dot", smtptest.Script{EndOfDataDelay: 300 * time.Millisecond}, then(inData, say("a message\r\n.\r\n"), cut), "client_reset", "relay-a:ok"},
		{"closes within the message", good, then(inData, say("half a mess")), "client_closed", "relay-a:ok"},
		{"half-closes at once", good, then(shut, toTheEnd), "client_closed", "relay-a:ok"},
		{"half-closes within the message", good, then(inData, say("half a mess"), shut, toTheEnd), "client_closed", "relay-a:ok"},
		{"half-closes after QUIT", good, then(greeted, say("QUIT\r\n"), shut, toTheEnd), "client_closed backend_closed", "relay-a:ok"}, // who is faster
		{"speaks before the greeting", slow, then(say("EHLO a.test\r\nNOOP\r\nQUIT\r\n"), toTheEnd), "backend_closed", "relay-a:ok"},
		{"sends garbage", good, then(say(strings.Repeat("\x00\xff\x80garbage\r\n", 50)+"QUIT\r\n"), toTheEnd), "backend_closed", "relay-a:ok"},
		{"sends a line without end", good, then(greeted, say(strings.Repeat("x", 1<<20)), cut), "client_reset backend_closed backend_reset", "relay-a:ok"},
		{"never reads", good, then(greeted, flood), "client_reset client_closed backend_closed backend_reset", "relay-a:ok"},
	}
}

// Whatever a client does, at whatever stage, the process stays, the session's
// line says how it ended, and its slot is free again: the relay takes one
// session at a time, so that the next client gets in only then.
func TestBadClientHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	for _, bad := range badClients() {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			relay := smtptest.Start(t, bad.relay)
			health := smtptest.Start(t, smtptest.Script{})
			p := start(t, site{
				pool:     "probe: {address: \"" + health.Addr().String() + "\"}",
				backends: []string{backend("relay-a", relay.Addr(), "max_sessions: 1")},
			})
			sockets := p.sockets(t)
			client := smtptest.Dial(t, p.address)
			bad.act(t, client)
			client.Close()
			s := p.only(t)
			if !strings.Contains(bad.end, s.End) || s.asked() != bad.asked {
				t.Errorf("session ended as %s, asked %s; want %s, %s", s.End, s.asked(), bad.end, bad.asked)
			}
			relay.SetScript(smtptest.Script{})
			for range 2 {
				if err := visit(p.address); err != nil {
					t.Errorf("the next client: %v", err)
				}
				smtptest.Eventually(t, patience, func() bool { return p.shown(t).Sessions.Open == 0 }, "the slot is free")
			}
			smtptest.Eventually(t, patience, func() bool { return p.sockets(t) <= sockets }, "as many sockets as before, %d", sockets)
			if n := relay.MessageCount(); n > 0 && bad.name != "resets after the dot" {
				t.Errorf("the relay took %d messages of a client that sent none whole", n)
			}
		})
	}
}

// The steps that bad clients are made of.

func then(steps ...func(*testing.T, *smtptest.Client)) func(*testing.T, *smtptest.Client) {
	return func(t *testing.T, client *smtptest.Client) {
		for _, step := range steps {
			step(t, client)
		}
	}
}

func greeted(t *testing.T, client *smtptest.Client) {
	t.Helper()
	if _, err := client.Greeting(); err != nil {
		t.Fatal(err)
	}
}

func inData(t *testing.T, client *smtptest.Client) {
	t.Helper()
	for _, step := range []struct {
		command string
		code    int
	}{{"EHLO a.test", 250}, {"MAIL FROM:<a@a.test>", 250}, {"RCPT TO:<b@b.test>", 250}, {"DATA", 354}} {
		if code, text, err := client.Cmd("%s", step.command); err != nil || code != step.code {
			t.Fatalf("%s: %d %s %v", step.command, code, text, err)
		}
	}
}

func say(text string) func(*testing.T, *smtptest.Client) {
	return func(t *testing.T, client *smtptest.Client) {
		t.Helper()
		_ = client.Conn().SetWriteDeadline(time.Now().Add(patience))
		var broken net.Error
		if _, err := io.WriteString(client.Conn(), text); errors.As(err, &broken) && broken.Timeout() {
			t.Fatal(err) // a relay that hangs up on nonsense is fine
		}
	}
}

// cut closes with a reset: SO_LINGER with a time of zero, socket(7).
func cut(t *testing.T, client *smtptest.Client) {
	t.Helper()
	if err := client.Conn().SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
}

func shut(t *testing.T, client *smtptest.Client) {
	t.Helper()
	if err := client.Conn().CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// toTheEnd reads until the other side is done, in good order.
func toTheEnd(t *testing.T, client *smtptest.Client) {
	t.Helper()
	_ = client.Conn().SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, client.Conn()); err != nil {
		t.Errorf("read to the end: %v", err)
	}
}

// flood asks and asks without reading an answer, until nothing more goes in.
func flood(t *testing.T, client *smtptest.Client) {
	t.Helper()
	block := []byte(strings.Repeat("NOOP\r\n", 10000))
	for {
		_ = client.Conn().SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := client.Conn().Write(block); err != nil {
			return
		}
	}
}
