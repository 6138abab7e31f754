package setup

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

const dhcp = "dhcp"

func setAddress(a *Answers, _ Machine, words []string) error {
	const example = "such as 192.0.2.11/24"
	text, err := one(words)
	if err != nil {
		return err
	}
	if text == dhcp {
		a.DHCP = true
		return nil
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return fmt.Errorf("the length of its network is missing: %s/24, say", text)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return errors.New("must be an address with the length of its network, " + example + ", or " + dhcp)
	}
	if why := host(p.Addr()); why != "" {
		return fmt.Errorf("%s: must be one of its own, %s", why, example)
	}
	if want := misplaced(p.Addr(), p); want != "" {
		return errors.New(want)
	}
	a.Address = p
	return nil
}

// misplaced says why an address cannot be one in that network, and what would be
// right; "" where it can.
func misplaced(addr netip.Addr, network netip.Prefix) string {
	masked := network.Masked()
	shortest, longest := 8, 30
	if network.Addr().Is6() {
		shortest, longest = 16, 126
	}
	switch {
	case network.Bits() < shortest || network.Bits() > longest:
		return fmt.Sprintf("a network of length %d has no place for it: must be /%d to /%d", network.Bits(), shortest, longest)
	case !network.Contains(addr):
		return fmt.Sprintf("is not in the network %s of this appliance: must be in it, such as %s", masked, example(masked))
	case addr == masked.Addr():
		return fmt.Sprintf("is the network's own address: must be one in it, such as %s", example(masked))
	case addr.Is4() && addr == broadcast(masked):
		return fmt.Sprintf("is the network's broadcast address: must be one in it, such as %s", example(masked))
	default:
		return ""
	}
}

// example is an address in a network.
func example(masked netip.Prefix) netip.Addr { return masked.Addr().Next() }

func broadcast(masked netip.Prefix) netip.Addr {
	b := masked.Addr().As4()
	for i := masked.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// inNetwork reads an address that must be in the network of this appliance, and
// not be one of the others. Invalid without an error: none.
func inNetwork(a *Answers, words []string, others ...netip.Addr) (netip.Addr, error) {
	text, err := one(words)
	if err != nil || text == "" || text == none {
		return netip.Addr{}, err
	}
	if !a.Address.IsValid() {
		return netip.Addr{}, errors.New("needs a fixed address of this appliance: " + dhcp + " will not do. Give one, or leave this empty")
	}
	masked := a.Address.Masked()
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("must be an address in %s, such as %s, without a length", masked, example(masked))
	}
	if want := misplaced(addr, a.Address); want != "" {
		return netip.Addr{}, errors.New(want)
	}
	if addr == a.Address.Addr() {
		return netip.Addr{}, errors.New("is this appliance's own address: must be another one")
	}
	if slices.Contains(others, addr) {
		return netip.Addr{}, errors.New("is taken, by an answer before: must be another one")
	}
	return addr, nil
}

func setGateway(a *Answers, _ Machine, words []string) (err error) {
	a.Gateway, err = inNetwork(a, words)
	return err
}

func setVIP(a *Answers, _ Machine, words []string) (err error) {
	a.VIP, err = inNetwork(a, words, a.Gateway)
	return err
}

func setPeer(a *Answers, m Machine, words []string) (err error) {
	if len(words) > 0 && words[0] != none && !a.VIP.IsValid() {
		return errors.New("needs a VIP, which the two appliances share: give one, or leave this empty")
	}
	a.Peer, err = inNetwork(a, words, a.VIP, a.Gateway)
	if err == nil && a.Keep && a.VIP.IsValid() && !a.Peer.IsValid() && !m.has(a.Interface, a.VIP) {
		return fmt.Errorf("required, as nobody would have the VIP in a network that is left as it is: give it, or address, "+
			"or let network-config bring the VIP, %s, too", a.VIP)
	}
	return err
}

const maxServers = 3 // resolv.conf(5) takes no more

func setDNS(a *Answers, _ Machine, words []string) error {
	if len(words) == 1 && words[0] == none {
		words = nil
	}
	var servers []netip.Addr
	for _, w := range words {
		addr, err := netip.ParseAddr(w)
		if err != nil || host(addr) != "" {
			return fmt.Errorf("%s: must be the address of a DNS server, such as 192.0.2.53", w)
		}
		servers = append(servers, addr)
	}
	if len(servers) > maxServers {
		return fmt.Errorf("must be %d at most", maxServers)
	}
	a.DNS = servers
	return nil
}
