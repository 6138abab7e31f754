package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fenced returns the blocks of a page that are marked as of a language.
func fenced(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, rest := range strings.Split(string(text), "\n```"+language+"\n")[1:] {
		block, _, closed := strings.Cut(rest, "\n```")
		if !closed {
			t.Fatalf("%s: a block of %s has no end", page, language)
		}
		blocks = append(blocks, block+"\n")
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return blocks
}

// What the page says others are configured with is what they take.
func TestMigratingShowsWhatOthersTake(t *testing.T) {
	const page = "docs/migrating.md"
	for _, test := range []struct {
		language, program string
		before            string   // the block
		args              []string // before the file
	}{
		{"haproxy", "haproxy", "", []string{"-c", "-f"}},
		{"nginx", "nginx", streamModule() + "error_log stderr;\npid nginx.pid;\nevents {}\n", []string{"-t", "-e", "stderr", "-c"}},
	} {
		t.Run(test.language, func(t *testing.T) {
			program := find(t, test.program)
			for _, block := range fenced(t, page, test.language) {
				// Checking binds: an address that is here.
				block = strings.ReplaceAll(block, "192.0.2.25:25", freeAddress(t, "127.0.0.1").String())
				file := filepath.Join(t.TempDir(), test.language+".conf")
				if err := os.WriteFile(file, []byte(test.before+block), 0o600); err != nil {
					t.Fatal(err)
				}
				args := append(append([]string{}, test.args...), file)
				if test.language == "nginx" {
					args = append(args, "-p", filepath.Dir(file))
				}
				if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil { //nolint:gosec // ours
					t.Errorf("%s refuses it: %v\n%s", test.program, err, out)
				}
			}
		})
	}
}

// streamModule loads nginx's stream module where it is a file of its own.
func streamModule() string {
	const file = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return "load_module " + file + ";\n"
}
