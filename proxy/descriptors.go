package proxy

import (
	"os"

	"golang.org/x/sys/unix"
)

// A session that was accepted must be able to get a relay, so that its two
// descriptors are counted before it is accepted, and so is everything that comes
// on top: a pipe (without one bytes are copied) and a second relay (without one
// the first is waited for). Who finds none left waits in the kernel's queue.

// reserve keeps n descriptors for a session, if that leaves enough for the
// rest of the process.
func (s *Server) reserve(n int64) bool {
	if s.fds.Add(n) <= s.fdLimit.Load() {
		return true
	}
	s.fds.Add(-n)
	return false
}

// descriptorsMost is how many sessions may hold; 0 before Listen.
func (s *Server) descriptorsMost() int64 { return s.fdLimit.Load() }

// measure sets how many descriptors sessions may hold. A process may be given
// another limit while it runs, prlimit(1), so that this is asked again whenever none is
// left.
func (s *Server) measure() {
	ask := s.mayOpen
	if ask == nil {
		ask = processLimit
	}
	if most := ask(); s.fdMost.Swap(most) != most {
		s.fdLimit.Store(descriptorLimit(most, s.fdBeside))
	}
}

// descriptorLimit is how many descriptors sessions may hold: what the process
// may open, less what was open at the start and what the rest of the program needs
// beside that, and at least a share for what nobody has counted.
func descriptorLimit(most, beside int64) int64 {
	return max(most-max(most/8, 32, beside), 2)
}

// processLimit is what the process may open. Go has raised the soft limit to the
// hard one when the program started.
func processLimit() int64 {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 1 << 20
	}
	return int64(min(lim.Cur, 1<<30))
}

// openDescriptors is how many are open; 0 where nobody can tell.
func openDescriptors() int64 {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return int64(len(entries)) - 1 // one of them reads the others
}
