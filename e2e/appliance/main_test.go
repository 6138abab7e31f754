//go:build appliance

package appliance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// image is what make appliance has built. It is never written to.
func image(t *testing.T) string {
	t.Helper()
	name, err := filepath.Abs("../../bin/appliance/smtplb-appliance.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("%v; first: make appliance", err)
	}
	return name
}

// newerVersion is that of the package that the appliances are upgraded to.
const newerVersion = "v99.0.0"

// newerPackage builds this tree once more, as if it was a later version.
func newerPackage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X main.version="+newerVersion,
		"-o", dir+"/", "./cmd/smtplb", "./cmd/smtpbench")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	run(t, "../../deploy/deb/build.sh", dir, newerVersion)
	found, err := filepath.Glob(dir + "/smtplb_*.deb")
	if err != nil || len(found) != 1 {
		t.Fatalf("packages: %v, %v", found, err)
	}
	return found[0]
}

// disc is a CD of files, by name.
func disc(t *testing.T, label string, files map[string]string) string {
	t.Helper()
	dir, iso := t.TempDir(), filepath.Join(t.TempDir(), "disc.iso")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "genisoimage", "-quiet", "-volid", label, "-joliet", "-rock", "-output", iso, dir)
	return iso
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documented is the user-data that docs/appliance.md shows.
func documented(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, "../../docs/appliance.md"), "```cloud-config\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("docs/appliance.md has no cloud-config")
	}
	return text
}
