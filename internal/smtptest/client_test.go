package smtptest

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// script returns a relay that says text and closes.
func saying(t *testing.T, text string) *Relay {
	t.Helper()
	return Start(t, Script{Raw: func(c net.Conn) { _, _ = io.WriteString(c, text) }})
}

func TestGreetingIsReturnedVerbatim(t *testing.T) {
	for _, greeting := range []string{
		"220 relay.test\r\n", "220-a\r\n220-  b \r\n220 c\r\n", "220\r\n", "220 bare line end\n", "421 4.3.2 no\r\n",
	} {
		client := Dial(t, saying(t, greeting).Addr().String())
		for range 2 { // the second call reads nothing
			if got, err := client.Greeting(); got != greeting || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, greeting)
			}
		}
	}
}

func TestBrokenGreetingIsAnErrorWithThePartThatCame(t *testing.T) {
	for greeting, want := range map[string]string{
		"":                                  "EOF",
		"220 rel":                           "unexpected EOF",
		"220-one\r\n":                       "unexpected EOF",
		"SSH-2.0-OpenSSH_9.2\r\n":           "not an SMTP reply",
		"22\r\n":                            "not an SMTP reply",
		"2200 x\r\n":                        "not an SMTP reply",
		"220-a\r\n250 b\r\n":                "changes its code",
		"220 " + string(make([]byte, 5000)): "buffer full",
	} {
		client := Dial(t, saying(t, greeting).Addr().String())
		for range 2 {
			got, err := client.Greeting()
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(greeting, got) || (got == "") != (greeting == "") {
				t.Errorf("%.20q: got %.20q, %v, want an error with %q", greeting, got, err, want)
			}
		}
	}
}

func TestSilenceEndsWithTheTimeout(t *testing.T) {
	relay := Start(t, Script{Fault: HalfGreeting})
	client, err := DialTimeout(relay.Addr().String(), 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if got, err := client.Greeting(); got != "220 rel" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCommandReadsTheGreetingFirst(t *testing.T) {
	client := Dial(t, Start(t, Script{}).Addr().String())
	code, text, err := client.Cmd("EHLO %s", "client.test")
	if code != 250 || err != nil || !strings.HasPrefix(text, "relay.test\nPIPELINING\n") || !strings.HasSuffix(text, "\nCHUNKING") {
		t.Errorf("got %d %q %v", code, text, err)
	}
}

func TestRefusalSaysWhatWasRefusedAndTheSessionGoesOn(t *testing.T) {
	relay := Start(t, Script{})
	client := Dial(t, relay.Addr().String())
	for range 2 {
		var refused *ReplyError
		err := client.Send(Outgoing{To: []string{"a@b", ""}})
		if !errors.As(err, &refused) || refused.Code != 501 || refused.Command != "RCPT" || !strings.Contains(err.Error(), "RCPT refused: 501 5.5.4") {
			t.Fatalf("got %v", err)
		}
	}
	if err := client.Send(Outgoing{}); err != nil {
		t.Error(err)
	}
	if err := client.Quit(); err != nil {
		t.Error(err)
	}
	wantKept(t, relay, 1)
}

func TestQuitNoticesARelayThatDoesNotClose(t *testing.T) {
	relay := Start(t, Script{Raw: func(c net.Conn) {
		_, _ = io.WriteString(c, "220 x\r\n221 bye\r\nand more")
		_, _ = io.Copy(io.Discard, c)
	}})
	if err := Dial(t, relay.Addr().String()).Quit(); err == nil || !strings.Contains(err.Error(), "more bytes") {
		t.Errorf("got %v", err)
	}
}

func TestDialFromUsesThatAddress(t *testing.T) {
	relay := Start(t, Script{})
	client, err := DialFrom(netip.MustParseAddr("127.0.0.9"), relay.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Send(Outgoing{}); err != nil {
		t.Fatal(err)
	}
	if m := relay.Messages()[0]; m.Peer.Addr().String() != "127.0.0.9" || m.Source != m.Peer {
		t.Errorf("peer %v, source %v", m.Peer, m.Source)
	}
}

func TestDialFailureNamesTheAddress(t *testing.T) {
	relay := Start(t, Script{})
	relay.Stop()
	failures := new(recorder).run(func(tb TB) { Dial(tb, relay.Addr().String()) })
	if len(failures) != 1 || !strings.Contains(failures[0], relay.Addr().String()) {
		t.Errorf("got %q", failures)
	}
}
