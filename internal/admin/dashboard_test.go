package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestTheDashboardIsServed(t *testing.T) {
	r := newRig(t)
	r.Token = token // what is open stays so
	for _, test := range []struct{ path, kind, holds string }{
		{"/", "text/html; charset=utf-8", "<!doctype html>"},
		{"/dashboard/js/main.js", "text/javascript; charset=utf-8", "import"},
		{"/dashboard/css/base.css", "text/css; charset=utf-8", ":root"},
		{"/dashboard/icon.svg", "image/svg+xml", "<svg"},
		{"/dashboard/vendor/uplot/LICENSE", "text/plain; charset=utf-8", "MIT"},
	} {
		answer := r.ask(t, "GET", test.path, host("balancer.example"))
		h := answer.Header()
		if answer.Code != http.StatusOK || h.Get("Content-Type") != test.kind || !strings.Contains(answer.Body.String(), test.holds) {
			t.Errorf("%s: %d %q", test.path, answer.Code, h.Get("Content-Type"))
		}
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", test.path, policy)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-cache" || h.Get("ETag") == "" {
			t.Errorf("%s: %v", test.path, h)
		}
		again := r.ask(t, "GET", test.path, header("If-None-Match", h.Get("ETag")))
		if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("%s, unchanged: %d with %d bytes", test.path, again.Code, again.Body.Len())
		}
		if other := r.ask(t, "GET", test.path, header("If-None-Match", `"other"`)); other.Code != http.StatusOK {
			t.Errorf("%s, changed: %d", test.path, other.Code)
		}
		if head := r.ask(t, "HEAD", test.path); head.Code != http.StatusOK || head.Body.Len() != 0 {
			t.Errorf("%s: HEAD %d with %d bytes", test.path, head.Code, head.Body.Len())
		}
	}
	for _, path := range []string{"/dashboard/", "/dashboard/js", "/dashboard/nothing.js", "/dashboard/..%2fserver.go", "/index.html"} {
		if answer := r.ask(t, "GET", path); answer.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, answer.Code)
		}
	}
	if answer := r.ask(t, "POST", "/"); answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", answer.Code)
	}
}

// files are those of the dashboard that are our own.
func files(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(dashboard, "dashboard", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(name, "dashboard/vendor/") {
			return err
		}
		text, err := dashboard.ReadFile(name)
		found[name] = string(text)
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("%d files, %v", len(found), err)
	}
	return found
}

// What the page's policy would refuse in a browser is found here sooner, and so
// is a file that is imported and not there.
func TestThePageKeepsToItsPolicy(t *testing.T) {
	all := files(t)
	inline := regexp.MustCompile(`(?i)<style|<script(?: [^>]*)?>[^<]|\son[a-z]+=|\sstyle=|javascript:`)
	elsewhere := regexp.MustCompile(`(?i)(?:https?:)?//[a-z0-9-]+\.[a-z]`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	for name, text := range all {
		if found := inline.FindString(text); found != "" && path.Ext(name) == ".html" {
			t.Errorf("%s: inline %q", name, found)
		}
		if found := elsewhere.FindString(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")); found != "" {
			t.Errorf("%s: asks elsewhere: %q", name, found)
		}
		if found := markup.FindString(text); found != "" {
			t.Errorf("%s: makes markup or code out of text: %s", name, found)
		}
		if lines := strings.Count(text, "\n"); lines > 300 {
			t.Errorf("%s: %d lines, want 300 at most", name, lines)
		}
	}
	refers := regexp.MustCompile(`(?:from|src=|href=) ?"([^"]+)"`)
	found := 0
	for name, text := range all {
		for _, ref := range refers.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(ref[1], "#") || strings.HasPrefix(ref[1], "api/") || ref[1] == "metrics" {
				continue
			}
			found++
			at := path.Join(path.Dir(name), ref[1])
			if name == "dashboard/index.html" {
				at = ref[1] // it is at /
			}
			if _, err := fs.Stat(dashboard, at); err != nil {
				t.Errorf("%s refers to %s: %v", name, ref[1], err)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d references found: nothing was checked", found)
	}
}

func TestTheChartLibraryIsThePublishedOne(t *testing.T) {
	const dir = "dashboard/vendor/uplot/"
	readme, err := dashboard.ReadFile(dir + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"uPlot.esm.js", "uPlot.min.css"} {
		text, err := dashboard.ReadFile(dir + name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if line := hex.EncodeToString(sum[:]) + "  " + name; !strings.Contains(string(readme), line) {
			t.Errorf("README.md does not have %s", line)
		}
	}
}
