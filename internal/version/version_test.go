package version

import (
	"strings"
	"testing"
)

func TestVersionIsTheLinkers(t *testing.T) {
	if got := Full("v1.2.3"); got != "v1.2.3" {
		t.Errorf("Full: %q, want what the linker was told", got)
	}
	if got := Line("smtplb", "v1.2.3"); !strings.HasPrefix(got, "smtplb v1.2.3 (go") || !strings.HasSuffix(got, ")") {
		t.Errorf("Line: %q", got)
	}
}

func TestVersionIsNeverEmpty(t *testing.T) {
	if Full(Unset) == "" {
		t.Error("nothing is known, and that is not said")
	}
}
