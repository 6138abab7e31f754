package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// needIPv6 ends the test on a machine without it.
func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		lacking(t, "no IPv6 on this machine: %v", err)
	}
	l.Close()
}

// IPv6 alone, and one listener for both families.
func TestIPv6Listeners(t *testing.T) {
	t.Parallel()
	needIPv6(t)
	port := freeAddress(t, "::1").Port()
	dual := freeAddress(t, "127.0.0.1").Port()
	relay := smtptest.Start(t, smtptest.Script{})
	for _, test := range []struct {
		name, address string
		dial          []string
	}{
		{"IPv6", fmt.Sprintf("[::1]:%d", port), []string{fmt.Sprintf("[::1]:%d", port)}},
		{"both", fmt.Sprintf("[::]:%d", dual), []string{fmt.Sprintf("[::1]:%d", dual), fmt.Sprintf("127.0.0.1:%d", dual)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := start(t, site{address: test.address, listener: `allow: ["::1", 127.0.0.1]`, backends: []string{backend("relay-a", relay.Addr())}})
			for n, address := range test.dial {
				client := smtptest.Dial(t, address)
				if err := client.Send(smtptest.Outgoing{ID: address, Size: 1000}); err != nil {
					t.Errorf("%s: %v", address, err)
				}
				if err := client.Quit(); err != nil {
					t.Errorf("%s: %v", address, err)
				}
				if got, want := p.sessions(t, n+1)[n].Client, client.Conn().LocalAddr().String(); got != want {
					t.Errorf("client %s in the log, want %s, as IPv4 where it is", got, want)
				}
			}
		})
	}
}

// A proxy in front names the real client, who is then the one that allow looks
// at. A header from anybody else is just bytes.
func TestProxyHeaderNamesTheClient(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{
		listener: "accept_proxy: [127.0.0.3], allow: [127.0.0.9, 127.0.0.1]",
		backends: []string{backend("relay-a", relay.Addr())},
	})
	const header = "PROXY TCP4 127.0.0.9 127.0.0.1 1234 25\r\n"
	for n, test := range []struct{ name, from, first, client, end string }{
		{"the proxy, with a header", "127.0.0.3", header, "127.0.0.9:1234", "backend_closed"},
		{"the proxy, for a stranger", "127.0.0.3", "PROXY TCP4 127.0.0.10 127.0.0.1 1234 25\r\n", "127.0.0.10:1234", "denied"},
		{"the proxy, without a header", "127.0.0.3", "EHLO a.test\r\n", "", "denied"},
		{"a stranger with a header", "127.0.0.4", header, "", "denied"},
		{"a client with a header", "127.0.0.1", header, "", "backend_closed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := dialFrom(t, test.from, p.address)
			if _, err := io.WriteString(client.Conn(), test.first); err != nil {
				t.Fatal(err)
			}
			code, _, err := client.ReadReply()
			if want := map[bool]int{true: 220, false: 421}[test.end != "denied"]; err != nil || code != want {
				t.Errorf("reads %d, %v; want %d", code, err, want)
			}
			if test.name == "a client with a header" {
				if code, text, err := client.ReadReply(); err != nil || code != 500 {
					t.Errorf("the relay's reply to the header is %d %s, %v; want 500", code, text, err)
				}
			}
			if test.end != "denied" {
				if err := client.Quit(); err != nil {
					t.Error(err)
				}
			}
			want := test.client
			if want == "" {
				want = client.Conn().LocalAddr().String()
			}
			client.Close()
			if s := p.sessions(t, n+1)[n]; s.Client != want || s.End != test.end {
				t.Errorf("session line: client %s, end %s; want %s, %s", s.Client, s.End, want, test.end)
			}
		})
	}
}

// The relay learns who the client is, and checks of it announce themselves too.
func TestRelayGetsAProxyHeader(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			relay := smtptest.Start(t, smtptest.Script{Proxy: true})
			p := start(t, site{pool: quick, backends: []string{backend("relay-a", relay.Addr(), "proxy_protocol: "+version)}})
			client := dialFrom(t, "127.0.0.5", p.address)
			if err := client.Send(smtptest.Outgoing{ID: "m1", Size: 1000}); err != nil {
				t.Fatal(err)
			}
			want := netip.MustParseAddrPort(client.Conn().LocalAddr().String())
			if got := relay.Messages(); len(got) != 1 || got[0].Source != want {
				t.Errorf("the relay has %d messages, of %v; want one from %v", len(got), got, want)
			}
			before := relay.Connections()
			smtptest.Eventually(t, patience, func() bool { return relay.Connections() >= before+4 }, "four checks")
			if n := len(p.logged(t, "backend")); n > 0 {
				t.Errorf("%d changes of state: the checks fail", n)
			}
		})
	}
}

// protocol tcp waits for no greeting: TLS from the first byte, whose server
// waits for the client, passes unseen and unbroken.
func TestTLSPassesThroughAProtocolTCPListener(t *testing.T) {
	t.Parallel()
	certificate := selfSigned(t)
	relay := smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
		defer server.Close()
		if _, err := io.WriteString(server, "220 relay.test\r\n"); err == nil {
			_, _ = io.Copy(server, server) // until the client closes
		}
	}})
	p := start(t, site{listener: "protocol: tcp", pool: "probe: {type: tcp}", backends: []string{backend("relay-a", relay.Addr())}})
	pool := x509.NewCertPool()
	pool.AddCert(certificate.Leaf)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", p.address, &tls.Config{RootCAs: pool, ServerName: "relay.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := strings.Repeat("all of it comes back\r\n", 5000)
	go func() { _, _ = io.WriteString(conn, text) }() // a failure is missing below
	want := "220 relay.test\r\n" + text
	got := make([]byte, len(want))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("%d bytes came back, %v; want the greeting and %d", n, err, len(text))
	}
	conn.Close()
	if s := p.only(t); s.asked() != "relay-a:ok" || s.GreetingCode != 0 {
		t.Errorf("session asked %s, greeting code %d", s.asked(), s.GreetingCode)
	}
}

// selfSigned returns a certificate of relay.test that vouches for itself.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
