package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The flags; make chaos sets them.
var (
	seedFlag    = flag.Uint64("chaos.seed", 0, "what to repeat; 0: something new")
	forFlag     = flag.Duration("chaos.for", 25*time.Second, "how long things go wrong")
	raceFlag    = flag.Bool("chaos.race", false, "have the program built with the race detector")
	sendersFlag = flag.Int("chaos.senders", 6, "clients that send at one time")
	programFlag = flag.String("chaos.program", "", "the smtplb to test; else it is built")
)

func TestMain(m *testing.M) {
	if order := os.Getenv(relayVariable); order != "" {
		if err := beRelay(order); err != nil {
			fmt.Fprintln(os.Stderr, "relay:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
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

// needs looks for what the test takes.
func needs(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "network namespaces need root: nothing was killed, cut or lost")
	}
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, program := range []string{"ip", "nft", "prlimit", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			lacking(t, "%s is missing: run e2e/install-deps.sh", program)
		}
	}
}

// program builds smtplb, unless it was told which one to take.
func program(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(dir, "smtplb")
	if *programFlag != "" {
		if out, err := exec.Command("cp", *programFlag, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return to
	}
	args, env := []string{"build", "-trimpath", "-ldflags", "-X main.version=v0.0.0-chaos", "-o", to}, "CGO_ENABLED=0"
	if *raceFlag {
		args, env = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "smtplb/cmd/smtplb")...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return to
}
