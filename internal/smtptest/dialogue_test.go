package smtptest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"
)

const ehloReply = "250-relay.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n" +
	"250-ENHANCEDSTATUSCODES\r\n250-SIZE 0\r\n250 CHUNKING\r\n"

// talk greets, sends all of text at once, and returns all replies up to the
// relay's close.
func talk(t *testing.T, relay *Relay, text string) string {
	t.Helper()
	conn := rawDial(t, relay.Addr())
	wantRead(t, conn, "220 relay.test ESMTP\r\n")
	write(t, conn, text)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	replies, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %q: %v", replies, err)
	}
	return string(replies)
}

func TestReplyToEachCommand(t *testing.T) {
	const start = "HELO c\r\nMAIL FROM:<a@b>\r\n"
	const started = "250 relay.test\r\n250 2.1.0 ok\r\n"
	for _, c := range []struct{ name, send, want string }{
		{"ehlo", "ehlo c\r\n", ehloReply},
		{"simple ones", "NOOP\r\nRSET\r\nVRFY x\r\n", "250 2.0.0 ok\r\n250 2.0.0 ok\r\n252 2.1.5 cannot verify, send it\r\n"},
		{"unknown", "FOO\r\n\r\n", "500 5.5.2 unknown command\r\n500 5.5.2 unknown command\r\n"},
		{"nothing after quit", "QUIT\r\nNOOP\r\n", "221 2.0.0 bye\r\n"},
		{"mail before ehlo", "MAIL FROM:<a@b>\r\n", "503 5.5.1 say EHLO first\r\n"},
		{"nested mail", start + "MAIL FROM:<a@b>\r\n", started + "503 5.5.1 nested MAIL\r\n"},
		{"mail without a path", "HELO c\r\nMAIL a@b\r\n", "250 relay.test\r\n501 5.5.4 MAIL FROM:<address> expected\r\n"},
		{"bounce, parameters", "HELO c\r\nmail from: <> SIZE=5\r\n", "250 relay.test\r\n250 2.1.0 ok\r\n"},
		{"rcpt before mail", "RCPT TO:<a@b>\r\n", "503 5.5.1 MAIL first\r\n"},
		{"empty rcpt", start + "RCPT TO:<>\r\n", started + "501 5.5.4 RCPT TO:<address> expected\r\n"},
		{"data before rcpt", start + "DATA\r\n", started + "503 5.5.1 RCPT first\r\n"},
		{"bdat before rcpt is swallowed", "BDAT 6\r\nQUIT\r\nNOOP\r\n", "503 5.5.1 RCPT first\r\n250 2.0.0 ok\r\n"},
		{"bdat without a size", "BDAT x\r\nNOOP\r\n", "501 5.5.4 BDAT size [LAST] expected\r\n"},
		{"bdat of a negative size", "BDAT -1\r\n", "501 5.5.4 BDAT size [LAST] expected\r\n"},
		{
			"no data after bdat", start + "RCPT TO:<c@d>\r\nBDAT 1\r\nxDATA\r\nRCPT TO:<c@d>\r\n",
			started + "250 2.1.5 ok\r\n250 2.0.0 1 octets received\r\n503 5.5.1 BDAT has begun\r\n503 5.5.1 BDAT has begun\r\n",
		},
		{"a line too long", strings.Repeat("x", 10_000) + "\r\nNOOP\r\n", "500 5.5.6 line too long\r\n250 2.0.0 ok\r\n"},
		{"half a line", "NOOP\r\nNOO", "250 2.0.0 ok\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			relay := Start(t, Script{})
			if got := talk(t, relay, c.send); got != c.want {
				t.Errorf("sent %q\ngot  %q\nwant %q", c.send, got, c.want)
			}
			if n := relay.MessageCount(); n != 0 {
				t.Errorf("%d messages kept", n)
			}
		})
	}
}

func TestPipelinedMessagesAreKeptApart(t *testing.T) {
	relay := Start(t, Script{KeepData: true})
	const first, second = "X-Test-ID: one\r\n\r\n..\r\n.\r\n", "Subject: two\r\n\r\nbody\r\n"
	got := talk(t, relay, "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n"+
		"X-Test-ID: one\r\n\r\n...\r\n..\r\n.\r\n"+
		"MAIL FROM:<>\r\nRCPT TO:<g@h>\r\nBDAT 5\r\nSubjeBDAT 17 LAST\r\nct: two\r\n\r\nbody\r\nQUIT\r\n")
	want := ehloReply + "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go ahead\r\n250 2.0.0 ok\r\n" +
		"250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 5 octets received\r\n250 2.0.0 ok\r\n221 2.0.0 bye\r\n"
	if got != want {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
	messages := relay.Messages()
	if len(messages) != 2 {
		t.Fatalf("%d messages, want 2", len(messages))
	}
	m := messages[0]
	if m.ID != "one" || string(m.Data) != first || m.Sum != sha256.Sum256([]byte(first)) ||
		m.From != "a@b" || strings.Join(m.To, ",") != "c@d,e@f" || m.Size != int64(len(first)) {
		t.Errorf("first message: %+v", m)
	}
	m = messages[1]
	if m.Subject != "two" || string(m.Data) != second || m.From != "" || strings.Join(m.To, ",") != "g@h" {
		t.Errorf("second message: %+v", m)
	}
}

func TestRepliesDoNotWaitForTheRestOfALine(t *testing.T) {
	relay := Start(t, Script{})
	conn := rawDial(t, relay.Addr())
	write(t, conn, "NOOP\r\nNO")
	wantRead(t, conn, "220 relay.test ESMTP\r\n250 2.0.0 ok\r\n")
	write(t, conn, "OP\r\n")
	wantRead(t, conn, "250 2.0.0 ok\r\n")
}

func TestLargeMessageArrivesByteForByteAndIsNotHeld(t *testing.T) {
	relay := Start(t, Script{})
	body := Body("large", 10<<20)
	for _, chunked := range []bool{false, true} {
		client := Dial(t, relay.Addr().String())
		if err := client.Send(Outgoing{ID: "large", Body: body, Chunked: chunked}); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range relay.Messages() {
		if m.Size != 10<<20 || m.Sum != sha256.Sum256(body) || m.ID != "large" || m.Data != nil {
			t.Errorf("got %d bytes, ID %q, %d bytes held, sum %x", m.Size, m.ID, len(m.Data), m.Sum)
		}
	}
	if n := relay.MessageCount(); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestMessageCutBeforeItsEndIsNotKept(t *testing.T) {
	relay := Start(t, Script{})
	for _, send := range []string{"DATA\r\nhalf a message\r\n.", "BDAT 10 LAST\r\n123456789"} {
		talk(t, relay, "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"+send)
	}
	if n := relay.MessageCount(); n != 0 {
		t.Errorf("%d messages kept", n)
	}
}

func TestWhatFollowsTheFinalDot(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		relay := Start(t, Script{EndOfDataReply: "452 4.3.1 disk full\r\n"})
		client := Dial(t, relay.Addr().String())
		for range 2 { // the session goes on
			var refused *ReplyError
			if err := client.Send(Outgoing{Size: 100}); !errors.As(err, &refused) || refused.Code != 452 || Unsure(err) {
				t.Fatalf("Send gave %v, want the 452", err)
			}
		}
		wantKept(t, relay, 0)
	})
	t.Run("closed", func(t *testing.T) {
		relay := Start(t, Script{CloseAfterDot: true})
		if err := Dial(t, relay.Addr().String()).Send(Outgoing{Size: 100}); !errors.Is(err, io.EOF) || !Unsure(err) {
			t.Errorf("Send gave %v, want a close that leaves the message open", err)
		}
		wantKept(t, relay, 0)
	})
	t.Run("reset", func(t *testing.T) {
		relay := Start(t, Script{ResetAfterDot: true})
		if err := Dial(t, relay.Addr().String()).Send(Outgoing{Size: 100}); !errors.Is(err, syscall.ECONNRESET) || !Unsure(err) {
			t.Errorf("Send gave %v, want a reset that leaves the message open", err)
		}
		wantKept(t, relay, 0)
	})
	t.Run("late", func(t *testing.T) {
		relay := Start(t, Script{EndOfDataDelay: 1, ReplyDelay: 1})
		if err := Dial(t, relay.Addr().String()).Send(Outgoing{Size: 100}); err != nil {
			t.Error(err)
		}
		wantKept(t, relay, 1)
	})
}

func wantKept(t *testing.T, relay *Relay, want int) {
	t.Helper()
	if n := relay.MessageCount(); n != want {
		t.Errorf("%d messages kept, want %d", n, want)
	}
}

func TestSourceOfTheProxyHeaderIsKeptWithTheMessage(t *testing.T) {
	relay := Start(t, Script{Proxy: true})
	for _, c := range []struct {
		version              byte
		source, destination  string
		command              proxyproto.ProtocolVersionAndCommand
		wantSource, wantPeer bool
	}{
		{1, "192.0.2.7:4711", "192.0.2.25:25", proxyproto.PROXY, true, false},
		{2, "192.0.2.7:4711", "192.0.2.25:25", proxyproto.PROXY, true, false},
		{2, "[2001:db8::7]:4711", "[2001:db8::25]:25", proxyproto.PROXY, true, false},
		{2, "192.0.2.7:4711", "192.0.2.25:25", proxyproto.LOCAL, false, true},
	} {
		header := proxyproto.HeaderProxyFromAddrs(c.version, tcpAddr(c.source), tcpAddr(c.destination))
		header.Command = c.command
		client := Dial(t, relay.Addr().String())
		if _, err := header.WriteTo(client.Conn()); err != nil {
			t.Fatal(err)
		}
		if err := client.Send(Outgoing{Size: 100}); err != nil {
			t.Fatal(err)
		}
		messages := relay.Messages()
		m := messages[len(messages)-1]
		if m.Peer.String() != client.Conn().LocalAddr().String() {
			t.Errorf("peer %v, want %v", m.Peer, client.Conn().LocalAddr())
		}
		if (m.Source.String() == c.source) != c.wantSource || (m.Source == m.Peer) != c.wantPeer {
			t.Errorf("version %d: source %v, peer %v", c.version, m.Source, m.Peer)
		}
	}
}

func tcpAddr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func TestMissingProxyHeaderGetsNotAByte(t *testing.T) {
	relay := Start(t, Script{Proxy: true})
	conn := rawDial(t, relay.Addr())
	write(t, conn, "EHLO client.test\r\n")
	wantEOF(t, conn)
}

func TestFaultsComeAfterTheProxyHeader(t *testing.T) {
	relay := Start(t, Script{Proxy: true, Fault: CloseAtOnce})
	conn := rawDial(t, relay.Addr())
	write(t, conn, "PROXY TCP4 192.0.2.7 192.0.2.25 4711 25\r\n")
	wantEOF(t, conn)
}

func TestUnexpectedProxyHeaderIsAnUnknownCommand(t *testing.T) {
	relay := Start(t, Script{})
	if got := talk(t, relay, "PROXY TCP4 192.0.2.7 192.0.2.25 4711 25\r\n"); !strings.HasPrefix(got, "500 ") {
		t.Errorf("got %q", got)
	}
}

func TestHeaderFieldsEndWhereTheBodyBegins(t *testing.T) {
	head := []byte("subject:  a: b \r\nX-Test-ID-Not: x\r\n\r\nX-Test-ID: of the body\r\n")
	if got := headerField(head, "Subject"); got != "a: b" {
		t.Errorf("Subject %q", got)
	}
	if got := headerField(head, "X-Test-ID"); got != "" {
		t.Errorf("X-Test-ID %q", got)
	}
	if got := headerField(bytes.TrimSuffix(head, []byte("\r\n")), "None"); got != "" {
		t.Errorf("None %q", got)
	}
}
