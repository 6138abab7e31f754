package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is what a page has between two lines of ```.
type block struct {
	page string // from the root, such as docs/exchange.md
	line int    // of its first line
	lang string
	note string // of the line above it, where that is <!-- note -->
	text string
}

func (b block) at() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// kinds are the languages that a block of a page may be in, and what the tests
// do with it.
var kinds = map[string]string{
	"yaml":         "read by smtplb check",
	"haproxy":      "read by haproxy -c",
	"nginx":        "read by nginx -t",
	"sh":           "run; every command must end well",
	"bash":         "run; every command must end well",
	"console":      "run; what is shown below a command must be what it says",
	"iproute2":     "run in network namespaces, by the tests of the page",
	"nft":          "read by nft there",
	"shell":        "not run, each listed below with the reason",
	"powershell":   "not run: there is no Exchange here",
	"tmsh":         "not run: there is no BIG-IP here",
	"ini":          "not run: parts of files of systemd, keepalived, Postfix and others",
	"cloud-config": "e2e/appliance boots a machine with it",
	"promql":       "not run here: internal/admin reads it",
	"json":         "shown",
	"text":         "shown",
}

// unrun are the commands that no test of this file runs, by their beginning.
var unrun = []struct{ command, reason string }{
	{"make run", "it is the demo, which these tests start in its place"},
	{"make test", "it is what runs this"},
	{"make build", "the tests build by themselves"},
	{"make appliance", "e2e/appliance boots what it builds"},
	{"genisoimage ", "e2e/appliance does, with its own names"},
	{"make deb", "e2e/deb builds the package, and boots a Debian with it"},
	{"apt install ", "e2e/deb installs the package, in a Debian of its own"},
	{"editor ", "it is for a person"},
	{"smtplb check", "e2e/deb runs it, with the package's file"},
	{"make chaos", ".ci/run runs it; TestChaos of e2e/chaos is a short one"},
	{"make bench", "it takes minutes, and measures"},
	{"make compare", "it takes ten minutes; TestCompare runs a short one"},
	{"go test", "other tests, of other packages or of this one"},
	{"go tool", "the tools are run by make lint, this is for reading measurements"},
	{"install ", "it is for the machine, not for a test"},
	{"smtplb ha keepalived", "ha_test.go runs it, for its own network"},
	{"smtplb sessions  ", "ha_test.go runs it, where keepalived is"},
	{"smtplb ha bird ", "bird_test.go runs it, for its own network"},
	{"bird -p", "bird_test.go runs it, in network namespaces"},
	{"keepalived ", "ha_test.go runs it, in network namespaces"},
	{"nft ", "ha_test.go has the same rules, in a network namespace"},
	{"systemctl ", "e2e/deb does, under a systemd of its own; systemd_test.go plays its part here"},
	{"journalctl ", "e2e/deb does, under a systemd of its own"},
	{"bin/smtplb run", "these tests start it for every page"},
}

func blocks(t *testing.T) (all []block) {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, page := range append([]string{"../README.md"}, pages...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, blocksOf(strings.TrimPrefix(page, "../"), string(text))...)
	}
	return all
}

var noteLine = regexp.MustCompile(`^\s*<!-- (.*) -->$`)

// blocksOf reads the blocks of one page; those within a list are moved to the
// left.
func blocksOf(page, text string) (all []block) {
	var open *block
	indent, above := "", ""
	for i, line := range strings.Split(text, "\n") {
		lang, fence := strings.CutPrefix(strings.TrimLeft(line, " "), "```")
		switch {
		case fence && open == nil:
			open = &block{page: page, line: i + 2, lang: strings.TrimSpace(lang)}
			indent = line[:len(line)-len(lang)-3]
			if found := noteLine.FindStringSubmatch(above); found != nil {
				open.note = found[1]
			}
		case fence:
			all, open = append(all, *open), nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
		above = line
	}
	return all
}

func TestDocsBlocksAreOfAKnownKind(t *testing.T) {
	used := map[string]bool{}
	for _, b := range blocks(t) {
		used[b.lang] = true
		if kinds[b.lang] == "" {
			t.Errorf("%s: a block in the language %q: no test knows what to do with it", b.at(), b.lang)
		}
		if b.lang != "shell" {
			continue
		}
		for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
			known := slices.ContainsFunc(unrun, func(u struct{ command, reason string }) bool { return strings.HasPrefix(line, u.command) })
			if !known && line != "" && line[0] != ' ' && line[0] != '#' {
				t.Errorf("%s: %q is not run, and no reason is known: list it, or make the block sh", b.at(), line)
			}
		}
	}
	for _, lang := range []string{"yaml", "sh", "console"} {
		if !used[lang] {
			t.Errorf("no block of %s was found: nothing is tested", lang)
		}
	}
}

// A block that is a whole file is read as it is; one that shows a part is
// completed.
func TestDocsConfigurationsAreAccepted(t *testing.T) {
	for _, b := range blocks(t) {
		if b.lang != "yaml" {
			continue
		}
		file := writeFile(t, "smtplb.yaml", completed(b.text))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := exec.CommandContext(ctx, released, "check", "--config", file).CombinedOutput()
		cancel()
		if err != nil {
			t.Errorf("%s: smtplb check: %v\n%s", b.at(), err, out)
		}
		// The machines of the pages have other addresses than this one.
		warnings := strings.ReplaceAll(string(out), "warning: on this machine: ", "")
		if strings.Contains(warnings, "warning") && b.note != "warns" {
			t.Errorf("%s: smtplb check warns:\n%s", b.at(), out)
		}
	}
}

var poolName = regexp.MustCompile(`(?m)^  - name: (\S+)$`)

// completed adds the sections that a part of a file leaves out.
func completed(text string) string {
	has := func(key string) bool { return strings.HasPrefix(text, key) || strings.Contains(text, "\n"+key) }
	if !has("listeners:") {
		pools := poolName.FindAllStringSubmatch(text, -1)
		text += "listeners:\n"
		for i, pool := range pools {
			text += fmt.Sprintf("  - {address: \"192.0.2.%d:25\", allow: [\"10.10.0.0/16\"], pool: %s}\n", 25+i, pool[1])
		}
		if len(pools) == 0 {
			text += "  - {address: \"192.0.2.25:25\", allow: [\"10.10.0.0/16\"]}\n"
		}
	}
	if !has("pools:") {
		text += "pools:\n  - backends:\n      - {address: \"10.10.1.11:25\"}\n"
	}
	return text
}

// What is shown of others is read by them, as far as they are here.
func TestDocsConfigurationsOfOthersAreAccepted(t *testing.T) {
	var haproxy, nginx []block
	for _, b := range blocks(t) {
		switch b.lang {
		case "haproxy":
			haproxy = append(haproxy, b)
		case "nginx":
			nginx = append(nginx, b)
		}
	}
	if len(haproxy) == 0 || len(nginx) == 0 {
		t.Error("no block of HAProxy's or none of nginx's: nothing was tested")
	}
	t.Run("haproxy", func(t *testing.T) {
		for _, b := range haproxy {
			accepts(t, b, find(t, "haproxy"), "-c", "-q", "-f", writeFile(t, "haproxy.cfg", b.text))
		}
	})
	t.Run("nginx", func(t *testing.T) {
		for _, b := range nginx {
			// -t also binds the addresses, unless it is told another one.
			text := strings.ReplaceAll(b.text, "listen 192.0.2.25:25", "listen "+freeAddress(t, "127.0.0.1").String())
			file := writeFile(t, "nginx.conf", nginxModules(t)+"events {}\n"+text)
			dir := filepath.Dir(file)
			accepts(t, b, find(t, "nginx"), "-t", "-q", "-c", file, "-p", dir, "-g", "error_log stderr; pid "+dir+"/pid;")
		}
	})
}

func accepts(t *testing.T, b block, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %s: %v\n%s", b.at(), program, err, out)
	}
}

// nginxModules loads the stream module where it is a file of its own.
func nginxModules(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, find(t, "nginx"), "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("nginx -V: %v\n%s", err, out)
	}
	found := regexp.MustCompile(`--modules-path=(\S+)`).FindStringSubmatch(string(out))
	if found == nil || !strings.Contains(string(out), "--with-stream=dynamic") {
		return ""
	}
	return "load_module " + found[1] + "/ngx_stream_module.so;\n"
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noPart  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`) // of the name that GitHub gives a heading
)

// Links from one page to another, and to a heading in it, lead somewhere. Those to
// other sites are not followed.
func TestDocsLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	followed := 0
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			followed++
			name, part, _ := strings.Cut(found[1], "#")
			to := page
			if name != "" {
				to = filepath.Join(filepath.Dir(page), name)
			}
			target, err := os.ReadFile(to)
			if info, statErr := os.Stat(to); statErr == nil && info.IsDir() && part == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s: %s: %v", page, found[1], err)
				continue
			}
			if part != "" && !slices.Contains(parts(string(target)), part) {
				t.Errorf("%s: %s: there is no such heading", page, found[1])
			}
		}
	}
	if followed < 10 {
		t.Errorf("only %d links", followed)
	}
}

// parts are the names of a page's headings in links.
func parts(text string) (names []string) {
	for _, found := range heading.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.ReplaceAll(noPart.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-"))
	}
	return names
}
