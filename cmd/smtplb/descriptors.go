package main

import (
	"fmt"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"smtplb/internal/config"
)

// spareDescriptors is what is needed beside sessions at one time: a check for
// each backend, and some for the HTTP server, files and DNS.
func spareDescriptors(cfg *config.Config) int {
	spare := 16
	for i := range cfg.Pools {
		spare += len(cfg.Pools[i].Backends)
	}
	return spare
}

// warnDescriptors says so where the process may not open as many descriptors as
// the configuration lets in sessions.
func (d *daemon) warnDescriptors(cfg *config.Config) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return
	}
	if text := descriptorsShort(cfg, d.server.Stats().DescriptorLimit, lim.Cur); text != "" {
		d.log.Warn("descriptors", zap.String("warning", text))
	}
}

// descriptorsShort is the warning, if there is reason for one: the numbers, what
// becomes of it, and what to do. A listener without a limit asks for no number.
func descriptorsShort(cfg *config.Config, most int64, limit uint64) string {
	var sessions int64
	for i := range cfg.Listeners {
		sessions += int64(cfg.Listeners[i].MaxSessions)
	}
	if 2*sessions <= most {
		return ""
	}
	need := max(2*sessions+int64(limit)-most, 2*sessions/7*8+8) // an eighth is kept for the rest, or what is kept now
	return fmt.Sprintf("max_sessions of all listeners is %d, which takes %d descriptors, two each; this process may open %d, which leaves %d "+
		"for %d sessions, and whoever comes beyond waits in the kernel's queue: write LimitNOFILE=%d in the systemd unit, "+
		"raise ulimit -Hn to that, or lower max_sessions", sessions, 2*sessions, limit, most, most/2, need)
}
