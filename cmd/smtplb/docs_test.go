package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"smtplb/balancer"
	"smtplb/proxy"
)

// part is what a page has between "<!-- name -->" and "<!-- end -->".
func part(t *testing.T, page, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- "+name+" -->\n")
	rest, _, closed := strings.Cut(rest, "<!-- end -->")
	if !found || !closed {
		t.Fatalf("%s has no part %q", page, name)
	}
	return rest
}

var (
	firstCell = regexp.MustCompile("(?m)^\\| (`.*?) \\|")
	codeWord  = regexp.MustCompile("`([^`]+)`")
)

// firstCells are the words in the first column of a table, without its head.
func firstCells(table string) (words []string) {
	for i, cell := range firstCell.FindAllStringSubmatch(table, -1) {
		for _, word := range codeWord.FindAllStringSubmatch(cell[1], -1) {
			if i > 0 || !strings.HasPrefix(table, cell[0]) {
				words = append(words, word[1])
			}
		}
	}
	return words
}

func ends() (words []string) {
	for e := proxy.ClientClosed; e.String() != "unknown"; e++ {
		words = append(words, e.String())
	}
	return words
}

func outcomes() (words []string) {
	for o := balancer.OK; o.String() != "unknown"; o++ {
		words = append(words, o.String())
	}
	return words
}

// The page on operations, and the README, have the words of the code: all of
// them, in its order, and no others.
func TestOperationsHaveTheWordsOfTheCode(t *testing.T) {
	const page = "docs/operations.md"
	for _, test := range []struct {
		part string
		want []string
	}{{"ends", ends()}, {"outcomes", outcomes()}, {"fields", sessionFields(t)}} {
		if got := firstCells(part(t, page, test.part)); !slices.Equal(got, test.want) {
			t.Errorf("%s, %s:\n got %v\nwant %v", page, test.part, got, test.want)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{ends(), outcomes()} {
		if list := "`" + strings.Join(words, " ") + "`"; !strings.Contains(string(readme), list) {
			t.Errorf("README.md has not the words %s", list)
		}
	}
}

// sessionFields are those of a session's line, in their order.
func sessionFields(t *testing.T) (names []string) {
	t.Helper()
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{})
	if err := (*sessionLine)(&proxy.Record{Reason: "why"}).MarshalLogObject(encoder); err != nil {
		t.Fatal(err)
	}
	out, err := encoder.EncodeEntry(zapcore.Entry{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(out.String(), -1) {
		names = append(names, found[1])
	}
	return names
}

// Each line of the log that the page names is one that the program writes.
func TestOperationsNameLinesThatAreWritten(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	lines := firstCells(part(t, "docs/operations.md", "lines"))
	if len(lines) == 0 {
		t.Error("no lines are named: nothing was checked")
	}
	for _, line := range lines {
		if !strings.Contains(source.String(), `"`+line) {
			t.Errorf("nobody writes a line %q", line)
		}
	}
}

func TestOperationsSayWhatNeedsARestart(t *testing.T) {
	keys := codeWord.FindAllStringSubmatch(part(t, "docs/operations.md", "restart"), -1)
	if len(keys) == 0 {
		t.Error("no keys are named: nothing was checked")
	}
	for _, key := range keys {
		if !needsRestart(key[1] + ": a -> b") {
			t.Errorf("%s takes effect at a reload", key[1])
		}
	}
	for _, key := range []string{"log.level", "dns.timeout", "pools.a.slow_start", "listeners.a.allow"} {
		if needsRestart(key + ": a -> b") {
			t.Errorf("%s waits for a restart, which the page does not say", key)
		}
	}
}

// Nobody has to read the source to learn of a command.
func TestEveryCommandIsDocumented(t *testing.T) {
	var pages strings.Builder
	for _, name := range []string{"README.md", "docs/operations.md"} {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		pages.Write(text)
	}
	root := newRoot(streams{}, nil)
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" && !regexp.MustCompile("smtplb "+c.Name()+`\b|`+"`"+c.Name()+" ").MatchString(pages.String()) {
			t.Errorf("no page has smtplb %s", c.Name())
		}
	}
}
