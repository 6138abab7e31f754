package proc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// onCPUs runs f on a thread that is bound to cpus: a process that f starts
// inherits that (sched_setaffinity(2)). The thread is as before afterwards.
func onCPUs(cpus CPUs, f func() error) error {
	if len(cpus) == 0 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, cpus.mask()); err != nil {
		return fmt.Errorf("CPUs %s: sched_setaffinity: %w", cpus, err)
	}
	err := f()
	if back := unix.SchedSetaffinity(0, &before); back != nil {
		return errors.Join(err, fmt.Errorf("sched_setaffinity back: %w", back))
	}
	return err
}

// PinSelf binds every thread of this process to cpus and has Go use as many
// processors. The function it returns undoes both.
func PinSelf(cpus CPUs) (undo func() error, err error) {
	before, err := Available()
	if err != nil {
		return nil, err
	}
	processors := runtime.GOMAXPROCS(0)
	undo = func() error {
		runtime.GOMAXPROCS(processors)
		return bindThreads(before)
	}
	if err := bindThreads(cpus); err != nil {
		return nil, errors.Join(err, undo())
	}
	runtime.GOMAXPROCS(len(cpus))
	return undo, nil
}

// bindThreads goes through the threads until no new one is found: one that is
// created meanwhile has its maker's CPUs, which may be the old ones.
func bindThreads(cpus CPUs) error {
	done := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if err != nil || done[tid] {
				continue
			}
			err = unix.SchedSetaffinity(tid, cpus.mask())
			if err != nil && !errors.Is(err, unix.ESRCH) { // that one has ended
				return fmt.Errorf("CPUs %s: sched_setaffinity: %w", cpus, err)
			}
			done[tid], fresh = true, true
		}
	}
	return nil
}
