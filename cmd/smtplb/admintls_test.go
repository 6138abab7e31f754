package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtplb/internal/config"
)

// pair writes a certificate that signs itself, for lb.test and 127.0.0.1, and its
// key into a directory.
func pair(t *testing.T, dir string, until time.Time) config.AdminTLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "lb.test"}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		DNSNames: []string{"lb.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := config.AdminTLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	write := func(file, kind string, der []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(files.Cert, "CERTIFICATE", cert)
	write(files.Key, "PRIVATE KEY", secret)
	return files
}

func TestACertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	files := pair(t, dir, time.Now().Add(time.Hour))
	c, err := newCertificate(files)
	if err != nil {
		t.Fatal(err)
	}
	served := func() *tls.Certificate {
		t.Helper()
		cert, err := c.config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	if c.config().MinVersion != tls.VersionTLS12 || c.expired(time.Now()) != "" {
		t.Errorf("version %x, expired %q", c.config().MinVersion, c.expired(time.Now()))
	}
	if text := c.expired(time.Now().Add(2 * time.Hour)); !strings.Contains(text, files.Cert+": expired at ") {
		t.Errorf("an expired certificate is called %q", text)
	}
	first := served()
	if changed, use, err := c.again(); err != nil || changed != "" {
		t.Errorf("the same certificate is %q, %v", changed, err)
	} else {
		use()
	}
	pair(t, dir, time.Now().Add(2*time.Hour))
	changed, use, err := c.again()
	if err != nil || !strings.HasPrefix(changed, "admin.tls: another certificate, valid until ") || needsRestart(changed) {
		t.Errorf("another certificate is %q, %v", changed, err)
	}
	if !served().Leaf.Equal(first.Leaf) {
		t.Error("it is used before the reload is sure")
	}
	use()
	if served().Leaf.Equal(first.Leaf) {
		t.Error("it is not used")
	}
}

func TestACertificateThatCannotBeUsedIsNamed(t *testing.T) {
	until := time.Now().Add(time.Hour)
	good, other := pair(t, t.TempDir(), until), pair(t, t.TempDir(), until)
	none := filepath.Join(t.TempDir(), "none.pem")
	for _, test := range []struct {
		name  string
		files config.AdminTLS
		want  []string
	}{
		{"both are missing", config.AdminTLS{Cert: none, Key: none + "2"}, []string{"admin.tls.cert: open " + none + ": no such file", "admin.tls.key: open " + none + "2"}},
		{"another one's key", config.AdminTLS{Cert: good.Cert, Key: other.Key}, []string{"admin.tls: " + good.Cert + " and " + other.Key, "does not match"}},
		{"the wrong way round", config.AdminTLS{Cert: good.Key, Key: good.Cert}, []string{"admin.tls: ", "switched"}},
	} {
		_, err := newCertificate(test.files)
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q, want %q in it", test.name, err, want)
			}
		}
	}
	if c, err := newCertificate(config.AdminTLS{}); c != nil || err != nil || c.config() != nil || c.expired(until) != "" {
		t.Errorf("without files there is %v, %v", c, err)
	}
}
