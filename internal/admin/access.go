package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// access is who may use a route.
type access uint8

const (
	anybody  access = iota // it tells nothing of the relays
	readers                // see Server.refuse
	changers               // see Server.refuse
)

// guard lets through to next who may.
func (s *Server) guard(who access, next http.HandlerFunc) http.HandlerFunc {
	var origins http.CrossOriginProtection
	return func(w http.ResponseWriter, r *http.Request) {
		if why := s.refuse(who, r); why != nil {
			why.write(w)
			return
		}
		if err := origins.Check(r); err != nil {
			(&problem{Status: http.StatusForbidden, Detail: "changes are not taken from a page of another origin"}).write(w)
			return
		}
		next(w, r)
	}
}

// refuse says why a request must not be answered, nil if it may. The token opens
// everything. Without it, one must be on this machine (the server listens on
// loopback) and not be a page that another name led here; and to change
// something there must be no token to ask for.
func (s *Server) refuse(who access, r *http.Request) *problem {
	if who == anybody {
		return nil
	}
	given := r.Header.Get("Authorization")
	switch {
	case s.Token != "" && given != "":
		if s.authorized(given) {
			return nil
		}
		return &problem{Status: http.StatusUnauthorized, Detail: "the token is not the right one",
			challenge: `Bearer realm="smtplb", error="invalid_token"`} // RFC 6750, section 3
	case !s.loopback(), s.Token != "" && who == changers:
		return &problem{Status: http.StatusUnauthorized, Detail: "this needs the token: Authorization: Bearer TOKEN",
			challenge: `Bearer realm="smtplb"`}
	case !loopbackHost(r.Host):
		detail := "the Host must be localhost or a loopback address"
		if s.Token != "" {
			detail += ", or the token be given: Authorization: Bearer TOKEN"
		}
		return &problem{Status: http.StatusForbidden, Detail: detail}
	}
	return nil
}

// authorized reports whether an Authorization header holds the token. Sums are
// compared, so that not even the token's length shows in the time it takes.
func (s *Server) authorized(header string) bool {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	want, got := sha256.Sum256([]byte(s.Token)), sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// sendable reports whether a token can stand in a header.
func sendable(token string) bool {
	return strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// loopbackHost reports whether a Host header names this machine to itself: what
// no stranger's name can, whatever address it resolves to.
func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		if name, ok = strings.CutSuffix(inner, "]"); !ok {
			return false
		}
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}
