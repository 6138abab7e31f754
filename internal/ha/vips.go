package ha

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Listener is one address of smtplb, and what it is called.
type Listener struct {
	Name    string
	Address netip.AddrPort
}

// VIPs are the addresses that move from one node to the other: those of the
// listeners, each once, in their order. The error names every listener whose
// address cannot move.
func VIPs(listeners []Listener) ([]netip.Addr, error) {
	var vips []netip.Addr
	var errs []error
	for _, l := range listeners {
		addr := l.Address.Addr().Unmap()
		if want := immovable(addr); want != "" {
			errs = append(errs, fmt.Errorf("listener %s: address %s: %s", l.Name, l.Address, want))
			continue
		}
		if !slices.Contains(vips, addr) {
			vips = append(vips, addr)
		}
	}
	if len(vips) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no listener has an address to share"))
	}
	return vips, errors.Join(errs...)
}

// immovable says why an address cannot be a VIP, and what would be right; "" is
// that it can.
func immovable(a netip.Addr) string {
	const example = `such as "192.0.2.25:25"`
	switch {
	case !a.IsValid():
		return "required: the address that both nodes share, " + example
	case a.IsUnspecified():
		return "must be the one address that moves from node to node, " + example +
			"; on a wildcard nothing can move. It need not be up on this node"
	case a.IsLoopback():
		return "must be an address that clients reach from other machines, " + example
	case a.Zone() != "" || a.IsLinkLocalUnicast():
		return "must be an address that is routed; one of a single link cannot be a VIP"
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "must be the address of a host, " + example
	default:
		return ""
	}
}
