package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// What is given up cannot be had back: so this binary is started again, and gives
// it up there.
const childVariable = "SMTPLB_PRIVILEGE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
		os.Exit(m.Run())
	case "after":
		fmt.Print(status()) // what a program that is started has
	default:
		dir, leaveFiles := strings.CutPrefix(os.Getenv(childVariable), "leave files: ")
		if err := child(dir, leaveFiles); err != nil {
			fmt.Println("failed:", err)
		}
	}
}

// child gives up everything, and says what it can do then: a line for each.
func child(dir string, leaveFiles bool) error {
	file, state := filepath.Join(dir, "file"), filepath.Join(dir, "state")
	open, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	now, err := Now()
	if err != nil {
		return err
	}
	plan := Decide(now, Needs{})
	plan.ReadOnly = plan.ReadOnly && !leaveFiles
	if err := plan.Apply(state); err != nil {
		return err
	}
	_, errOpen := open.WriteString("appended\n")
	say("write to what was open", errOpen)
	_, errRead := os.ReadFile(file)
	say("read", errRead)
	say("write over a file", os.WriteFile(file, nil, 0o600))
	say("make a file", os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
	say("remove a file", os.Remove(file))
	say("make a directory", os.Mkdir(filepath.Join(dir, "newdir"), 0o700))
	say("make a file in the state directory", os.WriteFile(filepath.Join(state, "state.json.new"), []byte("{}"), 0o600))
	say("rename it there", os.Rename(filepath.Join(state, "state.json.new"), filepath.Join(state, "state.json")))
	say("write over it", os.WriteFile(filepath.Join(state, "state.json"), nil, 0o600))
	say("remove it", os.Remove(filepath.Join(state, "state.json")))
	fmt.Print("here: ", status())
	cmd := exec.Command("/proc/self/exe") //nolint:gosec // itself
	cmd.Env = append(os.Environ(), childVariable+"=after")
	cmd.Stdin = os.Stdin // else /dev/null is opened for writing
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("start a program: %w", err)
	}
	fmt.Printf("there: %s", out)
	return nil
}

func say(what string, err error) {
	result := "yes"
	if err != nil {
		result = "no"
		if !errors.Is(err, unix.EACCES) {
			result = err.Error()
		}
	}
	fmt.Println(what + ": " + result)
}

// status is what the kernel says of this thread.
func status() string {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return err.Error()
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		for _, key := range []string{"CapEff", "CapPrm", "NoNewPrivs"} {
			if value, ok := strings.CutPrefix(line, key+":"); ok {
				all = append(all, key+"="+strings.TrimSpace(value))
			}
		}
	}
	return strings.Join(all, " ") + "\n"
}

func TestWhatIsGivenUpIsGone(t *testing.T) {
	was, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	writes := "no"
	if abi, err := ll.LandlockGetABIVersion(); err != nil || abi < 1 || was.NoNewPrivs || was.Filtered {
		writes = "yes"
		t.Log("files are not part of this test: the kernel has no landlock, or somebody has limited this process already")
	}
	t.Run("all", func(t *testing.T) { giveUp(t, "", writes) })
	t.Run("all but files", func(t *testing.T) { giveUp(t, "leave files: ", "yes") })
}

// giveUp has a child give up what it can, and holds it to that.
func giveUp(t *testing.T, mode, writes string) {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "state"), 0o700), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+mode+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// What this kernel, and who has started this test, leave to be shown.
	capabilities := "0000000000000000"
	if os.Geteuid() == 0 && has(t, unix.CAP_NET_BIND_SERVICE) {
		capabilities = "0000000000000400"
	}
	for _, want := range []string{
		"write to what was open: yes", "read: yes",
		"write over a file: " + writes, "make a file: " + writes, "remove a file: " + writes, "make a directory: " + writes,
		"make a file in the state directory: yes", "rename it there: yes", "write over it: yes", "remove it: yes",
		"here: CapPrm=" + capabilities + " CapEff=" + capabilities + " NoNewPrivs=1",
		"there: CapPrm=" + capabilities + " CapEff=" + capabilities + " NoNewPrivs=1",
	} {
		if !strings.Contains(string(out), want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// has tells whether this process has a capability.
func has(t *testing.T, c int) bool {
	t.Helper()
	now, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range now.Has {
		if int(own) == c {
			return true
		}
	}
	return false
}
