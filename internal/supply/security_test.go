package supply

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that SECURITY.md names is there, and every line of its tables says by
// what it is shown, or that nothing stops it.
func TestTheSecurityPageNamesTestsThatThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := tests(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
	count := 0
	for _, name := range named.FindAllStringSubmatch(string(text), -1) {
		count++
		if !there[name[1]] {
			t.Errorf("there is no %s", name[1])
		}
	}
	if count == 0 {
		t.Error("no test is named: nothing was checked")
	}
	for line := range strings.Lines(string(text)) {
		row, ok := strings.CutPrefix(strings.TrimSpace(line), "| ")
		if !ok || strings.Contains(row, "shown by") {
			continue
		}
		if !named.MatchString(row) && !strings.Contains(row, "| nothing: ") && !strings.Contains(row, "| the same |") {
			t.Errorf("not shown: %s", row)
		}
	}
}

// tests are the names of all tests in the tree.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // of this tree
		for _, name := range function.FindAllSubmatch(text, -1) {
			names[string(name[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
