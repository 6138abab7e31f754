package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// outcome is a command that has ended.
type outcome struct {
	status         int
	stdout, stderr string
}

// memoryLimit is what a command may take, in bytes, setrlimit(2), RLIMIT_DATA.
// The Go runtime maps its first 64 MB at once, used or not.
const memoryLimit = 200 << 20

// command runs smtplb, as released, to its end, with little memory.
func command(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, find(t, "prlimit"), append([]string{fmt.Sprint("--data=", memoryLimit), released}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v: not over in %v:\n%s", args, patience, stderr.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

const relayLine = `pools: [{name: out, backends: [{address: "127.0.0.1:26"}]}]` + "\n"

// Whatever the file is, the program says in a line what is wrong with it and
// ends with status 1, before it has taken much of anything.
func TestBadConfigurationIsOneClearLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tests := []struct{ name, file, want string }{
		{"missing", filepath.Join(dir, "nowhere.yaml"), "no such file"},
		{"a directory", dir, "directory"},
		{"binary", write("binary", []byte("\x7fELF\x02\x01\x01\x00\x00\xff\xfe")), "binary"},
		{"10 MB", write("large", bytes.Repeat([]byte("# nothing\n"), 1<<20)), "larger than 1 MiB"},
		{"a YAML bomb", write("bomb", []byte(bomb()+relayLine)), "anchors and aliases"},
		{"empty", write("empty", nil), "listeners"},
		{"not YAML", write("broken", []byte("listeners: [")), "not YAML"},
		{"an unknown key", write("unknown", []byte(`listeners: [{address: "127.0.0.1:25", allow: [10.0.0.0/8], alow: []}]`+"\n"+relayLine)), "alow"},
		{"nobody allowed", write("nobody", []byte(`listeners: [{address: "127.0.0.1:25"}]`+"\n"+relayLine)), "allow"},
		{"an impatient timeout", write("idle", []byte(`listeners: [{address: "127.0.0.1:25", allow: [10.0.0.0/8]}]`+"\n"+
			`pools: [{name: out, backends: [{address: "127.0.0.1:26"}], timeouts: {idle: 5m}}]`)), "11m"},
	}
	for _, test := range tests {
		for _, verb := range []string{"run", "check"} {
			t.Run(test.name+"/"+verb, func(t *testing.T) {
				got := command(t, verb, "--config", test.file)
				if got.status != 1 || got.stdout != "" {
					t.Errorf("status %d, want 1; said %q", got.status, got.stdout)
				}
				if !strings.HasPrefix(got.stderr, "smtplb: ") || !strings.Contains(got.stderr, filepath.Base(test.file)) ||
					!strings.Contains(got.stderr, test.want) {
					t.Errorf("said %q, want the file and %q", got.stderr, test.want)
				}
				if test.name != "empty" && strings.Count(got.stderr, "\n") != 1 {
					t.Errorf("said %q, want one line", got.stderr)
				}
			})
		}
	}
}

// bomb is the billion laughs in YAML: ten levels of ten aliases.
func bomb() string {
	var b strings.Builder
	b.WriteString("listeners:\n  - &a0 [lol]\n")
	for n := 1; n <= 10; n++ {
		fmt.Fprintf(&b, "  - &a%d [%s*a%d]\n", n, strings.Repeat(fmt.Sprintf("*a%d, ", n-1), 9), n-1)
	}
	return b.String()
}

// A person fixes a file once, not once for each mistake.
func TestCheckNamesEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "wrong.yaml", `listeners:
  - {address: "127.0.0.1:0", pool: out, allow: [10.0.0.1/8]}
pools:
  - name: out
    backends:
      - {address: "127.0.0.1:26", weight: 2000}
    timeouts: {idle: 1m}
`)
	got := command(t, "check", "-c", file)
	if got.status != 1 {
		t.Errorf("status %d, want 1", got.status)
	}
	for _, want := range []string{
		"wrong.yaml:2: listeners[0].address", "wrong.yaml:2: listeners[0].allow[0]",
		"wrong.yaml:6: pools[0].backends[0].weight", "wrong.yaml:7: pools[0].timeouts.idle",
	} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("%s is not named in:\n%s", want, got.stderr)
		}
	}
}

func TestCheckAcceptsAGoodFile(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "good.yaml", `listeners: [{address: "127.0.0.1:25", pool: out, allow: [10.0.0.0/8]}]`+"\n"+relayLine)
	if got := command(t, "check", "-c", file); got.status != 0 || !strings.Contains(got.stdout, "good.yaml: ok") || got.stderr != "" {
		t.Errorf("status %d, said %q and %q", got.status, got.stdout, got.stderr)
	}
}

func TestVersionIsTheBuilds(t *testing.T) {
	t.Parallel()
	if got := command(t, "version"); got.status != 0 || !strings.HasPrefix(got.stdout, "smtplb "+testVersion+" (go") {
		t.Errorf("status %d, said %q", got.status, got.stdout)
	}
}

// A port that another program has: said with the address, and nothing runs on
// half of its listeners.
func TestPortInUseIsSaid(t *testing.T) {
	t.Parallel()
	other := smtptest.Start(t, smtptest.Script{})
	free := freeAddress(t, "127.0.0.1")
	file := writeFile(t, "smtplb.yaml", fmt.Sprintf(`listeners:
  - {name: one, address: %q, pool: out, allow: [127.0.0.0/8]}
  - {name: two, address: %q, pool: out, allow: [127.0.0.0/8]}
`, free, other.Addr())+relayLine)
	got := command(t, "run", "-c", file)
	if got.status != 1 || !strings.Contains(got.stderr, "listener two: "+other.Addr().String()+": address already in use") {
		t.Errorf("status %d, said %q", got.status, got.stderr)
	}
	if strings.Contains(got.stderr, "listening") {
		t.Errorf("it listened nevertheless: %q", got.stderr)
	}
}

// A VIP that the other machine still has: it is listened on, for when it comes.
func TestAddressThatIsNotHereYetIsNoError(t *testing.T) {
	t.Parallel()
	port := freeAddress(t, "127.0.0.1").Port()
	p := start(t, site{address: fmt.Sprintf("192.0.2.1:%d", port), backends: []string{backend("relay-a", freeAddress(t, "127.0.0.1"))}})
	if line := p.waitLine(t, "listening", nil); line.text("address") != p.address || line.text("listener") != "in" {
		t.Errorf("listening line %v", line)
	}
}

// The environment overrides the file.
func TestEnvironmentOverridesTheFile(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	t.Setenv("SMTPLB_LOG__FORMAT", "console")
	s := site{
		address: freeAddress(t, "127.0.0.1").String(), admin: freeAddress(t, "127.0.0.1").String(),
		backends: []string{backend("relay-a", relay.Addr())},
	}
	p := launch(t, nil, nil, raced, "run", "-c", writeFile(t, "smtplb.yaml", s.text()))
	smtptest.Eventually(t, patience, func() bool { return strings.Contains(p.stderr(), "INFO\tstarted") }, "a log line for people")
	if err := visit(s.address); err != nil {
		t.Error(err)
	}
}
