package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"smtplb/internal/config"
)

// certificate is that of the HTTP server. It is read again at each reload: one
// that was renewed takes effect by SIGHUP or smtplb reload, with no session cut.
type certificate struct {
	files config.AdminTLS
	now   atomic.Pointer[tls.Certificate]
}

// newCertificate reads the files; nil where there are none.
func newCertificate(files config.AdminTLS) (*certificate, error) {
	if !files.On() {
		return nil, nil // no certificate is no mistake
	}
	c := &certificate{files: files}
	next, err := readCertificate(files)
	if err != nil {
		return nil, err
	}
	c.now.Store(next)
	return c, nil
}

// readCertificate reads a certificate and its key, and holds them to each other.
func readCertificate(files config.AdminTLS) (*tls.Certificate, error) {
	cert, errCert := os.ReadFile(files.Cert)
	key, errKey := os.ReadFile(files.Key)
	if errCert != nil {
		errCert = fmt.Errorf("admin.tls.cert: %w", errCert)
	}
	if errKey != nil {
		errKey = fmt.Errorf("admin.tls.key: %w", errKey)
	}
	if err := errors.Join(errCert, errKey); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("admin.tls: %s and %s: %w", files.Cert, files.Key, err)
	}
	return &pair, nil
}

// config has the server use whatever certificate is there at a handshake; nil
// without one.
func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}

// again reads the files as they are now; use then has the server take what was
// read. changed says what is different, "" where nothing is.
func (c *certificate) again() (changed string, use func(), err error) {
	if c == nil {
		return "", func() {}, nil
	}
	next, err := readCertificate(c.files)
	if err != nil {
		return "", nil, err
	}
	if !next.Leaf.Equal(c.now.Load().Leaf) {
		changed = "admin.tls: another certificate, valid until " + next.Leaf.NotAfter.UTC().Format(time.RFC3339)
	}
	return changed, func() { c.now.Store(next) }, nil
}

// expired is what to say of a certificate that nobody will accept.
func (c *certificate) expired(now time.Time) string {
	if c == nil {
		return ""
	}
	if end := c.now.Load().Leaf.NotAfter; now.After(end) {
		return fmt.Sprintf("admin.tls.cert: %s: expired at %s", c.files.Cert, end.UTC().Format(time.RFC3339))
	}
	return ""
}
