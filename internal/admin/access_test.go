package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

const token = "correct-horse"

var (
	bearer = header("Authorization", "Bearer "+token)
	wrong  = header("Authorization", "Bearer correct-horsE")
)

func TestWhoMayReadAndChange(t *testing.T) {
	const (
		local  = "127.0.0.1:9925"
		remote = "192.0.2.1:9925"
	)
	with := func(changes ...func(*http.Request)) []func(*http.Request) { return changes }
	away := host("lb1.example.com:9925")
	for _, test := range []struct {
		name          string
		address       string
		token         string
		change        []func(*http.Request)
		read, written int // the status that is due
	}{
		{"loopback, no token", local, "", nil, 200, 200},
		{"loopback by name", local, "", with(host("localhost:9925")), 200, 200},
		{"loopback in IPv6", local, "", with(host("[::1]:9925")), 200, 200},
		{"a stranger's name that resolves to loopback", local, "", with(host("evil.example:9925")), 403, 403},
		{"no host", local, "", with(host("")), 403, 403},
		{"a token that nobody asked for", local, "", with(bearer), 200, 200},
		{"that does not excuse the host", local, "", with(bearer, away), 403, 403},
		{"loopback, token not given", local, token, nil, 200, 401},
		{"loopback, token given", local, token, with(bearer), 200, 200},
		{"loopback, a wrong one", local, token, with(wrong), 401, 401},
		{"loopback, through another name", local, token, with(away), 403, 401},
		{"the token excuses the name", local, token, with(bearer, away), 200, 200},
		{"off loopback, token not given", remote, token, with(away), 401, 401},
		{"off loopback, claiming loopback", remote, token, nil, 401, 401},
		{"off loopback, a wrong one", remote, token, with(away, wrong), 401, 401},
		{"off loopback, token given", remote, token, with(away, bearer), 200, 200},
		{"the scheme's case", remote, token, with(header("Authorization", "bearer "+token)), 200, 200},
		{"another scheme", remote, token, with(header("Authorization", "Basic "+token)), 401, 401},
		{"a token without a scheme", remote, token, with(header("Authorization", token)), 401, 401},
		{"an empty token", remote, token, with(header("Authorization", "Bearer ")), 401, 401},
		{"the first letters of it", remote, token, with(header("Authorization", "Bearer correct")), 401, 401},

		{"a page of ours", local, "", with(header("Sec-Fetch-Site", "same-origin")), 200, 200},
		{"a page of another site", local, "", with(header("Sec-Fetch-Site", "cross-site")), 200, 403},
		{"another port of this machine", local, "", with(header("Sec-Fetch-Site", "same-site")), 200, 403},
		{"an old browser, a page of ours", local, "", with(header("Origin", "http://127.0.0.1:9925")), 200, 200},
		{"an old browser, another site", local, "", with(header("Origin", "https://evil.example")), 200, 403},
		{"an old browser, a file", local, "", with(header("Origin", "null")), 200, 403},
		{"another site with the token", local, token, with(bearer, header("Sec-Fetch-Site", "cross-site")), 200, 403},
		{"a rebound name, as its own origin", local, "",
			with(host("evil.example"), header("Origin", "http://evil.example"), header("Sec-Fetch-Site", "same-origin")), 403, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.Address, r.Token = netip.MustParseAddrPort(test.address), test.token
			for _, path := range []string{"/api/v1/status", "/metrics"} {
				check(t, r.ask(t, "GET", path, test.change...), test.read)
			}
			check(t, r.ask(t, "POST", "/api/v1/backends/outbound/relay-a/drain", test.change...), test.written)
			for _, path := range []string{"/healthz", "/readyz", "/api/v1/openapi.yaml"} {
				check(t, r.ask(t, "GET", path, test.change...), 200)
			}
			state := r.outbound.Snapshot(start)[0].State.String()
			if want := map[bool]string{true: "draining", false: "up"}[test.written == 200]; state != want {
				t.Errorf("the backend is %s, want %s", state, want)
			}
		})
	}
}

func check(t *testing.T, answer *httptest.ResponseRecorder, want int) {
	t.Helper()
	if answer.Code != want {
		t.Errorf("%d, want %d: %s", answer.Code, want, answer.Body)
		return
	}
	if want >= 400 {
		p := read[problem](t, answer)
		if p.Status != want || p.Title != http.StatusText(want) || p.Detail == "" {
			t.Errorf("a problem without its parts: %+v", p)
		}
		if strings.Contains(answer.Body.String(), token) {
			t.Errorf("the answer gives the token away: %s", answer.Body)
		}
	}
	if challenge := answer.Header().Get("WWW-Authenticate"); (want == http.StatusUnauthorized) != strings.HasPrefix(challenge, "Bearer ") {
		t.Errorf("%d with WWW-Authenticate %q", want, challenge)
	}
}

func TestEveryAnswerIsSafeInABrowser(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/healthz", "/metrics", "/api/v1/status", "/api/v1/openapi.yaml", "/nothing", "/dashboard/nothing"} {
		h := r.ask(t, "GET", path).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
		if h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may be read by other origins", path)
		}
	}
}

func TestOnlyLoopbackIsLoopback(t *testing.T) {
	for name, want := range map[string]bool{
		"localhost": true, "LocalHost:9925": true, "127.0.0.1": true, "127.9.9.9:1": true, "[::1]": true, "[::1]:9925": true,
		"::1": true, "[::ffff:127.0.0.1]:9925": true,
		"": false, ":9925": false, "localhost.evil.example": false, "localhost.": false, "127.0.0.1.evil.example": false,
		"127.1": false, "2130706433": false, "0x7f.0.0.1": false, "0.0.0.0": false, "[::]": false, "10.0.0.1:9925": false,
		"[::1": false, "[::1]x": false, "[fe80::1%lo]": false, "localhost:9925:1": false,
	} {
		if got := loopbackHost(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// FuzzRequest asks for anything as anybody: nothing may break, what is refused
// must say so as it should, and nothing changes without the right to.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/healthz", "localhost", "")
	f.Add("POST", "/api/v1/backends/outbound/relay-a/drain", "127.0.0.1:9925", "Bearer "+token)
	f.Add("POST", "/api/v1/backends/bulk/farm%2F10.0.0.1/disable", "[::1]", "Bearer "+token)
	f.Add("POST", "/api/v1/backends/bulk/farm%2f/%64rain", "[::1]", "Bearer")
	f.Add("POST", "/api/v1/backends/../backends//outbound/relay-b/enable", "x", "Basic Og==")
	f.Add("PUT", "/api/v1/status?x=%00", "\xff", "\x00")
	f.Fuzz(func(t *testing.T, method, path, name, authorization string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || method == "CONNECT" {
			return // net/http answers those itself
		}
		if _, err := http.NewRequestWithContext(t.Context(), method, "/", nil); err != nil {
			return
		}
		r := newRig(t)
		r.Token = token
		answer := r.ask(t, method, "/", func(q *http.Request) {
			q.URL, q.RequestURI, q.Host = u, path, name
			q.Header.Set("Authorization", authorization)
		})
		if answer.Code >= 500 {
			t.Errorf("%d: %s", answer.Code, answer.Body)
		}
		if answer.Code >= 400 && answer.Code != http.StatusRequestEntityTooLarge {
			var p problem
			if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil || p.Status != answer.Code {
				t.Errorf("%d is answered by %q (%v)", answer.Code, answer.Body, err)
			}
		}
		for _, b := range append(r.outbound.Snapshot(start), r.bulk.Snapshot(start)...) {
			if b.State.String() != "up" && (method != "POST" || !r.authorized(authorization)) {
				t.Errorf("%s %q changed %s", method, path, b.Name)
			}
		}
	})
}
