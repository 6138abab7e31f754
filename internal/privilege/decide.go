package privilege

import (
	"slices"

	libcap "kernel.org/pub/linux/libs/security/libcap/cap"
)

// Needs are what a configuration asks for beyond plain connections, socket(7) and
// ip(7).
type Needs struct {
	Mark        bool // SO_MARK: fwmark
	Interface   bool // SO_BINDTODEVICE
	Transparent bool // IP_TRANSPARENT
}

// Process is what decides what may be given up.
type Process struct {
	UID        int            // effective
	Has        []libcap.Value // permitted
	NoNewPrivs bool           // was set before this process began
	Filtered   bool           // somebody filters the system calls
	Linux      Release
}

// Release is the kernel's, 6.1 say.
type Release struct{ Major, Minor int }

func (r Release) before(major, minor int) bool {
	return r.Major < major || r.Major == major && r.Minor < minor
}

// Plan is what is left to a process.
type Plan struct {
	Root bool           // it is root, by name at least
	Keep []libcap.Value // the capabilities that it keeps
	Drop []libcap.Value // those that it gives up

	// ReadOnly tells to give up writing files.
	ReadOnly bool
}

// Decide tells what a process keeps.
func Decide(p Process, n Needs) Plan {
	plan := Plan{
		Root: p.UID == 0,
		// Who has set no_new_privs, or filters calls, has built a place for the
		// service: its files are theirs. It is also the mark of an upgrade's new
		// process, which has inherited the old one's limits.
		ReadOnly: !p.NoNewPrivs && !p.Filtered,
	}
	wanted := []libcap.Value{libcap.NET_BIND_SERVICE, libcap.NET_RAW, libcap.NET_ADMIN}
	if plan.Root {
		wanted = append(wanted[:1:1], needed(p.Linux, n)...)
	}
	for _, c := range p.Has {
		if slices.Contains(wanted, c) {
			plan.Keep = append(plan.Keep, c)
		} else {
			plan.Drop = append(plan.Drop, c)
		}
	}
	return plan
}

// needed are the capabilities that a configuration needs: on a kernel of today
// CAP_NET_RAW is enough for everything.
func needed(linux Release, n Needs) []libcap.Value {
	var all []libcap.Value
	oldMark := linux.before(5, 17)
	if n.Transparent || n.Mark && !oldMark || n.Interface && linux.before(5, 7) {
		all = append(all, libcap.NET_RAW)
	}
	if n.Mark && oldMark {
		all = append(all, libcap.NET_ADMIN)
	}
	return all
}
