package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root = "../.."

	maxFile     = 500 // lines; a file is one subject, read in one sitting
	maxFunction = 100 // lines
	maxMain     = 39  // lines of a command's main.go, which only calls run
)

// source is one parsed Go file, named by its slash-separated path from the root.
type source struct {
	name  string
	lines int
	fset  *token.FileSet
	file  *ast.File
}

// A rule returns one line for each place that breaks it.
type rule func(source) []string

var rules = []rule{smallFile, smallMain, smallFunctions, noInit, noSleep, ownedTime}

// This also reads every Go file through package os, so that go test, which
// watches such reads, never answers for this package from its cache when only
// another package has changed.
func TestSourcesKeepTheirForm(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && hidden(entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		src, err := parse(filepath.ToSlash(rel), text)
		if err != nil {
			return err
		}
		files++
		for _, problem := range broken(src) {
			t.Error(problem)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go file found: nothing was checked")
	}
}

// As for the arrows: each rule catches what it is there for, and no more.
func TestBadFormIsCaught(t *testing.T) {
	newlines := func(n int) string { return strings.Repeat("\n", n) }
	tests := []struct {
		name string
		file string
		text string
		want string // part of the problem; empty: well-formed
	}{
		{"a file of 500 lines", "proxy/loop.go", "package proxy" + newlines(500), ""},
		{"a file of 501 lines", "proxy/loop.go", "package proxy" + newlines(501), "501 lines"},
		{"a function of 100 lines", "proxy/loop.go", "package proxy\nfunc f() {" + newlines(99) + "}", ""},
		{"a function of 101 lines", "proxy/loop.go", "package proxy\nfunc f() {" + newlines(100) + "}", "f has 101 lines"},
		{"a main.go that only calls run", "cmd/smtplb/main.go", "package main" + newlines(39), ""},
		{"a main.go that does things", "cmd/smtplb/main.go", "package main" + newlines(40), "40 lines"},
		{"other files of a command", "cmd/smtplb/run.go", "package main" + newlines(40), ""},
		{"init", "proxy/loop.go", "package proxy\nfunc init() {}", "init"},
		{"a method named init", "proxy/loop.go", "package proxy\nfunc (l *loop) init() {}", ""},
		{"a unit test sleeps", "proxy/loop_test.go", "package proxy\nfunc f() { time.Sleep(1) }", "time.Sleep"},
		{"a unit test passes Sleep on", "proxy/loop_test.go", "package proxy\nvar wait = time.Sleep", "time.Sleep"},
		{"a test says Sleep in a string", "proxy/loop_test.go", "package proxy\nvar s = `time.Sleep(1)`", ""},
		{"a black-box test sleeps", "e2e/run_test.go", "package e2e\nfunc f() { time.Sleep(1) }", ""},
		{"the scripted relay's tests sleep", "internal/smtptest/relay_test.go", "package smtptest\nfunc f() { time.Sleep(1) }", ""},
		{"balancer is given its time", "balancer/pool.go", "package balancer\nfunc f(now time.Time) bool { return now.IsZero() }", ""},
		{"balancer reads the clock", "balancer/pool.go", "package balancer\nfunc f() { _ = time.Now() }", "time.Now"},
		{"balancer starts a timer", "balancer/pool.go", "package balancer\nfunc f() { time.AfterFunc(1, f) }", "time.AfterFunc"},
		{"balancer starts a goroutine", "balancer/pool.go", "package balancer\nfunc f() { go f() }", "goroutine"},
		{"balancer's tests do as they like", "balancer/pool_test.go", "package balancer\nfunc f() { go f(); _ = time.Now() }", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			src, err := parse(test.file, []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(broken(src), "\n")
			if test.want == "" && got != "" {
				t.Errorf("well-formed source reported: %s", got)
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want a problem with %q", got, test.want)
			}
		})
	}
}

func broken(src source) []string {
	var problems []string
	for _, rule := range rules {
		problems = append(problems, rule(src)...)
	}
	return problems
}

func smallFile(src source) []string {
	if src.lines <= maxFile {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d lines, want at most %d: split it by subject", src.name, src.lines, maxFile)}
}

func smallMain(src source) []string {
	if ok, err := path.Match("cmd/*/main.go", src.name); err != nil || !ok || src.lines <= maxMain {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d lines, want at most %d: main only calls run", src.name, src.lines, maxMain)}
}

func smallFunctions(src source) []string {
	var problems []string
	for _, decl := range src.file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := src.fset.Position(fn.End()).Line - src.fset.Position(fn.Pos()).Line + 1
		if lines > maxFunction {
			problems = append(problems, fmt.Sprintf("%s: %s has %d lines, want at most %d", src.at(fn), fn.Name.Name, lines, maxFunction))
		}
	}
	return problems
}

func noInit(src source) []string {
	for _, decl := range src.file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			return []string{src.at(fn) + ": func init: what runs unasked cannot be ordered, configured or tested"}
		}
	}
	return nil
}

// noSleep: a test that sleeps is slow where it holds and flaky where it does
// not. The scripted relay plays slow relays, and e2e waits for real programs.
func noSleep(src source) []string {
	if !src.test() || src.in("internal/smtptest") || src.in("e2e") {
		return nil
	}
	return src.uses("time", "wait for the event itself, or use testing/synctest", "Sleep")
}

// ownedTime: the balancer gets the time as a parameter and starts nothing.
func ownedTime(src source) []string {
	if src.test() || !src.in("balancer") {
		return nil
	}
	problems := src.uses("time", "the caller gives the balancer its time",
		"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker")
	ast.Inspect(src.file, func(n ast.Node) bool {
		if stmt, ok := n.(*ast.GoStmt); ok {
			problems = append(problems, src.at(stmt)+": goroutine: the balancer starts none")
		}
		return true
	})
	return problems
}

// uses returns a problem for each mention of pkg.name.
func (src source) uses(pkg, reason string, names ...string) []string {
	var problems []string
	ast.Inspect(src.file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); !ok || of.Name != pkg {
			return true
		}
		for _, name := range names {
			if selector.Sel.Name == name {
				problems = append(problems, fmt.Sprintf("%s: %s.%s: %s", src.at(selector), pkg, name, reason))
			}
		}
		return true
	})
	return problems
}

func (src source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", src.name, src.fset.Position(n.Pos()).Line)
}

func (src source) test() bool { return strings.HasSuffix(src.name, "_test.go") }

func (src source) in(dir string) bool { return strings.HasPrefix(src.name, dir+"/") }

func parse(name string, text []byte) (source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	lines := bytes.Count(text, []byte("\n"))
	if len(text) > 0 && text[len(text)-1] != '\n' {
		lines++
	}
	return source{name: name, lines: lines, fset: fset, file: file}, nil
}

// hidden: what go itself passes over, and what was built.
func hidden(dir string) bool {
	if dir == "." || dir == ".." {
		return false
	}
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") || dir == "testdata" || dir == "bin"
}
