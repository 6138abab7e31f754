package proc

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"smtplb/internal/smtptest"
)

const patience = 30 * time.Second

// run starts the test binary in a role, for the length of the test.
func run(t *testing.T, what string, cpus CPUs) *Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(role, what)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	p, err := Start(Command{Args: []string{exe}, CPUs: cpus, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *Process) says(t *testing.T, what string) string {
	t.Helper()
	var text string
	smtptest.Eventually(t, patience, func() bool {
		text = p.tail()
		return strings.Contains(text, what)
	}, "output with %q", what)
	return text
}

// What is read while it lives is what the kernel says at its end, of threads
// that have ended too.
func TestCPUIsWhatTheKernelSaysAtTheEnd(t *testing.T) {
	p := run(t, "spin", nil)
	p.says(t, "done")
	got, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	want := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	if got < spun || math.Abs(float64(got-want)) > float64(spun)/2 {
		t.Errorf("CPU %v, at its end %v, want at least %v", got, want, spun)
	}
}

func TestCPUOfChildrenCounts(t *testing.T) {
	p := run(t, "parent", nil)
	var child int
	if _, err := fmt.Sscanf(p.says(t, "child"), "child %d", &child); err != nil {
		t.Fatal(err)
	}
	all, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	alone, err := cpuTime(p.pid)
	if err != nil {
		t.Fatal(err)
	}
	if alone < spun || all-alone < spun {
		t.Errorf("CPU of both %v, of the parent %v: want at least %v of each", all, alone, spun)
	}
	if got := family(p.pid); !slices.Equal(got, []int{p.pid, child}) {
		t.Errorf("family %v, want %d and %d", got, p.pid, child)
	}
	whole, err := p.Memory()
	if err != nil {
		t.Fatal(err)
	}
	part, err := memory(p.pid)
	if err != nil {
		t.Fatal(err)
	}
	if part <= 0 || whole <= part {
		t.Errorf("memory of both %d, of the parent %d", whole, part)
	}

	// Nobody else would end it.
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	smtptest.Eventually(t, patience, func() bool {
		group, err := unix.Getpgid(child)
		return err != nil || group != p.pid || zombie(child)
	}, "the child's end after its parent's")
}

func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text), ") Z ")
}

func TestStop(t *testing.T) {
	t.Run("one that does not want to", func(t *testing.T) {
		p := run(t, "stubborn", nil)
		p.says(t, "done")
		if err := p.Failure(); err != nil {
			t.Errorf("a failure while it runs: %v", err)
		}
		for range 2 {
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("one that has ended", func(t *testing.T) {
		p := run(t, "fail", nil)
		<-p.Exited()
		err := p.Failure()
		if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "a reason") {
			t.Errorf("%v: want the status and what it wrote", err)
		}
		if _, err := p.CPU(); err == nil {
			t.Error("CPU time of a process that has ended")
		}
		if _, err := p.Memory(); err == nil {
			t.Error("memory of a process that has ended")
		}
	})
	t.Run("one that never began", func(t *testing.T) {
		if _, err := Start(Command{Args: []string{"/nonexistent/program"}, Dir: t.TempDir()}); err == nil {
			t.Error("no error")
		}
		if _, err := Start(Command{Args: []string{"true"}, Dir: "/nonexistent"}); err == nil {
			t.Error("no error")
		}
	})
}

func TestProcessRunsOnItsCPUs(t *testing.T) {
	before, err := Available()
	if err != nil {
		t.Fatal(err)
	}
	last := before[len(before)-1:]
	p := run(t, "cpus", last)
	<-p.Exited()
	if got, want := p.tail(), fmt.Sprint(last, " <nil>"); got != want {
		t.Errorf("it runs on %s, want %s", got, want)
	}
	if after, err := Available(); err != nil || !slices.Equal(before, after) {
		t.Errorf("we run on %v (%v), before on %v", after, err, before)
	}
	if _, err := Start(Command{Args: []string{"true"}, CPUs: CPUs{maxCPU}, Dir: t.TempDir()}); err == nil {
		t.Errorf("no error for CPU %d", maxCPU)
	}
}

func TestPinSelf(t *testing.T) {
	before, err := Available()
	if err != nil {
		t.Fatal(err)
	}
	undo, err := PinSelf(before[:1])
	if err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if got := allowed(thread.Name()); got != "" && got != before[:1].String() {
			t.Errorf("thread %s may run on %s, want %s", thread.Name(), got, before[:1])
		}
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if after, err := Available(); err != nil || !slices.Equal(before, after) {
		t.Errorf("afterwards %v (%v), before %v", after, err, before)
	}
	if _, err := PinSelf(CPUs{maxCPU}); err == nil {
		t.Errorf("no error for CPU %d", maxCPU)
	}
}

// allowed is Cpus_allowed_list of a thread, proc(5); empty where it has ended.
func allowed(tid string) string {
	text, err := os.ReadFile("/proc/self/task/" + tid + "/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return strings.TrimSpace(list)
		}
	}
	return "no list"
}

func TestParseCPUs(t *testing.T) {
	tests := []struct {
		text string
		want CPUs // nil: an error
	}{
		{"0", CPUs{0}},
		{"0-3", CPUs{0, 1, 2, 3}},
		{"0,2-3", CPUs{0, 2, 3}},
		{"3, 1,1-2", CPUs{1, 2, 3}},
		{"1023", CPUs{1023}},
		{"1024", nil},
		{"", nil},
		{"0,", nil},
		{"3-1", nil},
		{"-1", nil},
		{"a", nil},
	}
	for _, test := range tests {
		got, err := ParseCPUs(test.text)
		if !slices.Equal(got, test.want) || (err == nil) != (test.want != nil) {
			t.Errorf("%q: %v, %v, want %v", test.text, got, err, test.want)
		}
	}
}

func TestCPUsAsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := CPUs(rapid.SliceOfNDistinct(rapid.IntRange(0, 70), 1, 30, rapid.ID).Draw(t, "set"))
		slices.Sort(set)
		back, err := ParseCPUs(set.String())
		if err != nil || !slices.Equal(set, back) {
			t.Errorf("%v becomes %q becomes %v (%v)", set, set, back, err)
		}
		if got := members(set.mask()); !slices.Equal(set, got) {
			t.Errorf("%v becomes the mask %v", set, got)
		}
		other := CPUs(rapid.SliceOfDistinct(rapid.IntRange(0, 70), rapid.ID).Draw(t, "other"))
		if got := set.Without(other).Union(other); !slices.Equal(got, set.Union(other)) {
			t.Errorf("%v without %v, with it %v", set, other, got)
		}
	})
}
