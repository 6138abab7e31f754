package smtptest

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestEveryFaultLooksOnTheWireAsItsNameSays(t *testing.T) {
	greetings := map[string]string{
		"421":          "421 4.3.2 relay.test shutting down\r\n",
		"450":          "450 4.7.1 relay.test try again later\r\n",
		"554":          "554 5.7.1 relay.test no service for you\r\n",
		"not_smtp":     "SSH-2.0-OpenSSH_9.2\r\n",
		"endless":      "220 " + strings.Repeat("x", 65532),
		"multi_line":   "220-relay.test ESMTP\r\n220-no spam here\r\n220 ready\r\n",
		"byte_by_byte": "220 relay.test ESMTP\r\n",
		// What half a greeting has to show before its silence.
		"half_greeting": "220 rel",
	}
	for _, fault := range Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			relay := Start(t, fault.Script)
			if fault.Outcome == "reset" {
				wantReset(t, relay)
				return
			}
			conn := rawDial(t, relay.Addr())
			wantRead(t, conn, greetings[fault.Name])
			switch fault.Outcome {
			case "closed":
				wantEOF(t, conn)
			case "greeting_timeout", "not_smtp":
				wantSilenceUntilClosed(t, relay, conn)
			case "greeting_4xx", "greeting_5xx":
				if fault.Name != "421" {
					write(t, conn, "EHLO client.test\r\nQUIT\r\n")
					wantRead(t, conn, "503 5.5.1 only QUIT is possible\r\n221 2.0.0 bye\r\n")
				}
				wantEOF(t, conn)
			case "ok":
				write(t, conn, "QUIT\r\n")
				wantRead(t, conn, "221 2.0.0 bye\r\n")
				wantEOF(t, conn)
			default:
				t.Fatalf("outcome %q is not in the vocabulary", fault.Outcome)
			}
		})
	}
}

// wantReset connects and reads; either may be the one that meets the reset.
func wantReset(t *testing.T, relay *Relay) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", relay.Addr().String(), patience)
	if err == nil {
		defer func() { _ = conn.Close() }()
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

// wantSilenceUntilClosed shows that the relay neither speaks nor leaves: the
// first thing to happen after the client's own half-close is the relay's close.
func wantSilenceUntilClosed(t *testing.T, relay *Relay, conn *net.TCPConn) {
	t.Helper()
	write(t, conn, "EHLO client.test\r\n")
	Eventually(t, patience, func() bool { return relay.Active() == 1 }, "not accepted")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantEOF(t, conn)
	Eventually(t, patience, func() bool { return relay.Active() == 0 }, "the connection is still counted")
}

func TestClosingFaultIsNoResetWhenTheClientSpokeFirst(t *testing.T) {
	relay := Start(t, Script{Fault: CloseAtOnce, GreetingDelay: 20 * time.Millisecond})
	conn := rawDial(t, relay.Addr())
	write(t, conn, "EHLO too.early\r\n")
	wantEOF(t, conn)
}

func TestByteByByteArrivesInSingleBytes(t *testing.T) {
	relay := Start(t, Script{Greeting: "220 x\r\n", ByteByByte: 20 * time.Millisecond})
	conn := rawDial(t, relay.Addr())
	var got []byte
	reads := 0
	for buffer := make([]byte, 64); len(got) < 7; reads++ {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buffer[:n]...)
	}
	// A busy machine may join some bytes, not all of them.
	if string(got) != "220 x\r\n" || reads < 2 {
		t.Fatalf("read %q in %d reads", got, reads)
	}
}

func TestDelayedGreetingForgetsAClientThatLeft(t *testing.T) {
	relay := Start(t, Script{GreetingDelay: time.Hour})
	conn := rawDial(t, relay.Addr())
	Eventually(t, patience, func() bool { return relay.Connections() == 1 }, "not accepted")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, patience, func() bool { return relay.Active() == 0 }, "still held")
}

func TestEarlyBytesAreAnsweredAfterTheDelayedGreeting(t *testing.T) {
	relay := Start(t, Script{GreetingDelay: 30 * time.Millisecond})
	conn := rawDial(t, relay.Addr())
	write(t, conn, "NOOP\r\n")
	wantRead(t, conn, "220 relay.test ESMTP\r\n250 2.0.0 ok\r\n")
}

func TestStoppedRelayResetsItsSessionsAndRefusesNewOnes(t *testing.T) {
	relay := Start(t, Script{})
	conn := rawDial(t, relay.Addr())
	wantRead(t, conn, "220 relay.test ESMTP\r\n")
	relay.Stop()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("open session read %v, want a reset", err)
	}
	if n := relay.Active(); n != 0 {
		t.Errorf("%d connections open after Stop", n)
	}
	wantRefused(t, relay)
}

func wantRefused(t *testing.T, relay *Relay) {
	t.Helper()
	conn, err := net.Dial("tcp", relay.Addr().String())
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("connect gave %v, want refused", err)
	}
}

func TestStopWakesASessionInItsDelay(t *testing.T) {
	for name, script := range map[string]Script{
		"greeting":    {GreetingDelay: time.Hour},
		"single byte": {ByteByByte: time.Hour},
		"reply":       {ReplyDelay: time.Hour},
		"silence":     {Fault: Silent},
		"raw":         {Raw: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
	} {
		t.Run(name, func(t *testing.T) {
			relay := Start(t, script)
			conn := rawDial(t, relay.Addr())
			write(t, conn, "NOOP\r\n")
			Eventually(t, patience, func() bool { return relay.Active() == 1 }, "not accepted")
			relay.Close() // hangs if the session is not woken
			if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read gave %v, want a reset", err)
			}
		})
	}
}

func TestRelayThatStopsListeningServesOpenSessionsToTheirEnd(t *testing.T) {
	relay := Start(t, Script{})
	client := Dial(t, relay.Addr().String())
	if _, err := client.Greeting(); err != nil {
		t.Fatal(err)
	}
	relay.StopListening()
	wantRefused(t, relay)
	if err := client.Send(Outgoing{ID: "late", Size: 1000}); err != nil {
		t.Error(err)
	}
	if err := client.Quit(); err != nil {
		t.Error(err)
	}
	if n := relay.MessageCount(); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestRestartedRelayIsBackOnItsPort(t *testing.T) {
	relay := Start(t, Script{})
	for range 5 {
		open := Dial(t, relay.Addr().String())
		if err := open.Send(Outgoing{Size: 100}); err != nil {
			t.Fatal(err)
		}
		relay.Stop()
		wantRefused(t, relay)
		if err := relay.Restart(); err != nil {
			t.Fatal(err)
		}
		if err := relay.Restart(); err != nil {
			t.Fatalf("Restart of a running relay: %v", err)
		}
	}
	if relay.MessageCount() != 5 || relay.Connections() != 5 {
		t.Errorf("%d messages on %d connections, want 5 on 5", relay.MessageCount(), relay.Connections())
	}
	relay.Close()
	if relay.Restart() == nil {
		t.Error("a closed relay restarted")
	}
}

func TestNobodyTakesThePortOfAStoppedRelay(t *testing.T) {
	relay := Start(t, Script{})
	relay.Stop()
	// The port is explicit here; a random one would hit it once in 28,000 times.
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(relay.Addr())}
	other := Start(t, Script{})
	if conn, err := dialer.Dial("tcp", other.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("an outgoing connection took the port")
	}
	if err := relay.Restart(); err != nil {
		t.Error(err)
	}
}

func TestStopFromWithinAMessageDoesNotHang(t *testing.T) {
	var relay *Relay
	var once sync.Once
	relay = Start(t, Script{})
	relay.SetScript(Script{OnMessage: func(Message) { once.Do(relay.Stop) }})
	err := Dial(t, relay.Addr().String()).Send(Outgoing{ID: "last", Size: 500})
	if !Unsure(err) {
		t.Errorf("Send gave %v, want an error that leaves the message open", err)
	}
	if n := relay.MessageCount(); n != 1 {
		t.Errorf("%d messages, want the 1 taken before the stop", n)
	}
}

func TestNewScriptLeavesOpenSessionsAlone(t *testing.T) {
	relay := Start(t, Script{})
	old := Dial(t, relay.Addr().String())
	if _, err := old.Greeting(); err != nil {
		t.Fatal(err)
	}
	relay.SetScript(Script{Greeting: "421 4.3.2 later\r\n", EndOfDataReply: "451 4.3.0 no\r\n"})
	if err := old.Send(Outgoing{Size: 100}); err != nil {
		t.Errorf("old session: %v", err)
	}
	var refused *ReplyError
	err := Dial(t, relay.Addr().String()).Send(Outgoing{Size: 100})
	if !errors.As(err, &refused) || refused.Code != 421 || refused.Command != "greeting" {
		t.Errorf("new session: %v, want a refusal by the greeting", err)
	}
}

func TestRawTakesTheBareConnection(t *testing.T) {
	relay := Start(t, Script{Proxy: true, Raw: func(c net.Conn) { _, _ = io.Copy(c, c) }})
	conn := rawDial(t, relay.Addr())
	write(t, conn, "any bytes at all")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, conn, "any bytes at all")
	wantEOF(t, conn)
}

func TestListenNamesTheAddressThatIsWrong(t *testing.T) {
	taken := Start(t, Script{})
	for _, address := range []string{"127.0.0.1:notaport", "127.0.0.1", "192.0.2.1:0", taken.Addr().String()} {
		relay, err := Listen(address, Script{})
		if err == nil {
			relay.Close()
			t.Errorf("Listen(%q) succeeded", address)
		} else if !strings.Contains(err.Error(), address) {
			t.Errorf("Listen(%q): %v, which does not name the address", address, err)
		}
	}
}

func TestListenWithoutAHostMeansAllOfIPv4(t *testing.T) {
	relay, err := Listen(":0", Script{})
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.5"), relay.Addr().Port())
	wantRead(t, rawDial(t, to), "220 ")
}

func TestManySessionsAtOnceLeaveNothingBehind(t *testing.T) {
	CheckDescriptors(t)
	relay := Start(t, Script{})
	var ledger Ledger
	var clients sync.WaitGroup
	for worker := range 20 {
		clients.Go(func() {
			for n := range 25 {
				if err := oneSession(relay, &ledger, worker*25+n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	report := ledger.Compare(relay.Messages())
	if err := report.Err(); err != nil || report.Delivered != 500 || relay.Connections() != 500 {
		t.Errorf("%d delivered on %d connections, want 500: %v", report.Delivered, relay.Connections(), err)
	}
	Eventually(t, patience, func() bool { return relay.Active() == 0 }, "sessions still open")
}

func oneSession(relay *Relay, ledger *Ledger, n int) error {
	client, err := DialTimeout(relay.Addr().String(), patience)
	if err != nil {
		return err
	}
	m := Outgoing{ID: string(rune('A'+n%26)) + "-" + time.Duration(n).String(), Size: 4096, Chunked: n%2 == 0}
	if err := ledger.Record(m, client.Send(m)); err != nil {
		client.Close()
		return err
	}
	return client.Quit()
}

func TestRelayTellsWhoConnects(t *testing.T) {
	seen := make(chan netip.AddrPort, 1)
	relay := Start(t, Script{OnConnect: func(peer netip.AddrPort) { seen <- peer }, Fault: Silent})
	client, err := DialFrom(netip.MustParseAddr("127.0.0.9"), relay.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if peer := <-seen; peer.String() != client.Conn().LocalAddr().String() {
		t.Errorf("the relay was told of %s, want %s", peer, client.Conn().LocalAddr())
	}
}
