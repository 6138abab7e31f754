package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// One relay of two goes wrong in each way there is, while 20 sessions a second
// start whether or not those before have ended. It stays in use all the time:
// that checks would take it down soon must not be what saves the sessions.
func TestNoFaultOfOneRelayIsSeenByAnyClient(t *testing.T) {
	t.Parallel()
	relayA, relayB := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p := start(t, site{pool: unchecked, backends: []string{backend("relay-a", relayA.Addr()), backend("relay-b", relayB.Addr())}})
	var ledger smtptest.Ledger
	faults := append([]smtptest.FaultCase{{Name: "refused", Outcome: "refused"}}, smtptest.Faults()...)

	table := []string{fmt.Sprintf("%-14s %9s %7s %18s %10s", "relay-a", "sessions", "failed", "met the fault", "slowest")}
	ended := 0
	for _, fault := range faults {
		relayA.SetScript(fault.Script)
		if fault.Name == "refused" {
			relayA.Stop()
		}
		const count = 50
		failures := openModel(p.address, fault.Name, count, 50*time.Millisecond, &ledger)
		for _, err := range failures {
			t.Errorf("%s: session failed: %v", fault.Name, err)
		}
		all := p.sessions(t, ended+count)
		met, slowest := 0, 0.0
		for _, s := range all[ended:] {
			slowest = max(slowest, s.SetupMS)
			if strings.HasPrefix(s.asked(), "relay-a:") {
				met++
				if got := s.Attempts[0].Outcome; got != fault.Outcome {
					t.Errorf("%s: relay-a is said to be %s, want %s", fault.Name, got, fault.Outcome)
				}
			}
		}
		if met < 3 { // a silent relay has soon its fair part of the sessions, and gets no more
			t.Errorf("%s: %d of %d sessions met the fault: it was not tried", fault.Name, met, count)
		}
		table = append(table, fmt.Sprintf("%-14s %9d %7d %5d %12s %7.0f ms", fault.Name, count, len(failures), met, fault.Outcome, slowest))
		ended += count
		ended += heal(t, p, relayA, fault.Name, &ledger, ended)
	}
	t.Logf("the fault matrix:\n%s", strings.Join(table, "\n"))

	report := ledger.Compare(relayA.Messages(), relayB.Messages())
	if err := report.Err(); err != nil || report.Delivered != ended {
		t.Errorf("%d of %d messages are there: %v", report.Delivered, ended, err)
	}
	if n := len(p.sessions(t, ended)); n != ended {
		t.Errorf("%d sessions, want %d: no client tried twice", n, ended)
	}
}

// heal has a relay greet well again, and sends messages until it has carried
// one, so that failures do not add up from one fault to the next. It returns
// how many it sent.
func heal(t *testing.T, p *process, relay *smtptest.Relay, name string, ledger *smtptest.Ledger, ended int) int {
	t.Helper()
	relay.SetScript(smtptest.Script{})
	if err := relay.Restart(); err != nil {
		t.Fatal(err)
	}
	before := relay.MessageCount()
	for n := range 10 {
		for _, err := range openModel(p.address, fmt.Sprintf("after-%s-%d", name, n), 1, time.Millisecond, ledger) {
			t.Errorf("after %s: session failed: %v", name, err)
		}
		if relay.MessageCount() > before {
			p.sessions(t, ended+n+1)
			return n + 1
		}
	}
	t.Fatalf("after %s the relay gets no sessions any more", name)
	return 0
}

// openModel starts a session of one message every pause, and returns what
// failed.
func openModel(address, name string, count int, pause time.Duration, ledger *smtptest.Ledger) []error {
	failures := make([]error, count)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var wg sync.WaitGroup
	for n := range count {
		wg.Go(func() {
			client, err := smtptest.DialTimeout(address, patience)
			if err == nil {
				defer client.Close()
				m := smtptest.Outgoing{ID: fmt.Sprintf("%s-%d", name, n), Size: 2048}
				if err = ledger.Record(m, client.Send(m)); err == nil {
					err = client.Quit()
				}
			}
			failures[n] = err
		})
		<-tick.C
	}
	wg.Wait()
	var failed []error
	for _, err := range failures {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// With no relay left the client learns why and keeps its mail: it reads the
// whole line, then the end of the connection, and no reset in between, though
// it has said something itself that nobody read.
func TestAllRelaysDownTellsEveryClientToTryAgain(t *testing.T) {
	t.Parallel()
	refusing := smtptest.Start(t, smtptest.Script{})
	refusing.Stop()
	busy := smtptest.Start(t, smtptest.Script{Greeting: "554 5.7.1 go away\r\n"})
	silent := smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent})
	p := start(t, site{listener: "hostname: vip.test", pool: unchecked, backends: []string{
		backend("relay-a", refusing.Addr()), backend("relay-b", busy.Addr()), backend("relay-c", silent.Addr()),
	}})
	const clients = 30
	replies := make([]string, clients)
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			var err error
			if replies[n], err = readAll(p.address, "EHLO early.test\r\n"); err != nil {
				t.Errorf("client %d: %v after %q", n, err, replies[n])
			}
		})
	}
	wg.Wait()
	all := p.sessions(t, clients)
	ids := map[string]bool{}
	for _, s := range all {
		ids[s.ID] = true
		if s.End != "no_backend" || len(s.Attempts) != 3 || s.BytesUp != 0 {
			t.Errorf("session %s ended as %s, asked %s, %d bytes up; want no_backend after each relay once", s.ID, s.End, s.asked(), s.BytesUp)
		}
	}
	for n, reply := range replies {
		if !strings.HasPrefix(reply, "421 4.3.2 vip.test ") || strings.Count(reply, "\n") != 1 || !strings.HasSuffix(reply, ")\r\n") {
			t.Errorf("client %d read %q, want one line 421 4.3.2", n, reply)
			continue
		}
		_, id, _ := strings.Cut(reply, "(session ")
		if id = strings.TrimSuffix(id, ")\r\n"); !ids[id] {
			t.Errorf("client %d was told session %q, which the log does not have", n, id)
		}
		delete(ids, id)
	}
}

// readAll connects, says something before its turn, and reads to the end.
func readAll(address, early string) (string, error) {
	client, err := smtptest.DialTimeout(address, patience)
	if err != nil {
		return "", err
	}
	defer client.Close()
	if _, err := io.WriteString(client.Conn(), early); err != nil {
		return "", err
	}
	if err := client.Conn().SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(client.Conn())
	if err != nil {
		err = fmt.Errorf("read: %w", err)
	}
	return string(text), err
}

// refusal is the reply that a client got in place of a greeting.
func refusal(t *testing.T, client *smtptest.Client) (code int, text string) {
	t.Helper()
	code, text, err := client.ReadReply()
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	if _, _, err := client.ReadReply(); !errors.Is(err, io.EOF) {
		t.Errorf("after %d: %v, want the end of the connection", code, err)
	}
	return code, text
}

// A relay behind a firewall that drops packets: the connection never comes
// about, and nothing says so.
func TestBlackHoleCostsATimeoutAndNoSession(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{pool: unchecked, backends: []string{backend("relay-a", blackHole(t)), backend("relay-b", relay.Addr())}})
	for n := range 4 {
		if err := visit(p.address); err != nil {
			t.Errorf("session %d: %v", n, err)
		}
	}
	met := 0
	for _, s := range p.sessions(t, 4) {
		if s.asked() == "relay-a:connect_timeout relay-b:ok" {
			met++
		} else if s.asked() != "relay-b:ok" {
			t.Errorf("a session asked %s", s.asked())
		}
	}
	if met == 0 {
		t.Error("no session was sent to the black hole")
	}
}

// blackHole returns an address whose kernel answers no SYN: the queue of its
// listening socket is full and nobody accepts, listen(2).
func blackHole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) }) // nothing was ever written to it
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	for range 10 {
		conn, err := net.DialTimeout("tcp", address.String(), 300*time.Millisecond)
		if err != nil {
			return address // full
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue of one does not fill")
	return address
}
