package probes

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtplb/balancer"
)

// certificate is a self-signed one that is good for a while from now; a
// negative while is a certificate that has expired.
func certificate(t testing.TB, good time.Duration) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example"},
		NotBefore: time.Now().Add(-365 * 24 * time.Hour), NotAfter: time.Now().Add(good).Truncate(time.Second),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

const year = 365 * 24 * time.Hour

// eavesdropper notices the FIN that is read.
type eavesdropper struct {
	net.Conn
	fin bool
}

func (e *eavesdropper) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	e.fin = e.fin || errors.Is(err, io.EOF)
	return n, err
}

// inTLS plays a script inside TLS, and fails unless the client ends it with a
// close_notify and then a FIN. The relay's own comes as Postfix's does, right
// after its last word.
func inTLS(cfg *tls.Config, play script) script {
	return func(p *peer) error {
		raw := &eavesdropper{Conn: p.Conn}
		inner := tls.Server(raw, cfg)
		if err := inner.Handshake(); err != nil {
			return err
		}
		if err := play(&peer{Conn: inner, in: bufio.NewReader(inner)}); err != nil {
			return err
		}
		if raw.fin {
			return errors.New("want a close_notify before the FIN, got none")
		}
		return errors.Join(inner.CloseWrite(), p.farewell())
	}
}

// then plays scripts one after the other; all but the last leave the end open.
func then(scripts ...script) script {
	return func(p *peer) error {
		for _, play := range scripts {
			if err := play(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// open plays steps and leaves the end open.
func open(all ...string) script {
	return func(p *peer) error { return p.play(all) }
}

const offer = "< 250-mx.example\r\n250-SIZE 1000\r\n250-starttls\r\n250 HELP\r\n"

var (
	upToTLS  = open("< 220 mx.example\r\n", "> EHLO lb.example", offer, "> STARTTLS", "< 220 go ahead\r\n")
	afterTLS = steps("> EHLO lb.example", "< 250-mx.example\r\n250 HELP\r\n", "> QUIT", "< 221 bye\r\n")
	allInTLS = steps("< 220-mx.example\r\n220 in TLS\r\n", "> EHLO lb.example", offer, "> QUIT", "< 221 bye\r\n")
)

func TestTLSIsBegunAndEndedInOrder(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS12, tls.VersionTLS13} {
		cfg := certificate(t, year)
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, version
		for name, test := range map[string]struct {
			check Func
			play  script
		}{
			"starttls": {SMTP, then(upToTLS, inTLS(cfg, afterTLS))},
			"smtps":    {SMTPS, inTLS(cfg, allInTLS)},
		} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				target, ended := relay(t, test.play)
				target.STARTTLS = true
				r := test.check(t.Context(), target)
				mustEnd(t, ended)
				if !r.OK || r.Code != 220 || r.Stage != StageQuit || r.Note != "" || r.Latency <= 0 {
					t.Errorf("got %+v, want a healthy relay", r)
				}
				if left := time.Until(r.CertExpires); left < year-time.Hour || left > year {
					t.Errorf("certificate expires in %v, want %v", left, year)
				}
				var said []string
				for _, line := range r.Dialogue {
					said = append(said, line.Text)
				}
				want := tls.VersionName(version) + ", TLS_"
				if all := strings.Join(said, "\n"); !strings.Contains(all, want) || !strings.Contains(all, "certificate of mx.example until 20") {
					t.Errorf("dialogue %q, want %q and the certificate in it", all, want)
				}
			})
		}
	}
}

// A relay may have nothing but what Go leaves out by default.
func TestOldCipherIsGoodEnough(t *testing.T) {
	cfg := certificate(t, year)
	cfg.MaxVersion = tls.VersionTLS12
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}
	target, ended := relay(t, inTLS(cfg, allInTLS))
	if r := SMTPS(t.Context(), target); !r.OK {
		t.Error(r)
	}
	mustEnd(t, ended)
}

func TestCertificateThatExpiresIsNotedAndHealthy(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		good time.Duration
		note string
	}{
		{15 * day, ""},
		{10*day - time.Hour, "certificate expires in 9 days"},
		{day + time.Hour, "certificate expires in 1 day"},
		{time.Hour, "certificate expires in less than a day"},
		{-time.Hour, "certificate expired less than a day ago"},
		{-3*day - time.Hour, "certificate expired 3 days ago"},
	} {
		target, ended := relay(t, inTLS(certificate(t, test.good), allInTLS))
		r := SMTPS(t.Context(), target)
		mustEnd(t, ended)
		if !r.OK || r.Note != test.note || r.CertExpires.IsZero() {
			t.Errorf("good for %v: got %v, note %q, want ok, note %q", test.good, r, r.Note, test.note)
		}
	}
}

func TestRelayIsAskedForByItsName(t *testing.T) {
	for _, test := range []struct{ address, server, want string }{
		{"localhost", "", "localhost"},
		{"127.0.0.1", "", ""},
		{"127.0.0.1", "mx.example", "mx.example"},
	} {
		cfg := certificate(t, year)
		asked := make(chan string, 1)
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			asked <- hello.ServerName
			return nil, nil // which is: the one there is
		}
		target, ended := relay(t, inTLS(cfg, allInTLS))
		_, port, err := net.SplitHostPort(target.Address)
		if err != nil {
			t.Fatal(err)
		}
		target.Address, target.ServerName = net.JoinHostPort(test.address, port), test.server
		if r := SMTPS(t.Context(), target); !r.OK {
			t.Error(r)
		}
		mustEnd(t, ended)
		if got := <-asked; got != test.want {
			t.Errorf("%s, %q: asked for %q, want %q", test.address, test.server, got, test.want)
		}
	}
}

func TestTLSThatCannotBeHadIsToldApart(t *testing.T) {
	hello := open("< 220 mx.example\r\n", "> EHLO lb.example")
	quits := steps("> QUIT", "< 221 bye\r\n")
	deaf := func(p *peer) error { _, _ = io.Copy(io.Discard, p.in); return nil }
	refusing := certificate(t, year)
	refusing.MinVersion, refusing.ClientAuth = tls.VersionTLS13, tls.RequireAnyClientCert
	tests := []struct {
		name    string
		check   Func
		play    script
		stage   Stage
		outcome balancer.Outcome
		code    int
		reason  string
	}{
		{"not offered", SMTP, then(hello, open("< 250-STARTTLS\r\n250 NOSTARTTLS\r\n"), quits),
			StageSTARTTLS, balancer.NotSMTP, 0, "starttls: not_smtp (STARTTLS not offered)"},
		{"EHLO not known", SMTP, then(hello, open("< 500 what?\r\n", "> HELO lb.example", "< 250-mx\r\n250 STARTTLS\r\n"), quits),
			StageSTARTTLS, balancer.NotSMTP, 0, "starttls: not_smtp (STARTTLS not offered)"},
		{"454", SMTP, then(hello, open(offer, "> STARTTLS", "< 454 4.7.0 no TLS for now\r\n"), quits),
			StageSTARTTLS, balancer.Greeting4xx, 454, "starttls: 454 4.7.0 no TLS for now"},
		{"421", SMTP, then(hello, steps(offer, "> STARTTLS", "< 421 4.3.2 shutting down\r\n")),
			StageSTARTTLS, balancer.Greeting4xx, 421, "starttls: 421 4.3.2 shutting down"},
		{"closes at STARTTLS", SMTP, then(hello, open(offer, "> STARTTLS")),
			StageSTARTTLS, balancer.Closed, 0, "starttls: closed"},
		{"more in the clear", SMTP, then(hello, steps(offer, "> STARTTLS", "< 220 go\r\n250 injected\r\n")),
			StageSTARTTLS, balancer.NotSMTP, 0, "starttls: not_smtp (more was said after the reply to STARTTLS)"},
		{"closes in the handshake", SMTP, upToTLS, StageTLS, balancer.Closed, 0, "tls: closed"},
		{"resets in the handshake", SMTP, then(upToTLS, func(p *peer) error { _, _ = p.in.Peek(1); return p.cut() }),
			StageTLS, balancer.Reset, 0, "tls: reset"},
		{"no TLS after all", SMTP, then(upToTLS, func(p *peer) error { _, _ = p.in.Peek(1); return p.say("220 mx.example\r\n") }, deaf),
			StageTLS, balancer.NotSMTP, 0, "tls: not_smtp (first record does not look like a TLS handshake)"},
		{"no certificate", SMTP, then(upToTLS, func(p *peer) error {
			_ = tls.Server(p.Conn, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }}).Handshake()
			return nil
		}), StageTLS, balancer.NotSMTP, 0, "tls: not_smtp (remote error: tls: "},
		{"wants our certificate", SMTPS, func(p *peer) error { _ = tls.Server(p.Conn, refusing).Handshake(); return nil },
			StageGreeting, balancer.NotSMTP, 0, "greeting: not_smtp (remote error: tls: "},
		{"SMTP on the port of SMTPS", SMTPS, then(open("< 220 mx.example\r\n"), deaf),
			StageTLS, balancer.NotSMTP, 0, "tls: not_smtp (first record does not look like a TLS handshake)"},
		{"busy inside TLS", SMTPS, inTLS(certificate(t, year), steps("< 421 4.3.2 try later\r\n")),
			StageGreeting, balancer.Greeting4xx, 421, "greeting: 421 4.3.2 try later"},
		{"refuses EHLO inside TLS", SMTP, then(upToTLS, inTLS(certificate(t, year), steps("> EHLO lb.example", "< 450 no\r\n", "> QUIT", "< 221 bye\r\n"))),
			StageEHLO, balancer.Greeting4xx, 450, "ehlo: 450 no"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target, ended := relay(t, test.play)
			target.STARTTLS = true
			r := test.check(t.Context(), target)
			mustEnd(t, ended)
			if r.OK || r.Inconclusive || r.Err == nil || r.Latency <= 0 {
				t.Fatalf("got %+v, want a failure", r)
			}
			if r.Stage != test.stage || r.Outcome != test.outcome || r.Code != test.code || !strings.HasPrefix(r.Reason(), test.reason) {
				t.Errorf("got %v %v %d %q, want %v %v %d %q", r.Stage, r.Outcome, r.Code, r.Reason(), test.stage, test.outcome, test.code, test.reason)
			}
			if r.Busy() != (test.code == 421) {
				t.Errorf("busy: %v, after %d", r.Busy(), r.Code)
			}
		})
	}
}

func TestSilenceInTheHandshakeIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connect, ended := piped(then(upToTLS, func(p *peer) error {
			_, err := io.Copy(io.Discard, p.in)
			return err
		}))
		r := check(t.Context(), Target{Address: "relay:25", HELO: "lb.example", STARTTLS: true}, connect, talkSMTP)
		mustEnd(t, ended)
		if r.OK || r.Inconclusive || r.Reason() != "tls: greeting_timeout" || r.Latency != DefaultTimeout {
			t.Errorf("got %v after %v, want a timeout after %v", r, r.Latency, DefaultTimeout)
		}
	})
}

// Inside TLS, too, nothing may be said before the greeting is over.
func TestGreetingInsideTLSIsAwaited(t *testing.T) {
	cfg := certificate(t, year)
	synctest.Test(t, func(t *testing.T) {
		connect, ended := piped(func(p *peer) error {
			inner := tls.Server(p.Conn, cfg)
			if err := inner.Handshake(); err != nil {
				return err
			}
			in := &peer{Conn: inner, in: bufio.NewReader(inner)}
			heard := make(chan error, 1)
			go func() { heard <- in.hear("EHLO lb.example") }()
			for _, part := range []string{"220-mx\r\n", "22", "0 mx\r"} {
				select {
				case err := <-heard:
					return fmt.Errorf("spoke before the greeting was over: %w", err)
				case <-time.After(2 * time.Second):
				}
				if err := in.say(part); err != nil {
					return err
				}
			}
			return errors.Join(in.say("\n"), <-heard, in.say("250 mx\r\n"), in.hear("QUIT"), in.say("221 bye\r\n"), in.farewell())
		})
		r := check(t.Context(), Target{Address: "relay:465", HELO: "lb.example"}, connect, talkSMTPS)
		mustEnd(t, ended)
		if !r.OK || r.Latency != 6*time.Second {
			t.Errorf("got %v, want ok in 6s", r)
		}
	})
}
