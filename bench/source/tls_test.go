package source

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"smtplb/bench/mail"
	"smtplb/bench/result"
)

// mta is a server by somebody else (emersion/go-smtp), with STARTTLS, CHUNKING
// and PIPELINING.
type mta struct {
	address  string
	receipts mail.Receipts
}

func startMTA(t *testing.T) *mta {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mta{address: listener.Addr().String()}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return mtaSession{m}, nil }))
	server.Domain, server.TLSConfig = "mta.test", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with Close
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return m
}

// mtaSession takes mail over TLS only.
type mtaSession struct{ *mta }

func (mtaSession) Mail(string, *smtp.MailOptions) error { return nil }
func (mtaSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (mtaSession) Reset()                               {}
func (mtaSession) Logout() error                        { return nil }

func (m mtaSession) Data(r io.Reader) error {
	var checker mail.Checker
	if _, err := io.Copy(&checker, r); err != nil {
		return err
	}
	m.receipts.Add(checker.Arrival())
	return nil
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mta.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestSessionsGoOnOverTLS(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"data": func(*Config) {},
		"bdat": func(c *Config) { c.BDAT, c.Pipelining = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			m := startMTA(t)
			cfg := to()
			cfg.Targets, cfg.STARTTLS, cfg.Sessions, cfg.MessagesPerSession = []string{m.address}, true, 4, 3
			cfg.Size = FixedSize(200 << 10)
			change(&cfg)
			r := run(t, cfg)
			wantSessions(t, r, 4, 4, 0)
			wantMessages(t, r, 12, 0, 0, 0)
			wantFailures(t, r)
			if v := cfg.Ledger.Compare(m.receipts.Of(7)); !v.OK() || v.Delivered != 12 {
				t.Errorf("%+v", v)
			}
			if n := stage(t, r, "tls").Count; n != 4 || !strings.Contains(strings.Join(r.Explainers, "\n"), "4 of 4 sessions that were greeted went on over TLS") {
				t.Errorf("%d handshakes, %q", n, r.Explainers)
			}
		})
	}
}

func TestWithoutSTARTTLSNothingIsEncrypted(t *testing.T) {
	m := startMTA(t)
	cfg := to()
	cfg.Targets = []string{m.address}
	r := run(t, cfg)
	wantSessions(t, r, 1, 1, 0)
	for _, s := range r.Stages {
		if s.Name == "tls" {
			t.Errorf("%+v", s)
		}
	}
}

func TestHandshakeThatFailsIsATLSFailure(t *testing.T) {
	const offer = "250-relay\r\n250 STARTTLS\r\n"
	for name, test := range map[string]struct {
		replies      []string
		class, reply string
	}{
		"no TLS behind the offer": {[]string{greets, offer, "220 go\r\n", "421 4.7.0 what\r\n"}, "tls", "first record does not look like a TLS handshake"},
		"closed":                  {[]string{greets, offer, "220 go\r\n", ""}, "closed", ""},
		"refused":                 {[]string{greets, offer, "454 4.7.0 no certificate today\r\n", bye}, "reply_4xx", "454 4.7.0 no certificate today"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := to(saying(t, test.replies...))
			cfg.STARTTLS = true
			r := run(t, cfg)
			wantFailures(t, r, result.Failure{Class: test.class, Stage: "starttls", Count: 1})
			if got := r.Failures[0].Reply; !strings.Contains(got, test.reply) {
				t.Errorf("%q, want %q", got, test.reply)
			}
		})
	}
}

// What a man in the middle says before the handshake must not pass for the
// server's reply after it (CVE-2011-0411, from the other side).
func TestRepliesFromBeforeTLSAreForgotten(t *testing.T) {
	certificate := selfSigned(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 512)
		for _, reply := range []string{greets, "250-relay\r\n250 STARTTLS\r\n", "220 go\r\n250-injected\r\n250 CHUNKING\r\n"} {
			if _, err := io.WriteString(conn, reply); err != nil {
				return
			}
			if reply[:6] == "220 go" {
				break
			}
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if n, err := server.Read(buf); err == nil {
			_, _ = io.WriteString(server, "550 5.7.1 no\r\n")
			done <- string(buf[:n])
		}
	}()
	cfg := to()
	cfg.Targets, cfg.STARTTLS, cfg.BDAT = []string{listener.Addr().String()}, true, true
	got := make(chan *result.Run, 1)
	go func() {
		r, err := Run(t.Context(), cfg)
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	if line := <-done; line != "EHLO client.test\r\n" {
		t.Errorf("the server heard %q", line)
	}
	_ = listener.Close()
	if r := <-got; r == nil || r.Failures[0].Reply != "550 5.7.1 no" {
		t.Errorf("%+v", r)
	}
	<-done
}
