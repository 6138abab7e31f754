//go:build deb

package deb

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// deb is the path of one of the packages.
func deb(t *testing.T, which string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv(dirVariable), which, "smtplb_*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages in %s: %q, %v: want one", which, found, err)
	}
	return found[0]
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Two builds of one version, by people with other habits, are the same bytes.
func TestPackageIsReproducible(t *testing.T) {
	one, err := os.ReadFile(deb(t, "before"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(deb(t, "again"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Errorf("two packages of %d and %d bytes differ: diffoscope says where", len(one), len(two))
	}
}

// warnings of lintian that are meant.
var meant = []struct{ tag, reason string }{
	{"maintainer-script-calls-systemctl", "deb-systemd-invoke knows no SIGUSR2, by which one program takes over from another"},
	{"command-with-path-in-maintainer-script", "policy-rc.d is asked where its specification puts it"},
}

func TestLintianHasNothingToSay(t *testing.T) {
	out := output(t, "lintian", "--allow-root", "--fail-on", "error", deb(t, "before"))
	for line := range strings.Lines(out) {
		known := slices.ContainsFunc(meant, func(m struct{ tag, reason string }) bool { return strings.Contains(line, " "+m.tag+" ") })
		if !known && !strings.HasPrefix(line, "N: ") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

func TestPackageHolds(t *testing.T) {
	list := output(t, "dpkg-deb", "--contents", deb(t, "before"))
	for _, want := range []string{
		`-rwxr-xr-x root/root .* \./usr/bin/smtplb`,
		`-rwxr-xr-x root/root .* \./usr/bin/smtpbench`,
		`-rw-r--r-- root/root .* \./usr/lib/systemd/system/smtplb\.service`,
		`-rw-r--r-- root/root .* \./usr/lib/sysusers\.d/smtplb\.conf`,
		`drwxr-xr-x root/root .* \./etc/smtplb/`,
		`-rw-r--r-- root/root .* \./usr/share/smtplb/smtplb\.yaml`,
		`-rw-r--r-- root/root .* \./usr/share/man/man8/smtplb\.8\.gz`,
		`-rw-r--r-- root/root .* \./usr/share/man/man8/smtplb-run\.8\.gz`,
		`-rw-r--r-- root/root .* \./usr/share/man/man1/smtpbench\.1\.gz`,
		`-rw-r--r-- root/root .* \./usr/share/bash-completion/completions/smtplb`,
		`-rw-r--r-- root/root .* \./usr/share/bash-completion/completions/smtpbench`,
		`-rw-r--r-- root/root .* \./usr/share/zsh/vendor-completions/_smtplb`,
		`-rw-r--r-- root/root .* \./usr/share/fish/vendor_completions\.d/smtplb\.fish`,
		`-rw-r--r-- root/root .* \./usr/share/doc/smtplb/operations\.md`,
		`-rw-r--r-- root/root .* \./usr/share/doc/smtplb/copyright`,
		`-rw-r--r-- root/root .* \./usr/share/doc/smtplb/examples/smtplb\.socket`,
		`-rw-r--r-- root/root .* \./usr/lib/systemd/system/smtplb-announce\.service`,
		`-rw-r--r-- root/root .* \./usr/share/doc/smtplb/examples/smtplb-ecmp`,
		`-rw-r--r-- root/root .* \./usr/share/doc/smtplb/examples/smtplb-ecmp\.service`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(list) {
			t.Errorf("nothing is like %s in\n%s", want, list)
		}
	}
	if files := output(t, "dpkg-deb", "--ctrl-tarfile", deb(t, "before")); strings.Contains(files, "conffiles") {
		t.Error("a conffile: an upgrade would ask about a file that everybody has edited")
	}
}

// The file that comes with it has two mistakes, who may connect and where the mail
// goes, and none when these are filled in as it says itself.
func TestExampleIsRightOnceItIsFilledIn(t *testing.T) {
	const example = "../../deploy/deb/smtplb.yaml"
	program := filepath.Join(os.Getenv(dirVariable), "before", "smtplb")
	out, err := exec.Command(program, "check", "--config", example).CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 2 || strings.Count(string(out), "required") != 2 {
		t.Errorf("%v, want two mistakes:\n%s", err, out)
	}
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	edited := regexp.MustCompile(`(?m)allow: \[\] .*(\[".*"\])$`).ReplaceAllString(string(text), "allow: $1")
	edited = strings.Replace(edited, "backends: [] ", "backends: ", 1)
	edited = strings.ReplaceAll(edited, "    #  - {", "      - {")
	file := filepath.Join(t.TempDir(), "smtplb.yaml")
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := output(t, program, "check", "--config", file); !strings.Contains(out, "ok: 1 listeners, 1 pools") || strings.Count(edited, "\n      - {") != 3 {
		t.Errorf("%s\nof:\n%s", out, edited)
	}
}

// Of two commits the later has the higher version, whatever git describe says.
func TestVersionsGoUp(t *testing.T) {
	ascending := []struct {
		describe, epoch, want string
	}{
		{"dev", "1700000000", "0.0~dev"},
		{"ffffffffffff", "1700000000", "0.0~git20231114.221320.ffffffffffff"},
		{"000000000000", "1700000001", "0.0~git20231114.221321.000000000000"},
		{"000000000000-dirty", "1700000001", "0.0~git20231114.221321.000000000000+dirty"},
		{"v0.1.0-rc1", "1700000002", "0.1.0~rc1"},
		{"v0.1.0-rc1-3-gabc", "1700000002", "0.1.0~rc1+3.gabc"},
		{"v0.1.0-rc2", "1700000002", "0.1.0~rc2"},
		{"v0.1.0", "1700000003", "0.1.0"},
		{"v0.1.0-9-gfff", "1700000003", "0.1.0+9.gfff"},
		{"v0.1.0-10-gaaa", "1700000003", "0.1.0+10.gaaa"},
		{"v0.1.0-10-gaaa-dirty", "1700000003", "0.1.0+10.gaaa+dirty"},
		{"v0.1.1", "1700000003", "0.1.1"},
		{"v0.10.0", "1700000003", "0.10.0"},
	}
	before := ""
	for _, v := range ascending {
		got := strings.TrimSpace(output(t, "../../deploy/deb/version.sh", v.describe, v.epoch))
		if got != v.want {
			t.Errorf("%s is %s, want %s", v.describe, got, v.want)
		}
		if before != "" && exec.Command("dpkg", "--compare-versions", before, "lt", got).Run() != nil {
			t.Errorf("%s is not above %s", got, before)
		}
		before = got
	}
	for _, bad := range []string{"", "x y", "v1.2.3;reboot", "-1"} {
		out, err := exec.Command("../../deploy/deb/version.sh", bad, "1700000000").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "must be as git describe has it") {
			t.Errorf("%q: %v, %s", bad, err, out)
		}
	}
}
