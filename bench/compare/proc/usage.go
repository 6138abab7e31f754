package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what a process has used, user and system, all its threads, the
// ended ones too. It is the clock of clock_getcpuclockid(3): the kernel's sum
// of what its scheduler has given, in nanoseconds, where /proc/PID/stat counts
// ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED, include/linux/posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// memory is the proportional set size of a process in bytes: what it holds
// alone, and its part of what it shares. The kernel counts the pages for it,
// which VmRSS leaves to counters that may be behind.
func memory(pid int) (int64, error) {
	name := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == "Pss:" && string(fields[2]) == "kB" {
			kB, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kB * 1024, err
		}
	}
	return 0, fmt.Errorf("%s: no line Pss", name)
}

// family is a process and all that descend from it. One that ends meanwhile
// may be missing.
func family(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		for _, child := range children(all[i]) {
			if !slices.Contains(all, child) {
				all = append(all, child)
			}
		}
	}
	return all
}

// children reads /proc/PID/task/TID/children, proc(5), of each thread.
func children(pid int) []int {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var all []int
	for _, t := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue
		}
		for _, word := range bytes.Fields(text) {
			if child, err := strconv.Atoi(string(word)); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// sum adds up what count says of the family. A child that has ended meanwhile
// does not count; the process itself must be there.
func sum[N time.Duration | int64](pid int, count func(int) (N, error)) (N, error) {
	total, err := count(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range family(pid)[1:] {
		n, err := count(child)
		switch {
		case err == nil:
			total += n
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL):
			return 0, err
		}
	}
	return total, nil
}
