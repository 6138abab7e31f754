package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shown is a command of a page.
type shown struct {
	at         string
	command    string
	background bool   // it goes on until the page is over
	status     int    // that it must end with
	output     string // that the page shows; none where nothing is shown
	quiet      bool   // the page shows no output because it does not matter
}

// commandsOf are the commands of a page, in order. A block of sh is one command;
// of a console each line after "$ " is one, with its output below.
func commandsOf(t *testing.T, page string) (all []shown) {
	t.Helper()
	for _, b := range blocks(t) {
		if b.page != page {
			continue
		}
		first := len(all)
		switch b.lang {
		case "sh", "bash":
			all = append(all, shown{at: b.at(), command: b.text, quiet: true})
		case "console":
			all = append(all, consoleOf(b)...)
		default:
			continue
		}
		if first == len(all) {
			t.Fatalf("%s: no command", b.at())
		}
		last := &all[len(all)-1]
		switch status, exits := strings.CutPrefix(b.note, "exit "); {
		case b.note == "":
		case b.note == "background":
			last.background = true
		case exits:
			n, err := strconv.Atoi(status)
			if err != nil {
				t.Fatalf("%s: %v", b.at(), err)
			}
			last.status = n
		default:
			t.Fatalf("%s: the note %q means nothing", b.at(), b.note)
		}
	}
	return all
}

func consoleOf(b block) (all []shown) {
	goesOn := false
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		command, begins := strings.CutPrefix(line, "$ ")
		switch {
		case begins:
			all = append(all, shown{at: fmt.Sprintf("%s:%d", b.page, b.line+i), command: command + "\n"})
		case len(all) == 0:
		case goesOn:
			all[len(all)-1].command += line + "\n"
		default:
			all[len(all)-1].output += line + "\n"
		}
		goesOn = (begins || goesOn) && strings.HasSuffix(line, `\`)
	}
	return all
}

// The addresses of the pages, on a machine of their own: a client's, the one
// that is not allowed, the VIP, and three relays that take any mail.
const docsNetwork = `
ip link set lo up
for a in 10.10.0.11 198.51.100.7 192.0.2.25 10.10.1.11 10.10.1.12 10.20.1.11; do ip addr add $a/32 dev lo; done
ip route replace local 192.0.2.25 dev lo table local src 10.10.0.11
`

const docsSite = docsNetwork + `
smtpbench sink --relay hq-a=10.10.1.11:25 --relay hq-b=10.10.1.12:25 --relay dr-a=10.20.1.11:25 >sink.log 2>&1 &
smtplb run --config smtplb.yaml 2>smtplb.log &
`

const docsDemo = docsNetwork + `
sleep 1000 | smtplb demo >demo.log 2>smtplb.log &
`

// Every command of every page does what the page says, in the order of the page,
// beside a smtplb that runs the first configuration of the page; the README's
// beside the demo. It is a network of its own, so that addresses and ports are
// those of the page.
func TestDocsCommandsDoWhatThePagesSay(t *testing.T) {
	pages := map[string]bool{}
	for _, b := range blocks(t) {
		if !pages[b.page] && len(commandsOf(t, b.page)) > 0 {
			pages[b.page] = true
			t.Run(b.page, func(t *testing.T) { followPage(t, b.page) })
		}
	}
	if !pages["README.md"] || !pages["docs/operations.md"] {
		t.Errorf("pages with commands: %v: want the README and the one on operations among them", pages)
	}
}

func followPage(t *testing.T, page string) {
	for _, program := range []string{"unshare", "ip", "swaks", "curl", "timeout"} {
		find(t, program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	inside := []string{"-r", "-n", "-p", "-f", "--mount-proc", "--kill-child", "bash", "-eu"}
	if out, err := exec.CommandContext(ctx, find(t, "unshare"), append(inside, "-c", "ip link set lo up")...).CombinedOutput(); err != nil {
		lacking(t, "no namespaces for a user here: %v\n%s", err, out)
	}
	dir, world, commands := t.TempDir(), docsSite, commandsOf(t, page)
	if page == "README.md" {
		world = docsDemo
	}
	docsFiles(t, dir, page)
	script := world + "until curl -sf http://127.0.0.1:9925/readyz >ready.log; do sleep .1; done\n"
	for i, c := range commands {
		script += c.script(t, dir, i)
	}
	cmd := exec.CommandContext(ctx, find(t, "unshare"), append(inside, "-c", script)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+"/bin:"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the page was not followed to its end: %v\n%s", err, out)
	}
	for i, c := range commands {
		c.hold(t, dir, i)
	}
	if t.Failed() {
		for _, name := range []string{"smtplb.log", "sink.log", "demo.log"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				t.Logf("%s, its end:\n%s", name, text[max(0, len(text)-2000):])
			}
		}
	}
}

// docsFiles is the directory that a reader works in: bin, as make build leaves
// it, and the first configuration of the page.
func docsFiles(t *testing.T, dir, page string) {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(released, filepath.Join(bin, "smtplb")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(smtpbench(t), filepath.Join(bin, "smtpbench")); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{page, "docs/exchange.md"} {
		for _, b := range blocks(t) {
			if b.page == of && b.lang == "yaml" && strings.Contains(b.text, "listeners:") {
				if err := os.WriteFile(filepath.Join(dir, "smtplb.yaml"), []byte(b.text), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatal("no configuration found")
}

// script runs the i-th command and leaves its output and status in files.
func (c shown) script(t *testing.T, dir string, i int) string {
	t.Helper()
	name := filepath.Join(dir, fmt.Sprintf("command%d", i))
	if err := os.WriteFile(name, []byte("set -euo pipefail\n"+c.command), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.background {
		// The next command may rely on what it listens on.
		return fmt.Sprintf("n=$(ss -ltn | wc -l); bash %s >%s.out 2>&1 </dev/null & echo 0 >%s.status\n"+
			"for try in $(seq 100); do [[ $(ss -ltn | wc -l) -gt $n ]] && break; sleep .1; done\n", name, name, name)
	}
	// The next command may look into the log, which is written within 100 ms.
	return fmt.Sprintf("s=0; timeout 60 bash %s >%s.out 2>&1 </dev/null || s=$?; echo $s >%s.status; sleep .2\n", name, name, name)
}

// hold compares what came of a command with what the page says.
func (c shown) hold(t *testing.T, dir string, i int) {
	t.Helper()
	name := filepath.Join(dir, fmt.Sprintf("command%d", i))
	status, err := os.ReadFile(name + ".status")
	out, _ := os.ReadFile(name + ".out") // none: not run
	switch {
	case err != nil:
		t.Errorf("%s: was not run: %s", c.at, c.command)
	case string(bytes.TrimSpace(status)) != strconv.Itoa(c.status):
		t.Errorf("%s: exit status %s, want %d:\n%s%s", c.at, bytes.TrimSpace(status), c.status, c.command, out)
	case !c.quiet && !matches(c.output, string(out)):
		t.Errorf("%s: %s\nsays:\n%s\nthe page shows:\n%s", c.at, c.command, out, c.output)
	}
}

// matches compares an output with the one shown, in which "..." is whatever
// stands there, on a line of its own any lines, and any white space is the same.
func matches(shown, out string) bool {
	var pattern strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(shown), "\n") {
		if strings.TrimSpace(line) == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		words := strings.Fields(line)
		for i, word := range words {
			words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), regexp.QuoteMeta("..."), ".*?")
		}
		pattern.WriteString(`[ \t]*` + strings.Join(words, `[ \t]+`) + `[ \t]*\n`)
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(strings.TrimSpace(out) + "\n")
}

func TestShownOutputIsCompared(t *testing.T) {
	for _, test := range []struct {
		shown, out string
		want       bool
	}{
		{"ok in ...\n", "ok in 3ms\n", true},
		{"ok in ...\n", "ok in 3ms\nmore\n", false},
		{"one\n...\nfour\n", "one\ntwo\nthree\nfour\n", true},
		{"one\n...\nfour\n", "one\nfour\n", true},
		{"one\n...\nfour\n", "one\ntwo\n", false},
		{"NAME  STATE\n", "NAME     STATE   \n", true},
		{"a.c\n", "abc\n", false},
	} {
		if got := matches(test.shown, test.out); got != test.want {
			t.Errorf("%q as %q: %v, want %v", test.out, test.shown, got, test.want)
		}
	}
}
