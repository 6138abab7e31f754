package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// A relay trusts smtplb's address, so that whoever gets through is relayed. The
// relays of these tests write down who came, by the PROXY header that smtplb sends
// them, and every byte of it.

// witness is such a relay.
type witness struct {
	*smtptest.Relay

	mu    sync.Mutex
	bytes map[string]int64 // by client, behind the header
	wrong []string         // connections without one
}

func startWitness(t *testing.T) *witness {
	t.Helper()
	w := &witness{bytes: map[string]int64{}}
	w.Relay = smtptest.Start(t, smtptest.Script{Raw: w.serve})
	return w
}

func (w *witness) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) != 6 || f[0] != "PROXY" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.wrong = append(w.wrong, line)
		return
	}
	w.count(f[2], 0)
	_, _ = io.WriteString(conn, "220 witness.test\r\n")
	for buffer := make([]byte, 4096); ; {
		n, err := in.Read(buffer)
		w.count(f[2], int64(n))
		if err != nil {
			return
		}
		if strings.HasSuffix(string(buffer[:n]), "QUIT\r\n") {
			_, _ = io.WriteString(conn, "221 bye\r\n")
			return
		}
	}
}

func (w *witness) count(client string, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes[client] += n
}

// only fails the test unless all that came, came from these.
func (w *witness) only(t *testing.T, clients ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) > 0 {
		t.Errorf("connections without a header: %q", w.wrong)
	}
	for client, n := range w.bytes {
		if !strings.Contains(" "+strings.Join(clients, " ")+" ", " "+client+" ") {
			t.Errorf("an open relay: %d bytes of %s reached a relay", n, client)
		}
	}
	for _, client := range clients {
		if w.bytes[client] == 0 {
			t.Errorf("%s, who may connect, reached no relay", client)
		}
	}
}

const wholeMail = "EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"

// push sends a header and a whole mail, waiting for nobody, and returns what was
// answered up to the end.
func push(from, address, header string) (string, error) {
	client, err := smtptest.DialFrom(netip.MustParseAddr(from), address, patience)
	if err != nil {
		return "", err
	}
	defer client.Close()
	conn := client.Conn()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, header+wholeMail); err != nil {
		return "", err
	}
	_ = conn.CloseWrite()
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// The parts of a PROXY header of version 2, section 2.2 of its specification.
const (
	headLocal, headProxy   = 0x20, 0x21
	headTCP4, headTCP6     = 0x11, 0x21
	headUDP4, headUnix     = 0x12, 0x31
	headUnspecified        = 0x00
	lengthTCP4, lengthUnix = 12, 216
)

// head is such a header, with a length of its own choosing.
func head(command, family byte, length int, addresses string) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(length))) + addresses
}

// names are the two ends for a header: the client, and the VIP.
func names(client string) string {
	from, to := netip.MustParseAddr(client), netip.MustParseAddr("192.0.2.25")
	switch {
	case from.Is4In6():
		to = netip.AddrFrom16(to.As16())
	case from.Is6():
		to = netip.MustParseAddr("2001:db8::25")
	}
	return string(from.AsSlice()) + string(to.AsSlice()) + "\x9c\x40\x00\x19"
}

func headV1(client string) string {
	family, to := "TCP4", "192.0.2.25"
	if strings.Contains(client, ":") {
		family, to = "TCP6", "2001:db8::25"
	}
	return fmt.Sprintf("PROXY %s %s %s 40000 25\r\n", family, client, to)
}

// Of this site 127.0.0.1, 10.9.0.0/16 without 10.9.9.0/24, and 2001:db8:1::/48 may
// connect; 127.0.0.3 is a proxy, and no client.
const (
	guardedListener = `accept_proxy: [127.0.0.3], allow: [127.0.0.1, 10.9.0.0/16, "2001:db8:1::/48"], deny: [10.9.9.0/24]`
	theProxy        = "127.0.0.3"
	aStranger       = "127.0.0.66"
)

// attempts are the ways in that strangers try, each with where it comes from.
func attempts() []struct{ name, from, header string } {
	good := names("127.0.0.1")
	return []struct{ name, from, header string }{
		{"straight", aStranger, ""},
		{"straight, by IPv6", "::1", ""},
		{"a forged header, version 1", aStranger, headV1("127.0.0.1")},
		{"a forged header, version 2", aStranger, head(headProxy, headTCP4, lengthTCP4, good)},
		{"a forged header of a proxy's own", aStranger, head(headLocal, headUnspecified, 0, "")},
		{"a forged header of the proxy", aStranger, headV1(theProxy)},
		{"a forged header, by IPv6", "::1", headV1("2001:db8:1::1")},
		{"the proxy itself", theProxy, ""},
		{"by the proxy, version 1", theProxy, headV1("203.0.113.9")},
		{"by the proxy, version 2", theProxy, head(headProxy, headTCP4, lengthTCP4, names("203.0.113.9"))},
		{"by the proxy, on deny", theProxy, headV1("10.9.9.7")},
		{"by the proxy, IPv6", theProxy, headV1("2001:db8:2::1")},
		{"by the proxy, v4-mapped", theProxy, head(headProxy, headTCP6, 36, names("::ffff:203.0.113.9"))},
		{"by the proxy, v4-mapped, on deny", theProxy, head(headProxy, headTCP6, 36, names("::ffff:10.9.9.7"))},
		{"by the proxy, a check of its own", theProxy, head(headLocal, headUnspecified, 0, "")},
		{"by the proxy, a check that names a client", theProxy, head(headLocal, headTCP4, lengthTCP4, good)},
		{"by the proxy, of no family", theProxy, head(headProxy, headUnspecified, lengthTCP4, good)},
		{"by the proxy, unknown", theProxy, "PROXY UNKNOWN 127.0.0.1 192.0.2.25 40000 25\r\n"},
		{"by the proxy, a Unix socket", theProxy, head(headProxy, headUnix, lengthUnix, strings.Repeat("\x7f\x00\x00\x01", lengthUnix/4))},
		{"by the proxy, UDP", theProxy, head(headProxy, headUDP4, lengthTCP4, good)},
		{"by the proxy, a command that is none", theProxy, head(0x22, headTCP4, lengthTCP4, good)},
		{"by the proxy, a version that is none", theProxy, head(0x31, headTCP4, lengthTCP4, good)},
		{"by the proxy, too short for its addresses", theProxy, head(headProxy, headTCP4, 4, good[:4])},
		{"by the proxy, longer than allowed", theProxy, head(headProxy, headTCP4, 65535, good)},
		{"by the proxy, cut off", theProxy, head(headProxy, headTCP4, 2000, good)},
		{"by the proxy, cut off within its signature", theProxy, "\r\n\r\n\x00\r\nQ"},
		{"by the proxy, small letters", theProxy, strings.ToLower(headV1("127.0.0.1"))},
		{"by the proxy, without its end", theProxy, strings.TrimSpace(headV1("127.0.0.1"))},
		{"by the proxy, a leading zero", theProxy, "PROXY TCP4 127.0.0.01 192.0.2.25 40000 25\r\n"},
		{"by the proxy, a name", theProxy, "PROXY TCP4 localhost 192.0.2.25 40000 25\r\n"},
		{"by the proxy, a zone", theProxy, headV1("2001:db8:1::1%lo")},
		{"by the proxy, two headers", theProxy, headV1("203.0.113.9") + headV1("127.0.0.1")},
	}
}

// guard is that site, with a witness as its relay and checks that go elsewhere.
func guard(t *testing.T, address string, relay *witness, listener string) site {
	t.Helper()
	health := smtptest.Start(t, smtptest.Script{})
	return site{
		address: address, listener: listener,
		pool:     "probe: {address: \"" + health.Addr().String() + "\"}",
		backends: []string{backend("relay-a", relay.Addr(), "proxy_protocol: v1")},
	}
}

// From an address that may not connect not one byte reaches a relay, whatever it
// says; and those who may get through the same way.
func TestNoByteOfAStrangerReachesARelay(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	for _, test := range []struct{ name, host, reply, begins string }{
		{"421", "[::]", "421", "421 4.7.1 "},
		{"554", "[::]", "554", "554 5.7.1 "},
		{"drop", "[::]", "drop", ""},
		{"IPv4 alone", "127.0.0.1", "421", "421 4.7.1 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			relay := startWitness(t)
			port := freeAddress(t, "::").Port()
			p := start(t, guard(t, fmt.Sprintf("%s:%d", test.host, port), relay, guardedListener+", denied_reply: "+test.reply))
			at := func(from string) string { // IPv4 clients are v4-mapped to [::]
				if strings.Contains(from, ":") {
					return fmt.Sprintf("[::1]:%d", port)
				}
				return fmt.Sprintf("127.0.0.1:%d", port)
			}
			tried := 0
			for _, try := range attempts() {
				if try.from == "::1" && test.host != "[::]" {
					continue
				}
				tried++
				answer, err := push(try.from, at(try.from), try.header)
				reset := err != nil && test.begins == "" // closed with bytes unread
				if err != nil && !reset || !strings.HasPrefix(answer, test.begins) || test.begins == "" && answer != "" {
					t.Errorf("%s: read %q, %v; want %q", try.name, answer, err, test.begins)
				}
			}
			for i, s := range p.sessions(t, tried) {
				if s.End != "denied" || len(s.Attempts) > 0 {
					t.Errorf("session %d of %s ended as %s, asked %q", i, s.Client, s.End, s.asked())
				}
			}
			relay.only(t)
			if n := relay.Connections(); n != 0 {
				t.Errorf("%d connections at the relay for strangers", n)
			}
			for _, good := range []struct{ from, header string }{
				{"127.0.0.1", ""},
				{theProxy, headV1("10.9.8.7")},
				{theProxy, head(headProxy, headTCP6, 36, names("::ffff:10.9.8.6"))},
				{theProxy, headV1("2001:db8:1::1")},
			} {
				if answer, err := push(good.from, at(good.from), good.header); err != nil || !strings.HasPrefix(answer, "220 witness.test") {
					t.Errorf("%s with %q read %q, %v", good.from, good.header, answer, err)
				}
			}
			relay.only(t, "127.0.0.1", "10.9.8.7", "10.9.8.6", "2001:db8:1::1")
		})
	}
}

// Neither is there a moment in a reload at which nobody stands at the door: the
// lists change twenty times a second, strangers are in neither, and they try all
// the while. Who is on both gets in each time.
func TestNoByteOfAStrangerReachesARelayDuringReloads(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	const reloads = 60
	relay := startWitness(t)
	port := freeAddress(t, "::").Port()
	lists := []string{
		`accept_proxy: [127.0.0.3], allow: [127.0.0.1, 10.9.0.0/16], deny: [10.9.9.0/24]`,
		`accept_proxy: [127.0.0.3, 127.0.0.5], allow: [127.0.0.0/26, 10.9.9.9, "2001:db8:1::/48"], deny: [127.0.0.2/31, 10.9.9.0/24]`,
	}
	s := guard(t, fmt.Sprintf("[::]:%d", port), relay, lists[0])
	p := start(t, s)
	s.admin = p.admin
	here := fmt.Sprintf("127.0.0.1:%d", port)
	done := make(chan struct{})
	var strangers sync.WaitGroup
	tried := make([]int, 3)
	for n, try := range []struct{ from, address, header string }{
		{aStranger, here, headV1("127.0.0.1")},
		{"::1", fmt.Sprintf("[::1]:%d", port), ""},
		{theProxy, here, head(headProxy, headTCP4, lengthTCP4, names("203.0.113.9"))},
	} {
		strangers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				tried[n]++
				if answer, err := push(try.from, try.address, try.header); err != nil || !strings.HasPrefix(answer, "421 4.7.1 ") {
					t.Errorf("a stranger at %s read %q, %v", try.from, answer, err)
					return
				}
			}
		})
	}
	for n := range reloads {
		began := time.Now()
		s.listener = lists[(n+1)%2]
		if err := os.WriteFile(p.file, []byte(s.text()), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, body := p.request(t, "POST", "/api/v1/reload"); status != http.StatusOK {
			t.Errorf("reload %d: %d %s", n, status, body)
		}
		if answer, err := push("127.0.0.1", here, ""); err != nil || !strings.HasPrefix(answer, "220 ") {
			t.Errorf("after reload %d who is on both lists read %q, %v", n, answer, err)
		}
		time.Sleep(time.Until(began.Add(50 * time.Millisecond)))
	}
	close(done)
	strangers.Wait()
	t.Logf("%d reloads, %v tries of three strangers", reloads, tried)
	relay.only(t, "127.0.0.1")
	if got := relay.Connections(); got != reloads {
		t.Errorf("%d connections at the relay, want the %d of the one that may", got, reloads)
	}
	smtptest.Eventually(t, patience, func() bool { return len(p.logged(t, "reloaded")) == reloads }, "%d reloads that took effect", reloads)
}
