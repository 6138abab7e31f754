package proc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CPUs is a set of CPU numbers, rising.
type CPUs []int

// maxCPU is what the kernel's mask holds here (unix.CPUSet).
const maxCPU = 1023

// ParseCPUs reads a list as taskset(1) writes it: "0", "0-3", "0,2-3".
func ParseCPUs(text string) (CPUs, error) {
	var set CPUs
	for _, part := range strings.Split(text, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			high = low
		}
		first, err := number(low)
		last, err2 := number(high)
		if err != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("CPUs %q: %q is neither a CPU number nor a range: want something like 0,2-3", text, part)
		}
		for cpu := first; cpu <= last; cpu++ {
			set = append(set, cpu)
		}
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && n > maxCPU {
		err = strconv.ErrRange
	}
	return int(n), err
}

// String writes the list as taskset(1) does.
func (c CPUs) String() string {
	var parts []string
	for i := 0; i < len(c); {
		j := i
		for j+1 < len(c) && c[j+1] == c[j]+1 {
			j++
		}
		part := strconv.Itoa(c[i])
		if j > i {
			part += "-" + strconv.Itoa(c[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// Without returns the CPUs that other lacks.
func (c CPUs) Without(other CPUs) CPUs {
	var rest CPUs
	for _, cpu := range c {
		if !slices.Contains(other, cpu) {
			rest = append(rest, cpu)
		}
	}
	return rest
}

// Union returns the CPUs that are in either.
func (c CPUs) Union(other CPUs) CPUs {
	all := slices.Concat(c, other)
	slices.Sort(all)
	return slices.Compact(all)
}

// Available returns the CPUs that this thread, and so this process unless it
// has done something about it, may run on.
func Available() (CPUs, error) {
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	return members(&mask), nil
}

func (c CPUs) mask() *unix.CPUSet {
	var mask unix.CPUSet
	for _, cpu := range c {
		mask.Set(cpu)
	}
	return &mask
}

func members(mask *unix.CPUSet) CPUs {
	var set CPUs
	for cpu := range maxCPU + 1 {
		if mask.IsSet(cpu) {
			set = append(set, cpu)
		}
	}
	return set
}
