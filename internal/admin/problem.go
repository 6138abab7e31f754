package admin

import (
	"encoding/json"
	"net/http"
)

// problem is an answer that is an error, as RFC 9457 has it.
type problem struct {
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Near   []string `json:"near,omitempty"` // names that may have been meant

	Errors []string `json:"errors,omitempty"` // every mistake of a file

	challenge string // WWW-Authenticate
}

func (p *problem) write(w http.ResponseWriter) {
	if p.challenge != "" {
		w.Header().Set("WWW-Authenticate", p.challenge)
	}
	p.Title = http.StatusText(p.Status)
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with v. That the client went away meanwhile is no error.
func writeJSON(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // for people, too: "weight: 1 -> 2"; no browser takes it for a page
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}
