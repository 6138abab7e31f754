package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryLimit is a control group that the program runs in, where this machine has
// one: of version 2 or of version 1. What takes more memory than it may is killed by
// the kernel, and that is a failure of the test.
type memoryLimit struct {
	dir  string // "": there is none
	file string // of the limit
}

// What the program may take. Under the race detector it takes a multiple.
func mostMemory() int {
	if *raceFlag {
		return 1 << 30
	}
	return 128 << 20
}

// pressure is how much more than it has the program may take while the limit is low.
const pressure = 16 << 20

func newMemoryLimit() (*memoryLimit, error) {
	for _, way := range []struct{ root, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		old, _ := filepath.Glob(filepath.Join(way.root, labPrefix+"*")) // the pattern is good
		for _, left := range old {
			_ = os.Remove(left) // fails where somebody is in it
		}
		dir := filepath.Join(way.root, labPrefix+strconv.Itoa(os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		m := &memoryLimit{dir, filepath.Join(dir, way.file)}
		if _, err := os.Stat(m.file); err == nil {
			err := m.raise()
			return m, err
		}
		_ = os.Remove(dir)
	}
	return &memoryLimit{}, nil
}

// members is the file that a process enters the group by; "": there is no group.
func (m *memoryLimit) members() string {
	if m.dir == "" {
		return ""
	}
	return filepath.Join(m.dir, "cgroup.procs")
}

func (m *memoryLimit) set(octets int) error {
	return os.WriteFile(m.file, []byte(strconv.Itoa(octets)), 0o600)
}

func (m *memoryLimit) raise() error {
	if m.dir == "" {
		return nil
	}
	return m.set(mostMemory())
}

// lower leaves little more than what is resident: page cache is taken away.
func (m *memoryLimit) lower(resident int) error { return m.set(min(resident+pressure, mostMemory())) }

// remove is for when all processes have ended.
func (m *memoryLimit) remove() (problems []string) {
	if m.dir == "" {
		return nil
	}
	if err := os.Remove(m.dir); err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}

// resident is a process's memory, in octets.
func resident(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}
