package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// SMTPS checks as [SMTP] does, all of it inside TLS: the handshake comes first
// (RFC 8314, section 3.3; port 465), after the PROXY header where one is
// wanted. It is a [Func].
func SMTPS(ctx context.Context, t Target) Result {
	return check(ctx, t, dial, talkSMTPS)
}

func talkSMTPS(ctx context.Context, d *dialogue, t Target, r *Result) {
	if !d.encrypt(t, r) {
		r.Latency = time.Since(d.start)
		return
	}
	talkSMTP(ctx, d, t, r)
}

// startTLS asks for TLS (RFC 3207) and begins it. Where it is not offered it is
// not asked for: that would be an error in the relay's log.
func (d *dialogue) startTLS(t Target, offers reply, r *Result) bool {
	if !offers.offers("STARTTLS") {
		return r.settle(StageSTARTTLS, 220, reply{}, &tlsError{errors.New("STARTTLS not offered")})
	}
	rep, err := d.ask("STARTTLS", 220)
	if err == nil && d.in.Buffered() > 0 && rep.code == 220 {
		// Sent in the clear, it would pass for sent in TLS (CVE-2011-0411).
		d.turn = false
		err = &tlsError{errors.New("more was said after the reply to STARTTLS")}
	}
	if !r.settle(StageSTARTTLS, 220, rep, err) || !d.encrypt(t, r) {
		return false
	}
	d.turn = true // unlike SMTPS, where the greeting is still to come
	return true
}

// encrypt does the handshake and has what follows said inside TLS. Its time is
// the check's: its context's end interrupts the connection.
func (d *dialogue) encrypt(t Target, r *Result) bool {
	d.turn = false
	conn := tls.Client(d.conn, tlsConfig(t))
	err := conn.Handshake() //nolint:noctx // HandshakeContext would close the connection without an orderly end
	if err != nil {
		d.note("TLS: " + err.Error())
		return r.settle(StageTLS, 0, reply{}, &tlsError{err})
	}
	r.settle(StageTLS, 0, reply{}, nil)
	d.tls = conn
	d.speak(tlsStream{conn})

	state := conn.ConnectionState()
	leaf := state.PeerCertificates[0] // a client's handshake does not succeed without one
	r.CertExpires = leaf.NotAfter
	d.note(fmt.Sprintf("%s, %s, certificate of %s until %s", tls.VersionName(state.Version),
		tls.CipherSuiteName(state.CipherSuite), holder(leaf.DNSNames, leaf.Subject.CommonName), leaf.NotAfter.UTC().Format(time.DateOnly)))
	return true
}

// tlsConfig takes what a sender with opportunistic TLS would take (RFC 7435), as
// Exchange's is by default: any certificate, and any version and cipher suite
// that there is. Whether they should do is not for a health check to say: one
// that is choosier than the senders takes down relays that serve them.
func tlsConfig(t Target) *tls.Config {
	c := &tls.Config{
		ServerName:         t.serverName(),
		InsecureSkipVerify: true, //nolint:gosec // as above
		MinVersion:         tls.VersionTLS10,
	}
	for _, suite := range tls.CipherSuites() {
		c.CipherSuites = append(c.CipherSuites, suite.ID)
	}
	for _, suite := range tls.InsecureCipherSuites() {
		c.CipherSuites = append(c.CipherSuites, suite.ID)
	}
	return c
}

func (t Target) serverName() string {
	if t.ServerName != "" {
		return t.ServerName
	}
	host, _, err := net.SplitHostPort(t.Address)
	if err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "" // no address is sent as a name (RFC 6066, section 3)
	}
	return host
}

// holder is whose a certificate is, for people.
func holder(names []string, common string) string {
	switch {
	case len(names) > 0:
		return names[0]
	case common != "":
		return common
	default:
		return "nobody named"
	}
}

// remarkExpiry notes a certificate that has expired, or will soon.
func (r *Result) remarkExpiry(now time.Time) {
	const (
		day  = 24 * time.Hour
		soon = 14 * day
	)
	days := func(d time.Duration) string {
		switch n := int(d / day); n {
		case 0:
			return "less than a day"
		case 1:
			return "1 day"
		default:
			return fmt.Sprintf("%d days", n)
		}
	}
	switch left := r.CertExpires.Sub(now); {
	case r.CertExpires.IsZero() || left > soon:
	case left > 0:
		r.remark("certificate expires in " + days(left))
	default:
		r.remark("certificate expired " + days(-left) + " ago")
	}
}

// tlsError is about TLS that was wanted and not to be had, or broke.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return strings.TrimPrefix(e.err.Error(), "tls: ") }
func (e *tlsError) Unwrap() error { return e.err }

// tlsStream is what is said inside TLS, its errors told from the connection's.
// In TLS 1.3 an alert about the handshake may come as late as the first read.
type tlsStream struct{ conn *tls.Conn }

func (s tlsStream) Read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &tlsError{err}
	}
	return n, err
}

func (s tlsStream) Write(b []byte) (int, error) {
	n, err := s.conn.Write(b)
	if err != nil {
		err = &tlsError{err}
	}
	return n, err
}
