package privilege

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	libcap "kernel.org/pub/linux/libs/security/libcap/cap"
)

// Now looks at this process.
func Now() (Process, error) {
	p := Process{UID: unix.Geteuid()}
	set := libcap.GetProc()
	for c := range libcap.MaxBits() {
		has, err := set.GetFlag(libcap.Permitted, c)
		if err != nil {
			return p, fmt.Errorf("capabilities: %w", err)
		}
		if has {
			p.Has = append(p.Has, c)
		}
	}
	sealed, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return p, fmt.Errorf("no_new_privs: %w", err)
	}
	p.NoNewPrivs = sealed != 0
	// EINVAL: this kernel has no filters.
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return p, fmt.Errorf("seccomp: %w", err)
	}
	p.Filtered = mode > 0
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return p, fmt.Errorf("uname: %w", err)
	}
	p.Linux = release(unix.ByteSliceToString(name.Release[:]))
	return p, nil
}

// release reads "6.1.0-13-amd64". What cannot be read is an old kernel: there more
// is kept.
func release(text string) (r Release) {
	if n, _ := fmt.Sscanf(text, "%d.%d", &r.Major, &r.Minor); n != 2 {
		return Release{}
	}
	return r
}
