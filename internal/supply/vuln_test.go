package supply

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Entries of a vulnerability database, made up. The program calls the first's
// function at each start; it calls nothing of the second's.
const (
	index = `[{"path": "github.com/spf13/cobra", "vulns": [{"id": "GO-2099-0001", "modified": "2099-01-01T00:00:00Z"}]}]`
	entry = `{"schema_version": "1.3.1", "id": "GO-2099-0001", "modified": "2099-01-01T00:00:00Z", "published": "2099-01-01T00:00:00Z",
		"summary": "Made up for a test", "details": "Nothing is wrong.",
		"database_specific": {"url": "https://example.com/GO-2099-0001"},
		"affected": [{"package": {"name": "github.com/spf13/cobra", "ecosystem": "Go"},
			"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
			"ecosystem_specific": {"imports": [{"path": "PACKAGE", "symbols": ["SYMBOL"]}]}}]}`
)

func TestAFindingFails(t *testing.T) {
	called := strings.NewReplacer("PACKAGE", "github.com/spf13/cobra", "SYMBOL", "Command.ExecuteContextC").Replace(entry)
	foreign := strings.NewReplacer("PACKAGE", "github.com/spf13/cobra/doc", "SYMBOL", "GenReSTTree").Replace(entry)
	empty := database(t, "[]", "")
	tests := []struct {
		name   string
		env    []string
		status int // 3: it was looked, and something was found
		says   string
	}{
		{"a finding", []string{"GOVULNDB=" + database(t, index, called)}, 3, "cobra.Command.ExecuteContextC"},
		{"a finding in what is not called", []string{"GOVULNDB=" + database(t, index, foreign)}, 0, "0 vulnerabilities"},
		{"none", []string{"GOVULNDB=" + empty}, 0, "No vulnerabilities found"},
		{"a directory that is no database", []string{"GOVULNDB=file://" + t.TempDir()}, 1, "no index/db.json"},
		{"the one that is named is out of reach", append(unreachable, "GOVULNDB=https://vulnerabilities.invalid"), 1, "vulndb"},
		{"the usual one is out of reach", append(unreachable, "GOVULNDB="), 0, "NOT CHECKED"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := try(t, test.env, "internal/tools/vuln.sh", "./cmd/smtplb")
			status := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if status != test.status {
				t.Errorf("it ends with status %d, want %d", status, test.status)
			}
			if !strings.Contains(out, test.says) {
				t.Errorf("it does not say %q", test.says)
			}
			if checked := !strings.Contains(out, "NOT CHECKED"); !checked && test.says != "NOT CHECKED" {
				t.Error("it was not checked")
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// What is no matter of the network is no excuse.
func TestWhatCannotBeReadFails(t *testing.T) {
	out, err := try(t, append(unreachable, "GOVULNDB="), "internal/tools/vuln.sh", "./no/such/package")
	if err == nil || strings.Contains(out, "NOT CHECKED") {
		t.Errorf("%v: %s", err, out)
	}
}

// unreachable is an environment without a network.
var unreachable = []string{"HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1", "NO_PROXY="}

// database makes one and returns its address.
func database(t *testing.T, index, entry string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"index/db.json": `{"modified": "2099-01-01T00:00:00Z"}`, "index/modules.json": index, "ID/GO-2099-0001.json": entry}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir
}
