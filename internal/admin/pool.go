package admin

import (
	"net/netip"
	"time"

	"smtplb/balancer"
)

// Pool is a pool of relays, and what the balancer does not know of it.
type Pool struct {
	Balancer *balancer.Pool

	// Addresses are where the backends are, for people, in their order; it may
	// be shorter.
	Addresses []string

	WarmShare float64   // of new sessions, that the next tier down is to have: 0 to 1
	Since     time.Time // when it was made; zero: when the program started
}

// address is where a backend is, "" where that is not known.
func (p *Pool) address(index int) string {
	if index < len(p.Addresses) {
		return p.Addresses[index]
	}
	return ""
}

// Listener is where clients connect.
type Listener struct {
	Name     string
	Address  netip.AddrPort // as bound
	Pool     string
	Protocol string // smtp or tcp
}

func (s *Server) pools() []Pool {
	if s.Pools == nil {
		return nil
	}
	return s.Pools()
}

func (s *Server) ready() (ok bool, reason string) {
	if s.Ready == nil {
		return true, ""
	}
	return s.Ready()
}
