package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Wrong usage is told from what went wrong, for the whole program.
func TestWrongCommandLinesEndWithTwo(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		errs   string
	}{
		{nil, exitOK, ""},
		{[]string{"--help"}, exitOK, ""},
		{[]string{"version"}, exitOK, ""},
		{[]string{"help", "status"}, exitOK, ""},
		{[]string{"completion", "bash"}, exitOK, ""},
		{[]string{"explode"}, exitUsage, `unknown command "explode"`},
		{[]string{"--explode"}, exitUsage, "unknown flag: --explode"},
		{[]string{"version", "now"}, exitUsage, "unknown command"},
		{[]string{"run", "--config"}, exitUsage, "flag needs an argument"},
		{[]string{"run", "now"}, exitUsage, "see: smtplb run --help"},
		{[]string{"check", "--config", filepath.Join(t.TempDir(), "none")}, exitError, "no such file"},
		{[]string{"status", "--json=maybe"}, exitUsage, "invalid argument"},
		{[]string{"probe", "--timeout", "0s", "192.0.2.1"}, exitUsage, "--timeout 0s"},
	} {
		status, _, errs := commandIn(t, nil, test.args...)
		if status != test.status || !strings.Contains(errs, test.errs) || strings.Contains(errs, "--help") != (status == exitUsage) {
			t.Errorf("%q: status %d, %q, want %d, %q", test.args, status, errs, test.status, test.errs)
		}
	}
}

func TestNamesOfBackendsAreCompleted(t *testing.T) {
	a := newAsked(t, nil)
	a.outbound.Drain(time.Now(), 1)
	offered := func(environ []string, args ...string) []string {
		t.Helper()
		status, out, errs := commandIn(t, environ, append([]string{"__complete"}, args...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if last := lines[len(lines)-1]; status != exitOK || last != ":4" || strings.Contains(errs, "Error") {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errs)
		}
		return lines[:len(lines)-1]
	}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"drain", ""}, []string{"outbound/relay-a\tup, 0 sessions", "relay-b\tdraining, 0 sessions", "relay-dr\tup, 0 sessions",
			"bulk/relay-a\tup, 0 sessions", "farm/10.0.0.1\tup, 0 sessions"}},
		{[]string{"enable", "relay-"}, []string{"relay-b\tdraining, 0 sessions", "relay-dr\tup, 0 sessions"}},
		{[]string{"disable", "outbound/relay-d"}, []string{"outbound/relay-dr\tup, 0 sessions"}},
		{[]string{"drain", "relay-b", ""}, nil},
	} {
		if got := offered(a.environ, test.args...); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.args, got, test.want)
		}
	}
	for _, environ := range [][]string{{"SMTPLB_ADMIN__ADDRESS=127.0.0.1:1"}, {"SMTPLB_ADMIN__ADDRESS=x"}} {
		if got := offered(environ, "drain", ""); len(got) != 0 {
			t.Errorf("%q: %q, want nothing", environ, got)
		}
	}
	if got := offered(nil, "drain", "--config", filepath.Join(t.TempDir(), "none"), ""); len(got) != 0 {
		t.Errorf("without its file: %q, want nothing", got)
	}
}

// Each command has its page, with what its help says.
func TestManualPagesAreWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	status, _, errs := commandIn(t, nil, "man", dir)
	if status != exitOK || errs != "" {
		t.Fatalf("status %d, %q", status, errs)
	}
	for _, name := range []string{"run", "check", "demo", "probe", "status", "sessions", "drain", "enable", "disable", "reload", "version"} {
		page, err := os.ReadFile(filepath.Join(dir, "smtplb-"+name+".8"))
		if err != nil {
			t.Error(err)
			continue
		}
		holds(t, name, string(page), ".TH", "smtplb "+version, ".SH NAME", "smtplb-"+name, ".SH SYNOPSIS", ".SH SEE ALSO")
	}
	if page, err := os.ReadFile(filepath.Join(dir, "smtplb.8")); err != nil || !strings.Contains(string(page), "smtplb-drain") {
		t.Errorf("the main page: %v", err)
	}
	if status, _, _ := commandIn(t, nil, "man", filepath.Join(dir, "smtplb.8")); status != exitError {
		t.Errorf("into a file: status %d", status)
	}
}
