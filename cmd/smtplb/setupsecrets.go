package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"

	"smtplb/internal/setup"
)

// secrets are the token, and the certificate with its key. What is there, from
// cloud-init or from before, stays.
func (s *settingUp) secrets(a *setup.Answers) ([]setup.File, error) {
	token, cert, key := s.there(setup.Token), s.there(setup.Certificate), s.there(setup.Key)
	if token == "" {
		token = rand.Text() + "\n"
	}
	if cert == "" || key == "" {
		var err error
		if cert, key, err = selfSigned(a, time.Now()); err != nil {
			return nil, err
		}
	}
	return []setup.File{
		{Path: setup.Token, Text: token, Secret: true},
		{Path: setup.Certificate, Text: cert, Secret: true},
		{Path: setup.Key, Text: key, Secret: true},
	}, nil
}

// there is what a file has, "" where there is none.
func (s *settingUp) there(name string) string {
	text, err := os.ReadFile(s.path(name))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return ""
	}
	return string(text)
}

// selfSigned makes a certificate for the admin page, valid for ten years: nobody
// renews it, and whoever trusts it has compared its fingerprint.
func selfSigned(a *setup.Answers, now time.Time) (cert, key string, err error) {
	const years, serialBits = 10, 120
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return "", "", err
	}
	form := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: a.Hostname}, DNSNames: []string{a.Hostname, "localhost"},
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(years, 0, 0), // a day: clocks are wrong by hours
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if a.Address.IsValid() {
		form.IPAddresses = []net.IP{a.Address.Addr().AsSlice()}
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, private.Public(), private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return cert, key, nil
}
