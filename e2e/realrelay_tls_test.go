package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"testing"
	"time"
)

// The most that a check can ask: TLS after EHLO, with a certificate that nobody
// knows, and a mailbox, which is then let go. To Postfix that is the beginning of
// a message, and where more begin than it delivers it makes each wait a second.
func TestRealRelayPostfixWithTLSAndEnvelope(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "postfix.test")
	r := startPostfix(t, fmt.Sprintf(`smtpd_tls_security_level = may
smtpd_tls_cert_file = %s
smtpd_tls_key_file = %s
in_flow_delay = 0s
`, cert, key), "ADDRESS inet n - n - - smtpd\n")
	r.clean = regexp.MustCompile(`disconnect from unknown\[127\.0\.1\.\d+\] ehlo=2 starttls=1 mail=1 rcpt=1 rset=1 quit=1 commands=7$`)
	r.mustBearChecks(t, 10, ", starttls: true, mail_from: probe@client.test, rcpt_to: postmaster@relay.test")
}

// certificate makes one for host and 127.0.0.1 that is signed by itself, and returns its file and that
// of its key.
func certificate(t *testing.T, host string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := func(kind string, der []byte) string {
		return writeFile(t, "tls.pem", string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	return file("CERTIFICATE", public), file("PRIVATE KEY", secret)
}
