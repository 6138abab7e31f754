package compare

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/bench/compare/proc"
	"smtplb/bench/result"
)

// machine is what is known of this one.
func machine(balancer, load proc.CPUs) result.Machine {
	m := result.Machine{BalancerCPUs: balancer.String(), LoadCPUs: load.String()}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	text, _ := os.ReadFile("/proc/cpuinfo") // not there: nothing is said
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			m.CPU = strings.TrimSpace(value)
		case "processor":
			m.CPUs++
		}
	}
	return m
}

// muchByOthers is the part of the CPUs' time that others may use before a
// reader is told.
const muchByOthers = 0.05

// watchOthers returns a function that tells which part of the CPUs' time since
// now was used by others than this process and those that it has started and
// outlived; 0 where the system does not tell.
func watchOthers(cpus proc.CPUs) (part func() float64) {
	began, all, own := time.Now(), busyTime(cpus), ownTime()
	return func() float64 {
		wall := time.Since(began).Seconds() * float64(len(cpus))
		if all == 0 || wall <= 0 {
			return 0
		}
		return max(busyTime(cpus)-all-(ownTime()-own), 0) / wall
	}
}

// clockTick is what /proc/stat counts in: 1/100 s on every Linux that Go runs on.
const clockTick = 100

// busyTime is what CPUs have not been idle for since the start of the machine,
// in seconds.
func busyTime(cpus proc.CPUs) float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return busyIn(string(text), cpus)
}

// busyIn reads /proc/stat, proc(5).
func busyIn(text string, cpus proc.CPUs) float64 {
	const (
		idle    = 3 // of the numbers, as iowait after it
		softirq = 6 // the last one that is ours: steal and guests are not
	)
	total := 0.0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name, numbered := strings.CutPrefix(fields[0], "cpu")
		cpu, err := strconv.Atoi(name)
		if !numbered || err != nil || !slices.Contains(cpus, cpu) {
			continue
		}
		for k, field := range fields[1:] {
			if n, err := strconv.ParseFloat(field, 64); err == nil && k <= softirq && k != idle && k != idle+1 {
				total += n / clockTick
			}
		}
	}
	return total
}

// ownTime is what this process and its children that have ended have used, in
// seconds.
func ownTime() float64 {
	total := 0.0
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		if err := unix.Getrusage(who, &usage); err == nil {
			total += time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
		}
	}
	return total
}
