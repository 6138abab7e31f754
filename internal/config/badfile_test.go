package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smtplb/internal/config"
)

// laughs is the file that grows to 10^n elements where aliases are followed.
func laughs(n int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [lol]\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), i-1)
	}
	fmt.Fprintf(&b, "listeners: *a%d\n", n)
	return b.String()
}

func TestFilesThatAreNotAConfiguration(t *testing.T) {
	const noSettings = "f.yaml: holds no settings: must hold listeners and pools"
	tests := []struct{ name, text, want string }{
		{"empty", "", "f.yaml: is empty: must hold listeners and pools"},
		{"blank", " \n\t\n", "f.yaml: is empty: must hold listeners and pools"},
		{"comments only", "# nothing yet\n", noSettings},
		{"a null document", "---\n", noSettings},
		{"an ELF binary", "\x7fELF\x02\x01\x01\x00", "f.yaml:1: U+007F: must be text, without control characters"},
		{"NUL bytes", "listeners:\n  - a\x00b\n", "f.yaml:2: byte 0x00: must be text: this is a binary file, or UTF-16"},
		{"a C1 control", "listeners:\n\u009b\n", "f.yaml:2: U+009B: must be text, without control characters"},
		{"UTF-16", "\xff\xfel\x00i\x00", "f.yaml:1: byte 0xff: must be text in UTF-8"},
		{"Latin-1", "listeners:\n\n  # f\xfcr\n", "f.yaml:3: byte 0xfc: must be text in UTF-8"},
		{"a word", "hello\n", "f.yaml:1: \"hello\": must be a mapping, beginning with `listeners:`"},
		{"a list", "\n- a\n", "f.yaml:2: a list: must be a mapping, beginning with `listeners:`"},
		{"JSON", `{"listeners": [}`, "f.yaml:1: not YAML: did not find expected node content"},
		{"tab before a key", "listeners:\n\t- address: x\n", "f.yaml:2: must be indented by spaces: this line begins with a tab"},
		{"tab after spaces", "listeners:\n  - address: x\n  \tpool: y\n", "f.yaml:3: must be indented by spaces: this line begins with a tab"},
		{"two documents", base + "---\nlisteners: []\n", "f.yaml:9: a second document begins: must be one document, without a `---` line in it"},
		{"two documents, the second broken", base + "---\n]\n", "f.yaml:10: not YAML: did not find expected node content"},
		{"nested too deep", "listeners: " + strings.Repeat("[", 100_000), "f.yaml:1: not YAML: exceeded max depth of 10000"},
		{"an alias of nothing", "listeners:\n  - *x\n", "f.yaml:2: anchors and aliases (&name, *name) are not known here: write the value out"},
		{"an anchor on everything", "&a\nlisteners: []\n", "f.yaml:1: anchors and aliases (&name, *name) are not known here: write the value out"},
		{"a tag on everything", "!!map\nlisteners: []\n", "f.yaml:1: tags (!name) are not known here: write the value alone"},
		{"indentation too small", "listeners:\n  - address: x\n    pool: y\n   allow: [z]\n", "f.yaml:2: not YAML: did not find expected '-' indicator: the indentation breaks somewhere from this line on"},
		{"indentation too large", "listeners:\n  - address: x\n     pool: y\n", "f.yaml:3: not YAML: mapping values are not allowed in this context"},
		{"a bracket left open", "a: 1\nlisteners: [a, b\npools: []\n", "f.yaml:2: not YAML: did not find expected ',' or ']'"},
		{"a quote left open", "listeners:\n  - name: \"x\n", "f.yaml:2: not YAML: found unexpected end of stream"},
		{"larger than 1 MiB", strings.Repeat("#", 1<<20+1), "f.yaml: is larger than 1 MiB: must be the configuration file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := complaints(t, tt.text); len(got) != 1 || got[0] != tt.want {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestYAMLBombIsNotExpanded would not end in the life of the machine, or of its
// memory, if one alias were followed: the file stands for 10^30 elements.
func TestYAMLBombIsNotExpanded(t *testing.T) {
	got := complaints(t, laughs(30))
	want := "f.yaml:32: listeners: anchors and aliases (&name, *name) are not known here: write the value out"
	if !strings.Contains(strings.Join(got, "\n"), want) {
		t.Errorf("got %q", got)
	}
}

func TestDeepNestingWhereAListBelongs(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	got := complaints(t, strings.Replace(base, `["10.10.0.0/16"]`, deep, 1))
	if want := "f.yaml:4: listeners[0].allow[0]: a list: must be one value"; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWindowsFilesAreRead(t *testing.T) {
	parse(t, "\ufeff"+strings.ReplaceAll(base, "\n", "\r\n"))
}

func TestPathsThatAreNotAFile(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	if _, err := config.Load(missing, nil); !errors.Is(err, fs.ErrNotExist) ||
		err.Error() != missing+": cannot be read: no such file or directory" {
		t.Errorf("missing: %v", err)
	}
	if _, err := config.Load(dir, nil); err == nil ||
		err.Error() != dir+": is a directory: must be a file, such as "+dir+"/smtplb.yaml" {
		t.Errorf("directory: %v", err)
	}
	through := filepath.Join(dir, "plain", "x.yaml")
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(through, nil); err == nil || err.Error() != through+": cannot be read: not a directory" {
		t.Errorf("below a file: %v", err)
	}
}

func TestUnreadableFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(path, []byte(base), 0); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, nil)
	if os.Geteuid() == 0 { // root reads everything
		if err != nil {
			t.Errorf("as root: %v", err)
		}
		return
	}
	if cfg != nil || !errors.Is(err, fs.ErrPermission) || err.Error() != path+": cannot be read: permission denied" {
		t.Errorf("got %v", err)
	}
}

// TestHugeFileIsNotRead gives files whose reading would be noticed: 10 MB by
// its size, 1 TiB without a block behind it, and a device without an end.
func TestHugeFileIsNotRead(t *testing.T) {
	const want = ": is larger than 1 MiB: must be the configuration file"
	path := filepath.Join(t.TempDir(), "huge.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{10 << 20, 1 << 40} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path, nil); err == nil || err.Error() != path+want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := config.Load("/dev/zero", nil); err == nil || err.Error() != "/dev/zero"+want {
		t.Errorf("/dev/zero: %v", err)
	}
}
