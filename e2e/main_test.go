package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// testVersion is what the program is told at its build that it is.
const testVersion = "v0.0.0-e2e"

// The program: with the race detector, and as it is released.
var raced, released string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "smtplb-e2e-")
	if err == nil {
		raced, released = filepath.Join(dir, "smtplb-race"), filepath.Join(dir, "smtplb")
		err = build(raced, "CGO_ENABLED=1", "-race")
	}
	if err == nil {
		err = build(released, "CGO_ENABLED=0")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
		os.Exit(code)
	}))
}

func build(to, env string, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags", "-X main.version=" + testVersion, "-o", to}, flags...)
	cmd := exec.Command("go", append(args, "smtplb/cmd/smtplb")...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

// lacking ends a test for which this machine has not what it takes. Where
// every test must run, that is a failure.
func lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
