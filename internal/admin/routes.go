package admin

import (
	_ "embed" // the API's description
	"net/http"
)

//go:embed openapi.yaml
var description []byte

// route is one thing that the server answers. openapi.yaml has the same list.
type route struct {
	method, path string
	who          access
	handle       http.HandlerFunc
}

func (s *Server) routes(metrics http.Handler) []route {
	return []route{
		{"GET", "/healthz", anybody, serveHealth},
		{"GET", "/readyz", anybody, s.serveReady},
		{"GET", "/metrics", readers, metrics.ServeHTTP},
		{"GET", "/api/v1/status", readers, s.serveStatus},
		{"GET", "/api/v1/sessions", readers, s.serveSessions},
		{"GET", "/api/v1/events", readers, s.serveEvents},
		{"GET", "/api/v1/stream", readers, s.serveStream},
		{"GET", "/api/v1/openapi.yaml", anybody, serveDescription},
		{"POST", "/api/v1/backends/{pool}/{name}/{verb}", changers, s.serveVerb},
		{"POST", "/api/v1/reload", changers, s.serveReload},
	}
}

// handler is all routes, and what holds for each answer.
func (s *Server) handler() (http.Handler, error) {
	metrics, err := s.metrics()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, r := range s.routes(metrics) {
		mux.HandleFunc(r.method+" "+r.path, s.guard(r.who, r.handle))
	}
	if err := s.addDashboard(mux); err != nil {
		return nil, err
	}
	return http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		miss, pattern := mux.Handler(r)
		if pattern == "" {
			serveMiss(w, r, miss)
			return
		}
		mux.ServeHTTP(w, r)
	}), maxBody), nil
}

// secure has browsers run, frame, sniff, keep and share nothing of an answer.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// serveMiss answers what no route fits, after the mux has said why: 404, or 405
// with the methods that are allowed.
func serveMiss(w http.ResponseWriter, r *http.Request, miss http.Handler) {
	said := verdict{header: http.Header{}, status: http.StatusNotFound}
	miss.ServeHTTP(&said, r)
	p := problem{Status: said.status, Detail: "there is nothing at this path: /api/v1/openapi.yaml lists all"}
	if allow := said.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		p.Detail = "this path takes " + allow
	}
	p.write(w)
}

// verdict keeps the head of an answer and drops its text.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }

func serveHealth(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "ok")
}

// serveReady says whether clients are accepted. That relays are down does not
// matter: another balancer sees the same ones.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	ok, reason := s.ready()
	if ok {
		writeText(w, http.StatusOK, "ready")
		return
	}
	if reason == "" {
		reason = "no reason given"
	}
	writeText(w, http.StatusServiceUnavailable, "not ready: "+reason)
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

func serveDescription(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(description)
}
