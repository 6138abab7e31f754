package ha

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Node is one of two balancers, as keepalived is to know it. Every field but
// Self must be set.
type Node struct {
	VIPs      []netip.Addr // as the function VIPs returns them
	Interface string       // that the VIPs come up on, and the nodes hear each other by
	Self      netip.Addr   // of this node there; zero: keepalived takes the interface's first
	Peer      netip.Addr   // of the other node
	RouterID  int          // 1 to 255; the same on both nodes, and no other pair's in this network
	Preferred bool         // takes the VIPs where everything else is equal

	RelayDelay time.Duration // how long the other node must have reached fewer relays

	Command   string // the program smtplb
	Config    string // its configuration
	TrackFile string // where the check leaves the node's handicap
}

// What a pair has where nobody says otherwise.
const (
	DefaultRouterID   = 25
	DefaultRelayDelay = 30 * time.Second
)

// Bounds of what keepalived takes.
const (
	maxRouterID   = 255
	maxRelayDelay = 1000 // seconds
	maxInterface  = 15   // bytes, IFNAMSIZ less one
	maxPath       = 250
)

// check returns every mistake in the fields, joined.
func (n *Node) check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(n.VIPs) == 0 {
		fail("VIPs: at least one is needed")
	}
	for _, v := range n.VIPs {
		if want := immovable(v); want != "" {
			fail("VIP %s: %s", v, want)
		}
	}
	if !isDevice(n.Interface) {
		fail("interface %q: must be the name of a network interface, such as eth0", n.Interface)
	}
	n.checkPeers(fail)
	if n.RouterID < 1 || n.RouterID > maxRouterID {
		fail("router ID %d: must be 1 to %d", n.RouterID, maxRouterID)
	}
	if n.RelayDelay < time.Second || n.RelayDelay > maxRelayDelay*time.Second || n.RelayDelay%time.Second != 0 {
		fail("relay delay %s: must be 1s to %ds, in whole seconds", n.RelayDelay, maxRelayDelay)
	}
	for what, path := range map[string]string{"program": n.Command, "configuration": n.Config, "track file": n.TrackFile} {
		if !plain(path, maxPath) || !filepath.IsAbs(path) {
			fail("%s %q: must be a whole path, of letters, digits and / . _ - + only: keepalived gives a meaning to others", what, path)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (n *Node) checkPeers(fail func(format string, args ...any)) {
	if want := immovable(n.Peer.Unmap()); want != "" {
		fail("peer %s: must be the other node's own address, such as 192.0.2.12", n.Peer)
		return
	}
	if n.Self.IsValid() {
		switch {
		case immovable(n.Self.Unmap()) != "":
			fail("self %s: must be this node's own address, such as 192.0.2.11", n.Self)
		case n.Self == n.Peer:
			fail("self %s: must differ from the peer's: on the other node the two are the other way round", n.Self)
		case n.Self.Is4() != n.Peer.Is4():
			fail("self %s: must be of the same family as the peer's, %s", n.Self, n.Peer)
		}
	}
	for _, own := range []netip.Addr{n.Self, n.Peer} {
		if own.IsValid() && slices.Contains(n.VIPs, own) {
			fail("%s: is a listener's address, and moves; a node needs one of its own beside it", own)
		}
	}
	if !slices.ContainsFunc(n.VIPs, n.sameFamily) && len(n.VIPs) > 0 {
		fail("peer %s: must be an address of the family of a listener's, as %s is", n.Peer, n.VIPs[0])
	}
}

// sameFamily tells whether a VIP can stand in the nodes' advertisements.
func (n *Node) sameFamily(vip netip.Addr) bool { return vip.Is4() == n.Peer.Is4() }

// isDevice tells whether a network interface can have a name, and a file say it.
func isDevice(name string) bool {
	return plain(name, maxInterface) && !strings.Contains(name, "/") && strings.Trim(name, ".") != ""
}

// plain tells whether a word means itself in keepalived.conf, which knows
// quotes, comments, variables and conditions by single characters.
func plain(word string, most int) bool {
	if word == "" || len(word) > most {
		return false
	}
	for _, c := range []byte(word) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("/._-+", c) >= 0:
		default:
			return false
		}
	}
	return true
}
