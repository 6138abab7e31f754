package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
)

// reports are where a command writes what it has found: text for people, and,
// where they were asked for, JSON and a page. What was not asked for is nil.
type reports struct {
	text, json, html io.Writer
	files            []*os.File
}

// createReports creates the files, before anything runs: hours later is too
// late to learn that one cannot be written. A name of - stands for standard
// output; the text then goes to standard error.
func createReports(jsonName, htmlName string, std streams) (*reports, error) {
	r := &reports{text: std.out}
	if jsonName == "-" || htmlName == "-" {
		r.text = std.err
	}
	var err error
	if r.json, err = r.create(jsonName, std.out); err == nil {
		r.html, err = r.create(htmlName, std.out)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *reports) create(name string, stdout io.Writer) (io.Writer, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		return stdout, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	r.files = append(r.files, f)
	return f, nil
}

// close closes the files that write has not.
func (r *reports) close() {
	for _, f := range r.files {
		_ = f.Close() // it was closed before, or its content does not matter
	}
}

// write fills in one of the files, if there is one, and closes it: an error of
// the disk may come as late as that.
func (r *reports) write(to io.Writer, content func(io.Writer) error) error {
	if to == nil {
		return nil
	}
	err := content(to)
	for _, f := range r.files {
		if f == to {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// writeJSON writes v as people and programs can read it.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
