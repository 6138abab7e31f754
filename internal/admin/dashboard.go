package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed dashboard
var dashboard embed.FS

// pagePolicy has the page load and ask nothing but this server, and make no
// markup out of text.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// page is a file of the dashboard.
type page struct {
	kind, tag string
	text      []byte
}

// addDashboard has the mux answer with the page at / and its files. They tell
// nothing of the relays, so they are open: what they ask the API for is not.
func (s *Server) addDashboard(mux *http.ServeMux) error {
	pages, err := readPages()
	if err != nil {
		return err
	}
	mux.HandleFunc("GET /{$}", s.guard(anybody, func(w http.ResponseWriter, r *http.Request) { pages["index.html"].serve(w, r) }))
	mux.HandleFunc("GET /dashboard/{file...}", s.guard(anybody, func(w http.ResponseWriter, r *http.Request) {
		if p, ok := pages[r.PathValue("file")]; ok {
			p.serve(w, r)
			return
		}
		(&problem{Status: http.StatusNotFound, Detail: "the dashboard has no such file: it is at /"}).write(w)
	}))
	return nil
}

func readPages() (map[string]*page, error) {
	pages := map[string]*page{}
	err := fs.WalkDir(dashboard, "dashboard", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := dashboard.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		pages[strings.TrimPrefix(name, "dashboard/")] = &page{
			kind: contentType(name), tag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, text: text,
		}
		return nil
	})
	return pages, err
}

// contentType is by the name's end. Package mime would ask the machine's tables,
// which may say something else.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return "text/plain; charset=utf-8"
	}
}

// serve answers with the file. Browsers keep it, and ask each time if it is still
// the one, so that a new version is seen at once.
func (p *page) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Content-Type", p.kind)
	h.Set("ETag", p.tag)
	h.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.text))
}
