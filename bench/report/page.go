package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page
var pages embed.FS

// write executes one of the pages in page/.
func write(w io.Writer, name string, data any) error {
	t, err := template.New(name).Funcs(template.FuncMap{
		"percent": func(v float64) string { return fmt.Sprintf("%.2f%%", v) },
		"pixels":  tenth,
	}).ParseFS(pages, "page/*")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.ExecuteTemplate(w, name, data); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// heading is the top of a page.
type heading struct {
	Product string // the command
	Title   string
	Lead    string
	Alert   string // what must be known before anything is read
}

// finding is a judgement: good, bad, or none was made.
type finding struct {
	State string // good, bad, open
	Title string
	Text  string
}

const (
	good = "good"
	bad  = "bad"
	open = "open"
)

// Mark says the state without colour.
func (f finding) Mark() string { return markOf(f.State) }

func markOf(state string) string {
	switch state {
	case good:
		return "✓"
	case bad:
		return "✗"
	}
	return "?"
}
