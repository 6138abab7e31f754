package balancer

import (
	"os"
	"strings"
	"testing"
)

func TestDocsShowTheStateMachine(t *testing.T) {
	const file, begin, end = "../docs/failover.md", "<!-- the state machine -->\n", "<!-- end -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table, between %q and %q", file, begin, end)
	}
	want := StateTable()
	if got == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the code does: UPDATE_DOCS=1 go test ./balancer -run StateMachine writes it\n got:\n%s\nwant:\n%s", file, got, want)
}
