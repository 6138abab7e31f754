package setup

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	smtpPort    = 25
	maxRelays   = 100
	maxNetworks = 1000
)

func setRelays(a *Answers, _ Machine, words []string) error {
	var relays []string
	for _, w := range words {
		r, err := relay(a, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
		if slices.Contains(relays, r) {
			return fmt.Errorf("%s: is there twice: must be once", w)
		}
		relays = append(relays, r)
	}
	switch {
	case len(relays) == 0:
		return errors.New("at least one is needed, such as 10.10.1.11 or relay.example.com:587")
	case len(relays) > maxRelays:
		return fmt.Errorf("must be %d at most; more can be put into smtplb.yaml", maxRelays)
	}
	a.Relays = relays
	return nil
}

// relay is HOST:PORT in its one form.
func relay(a *Answers, text string) (string, error) {
	const want = "must be an address or a name, with a port where it is not 25, such as 10.10.1.11 or relay.example.com:587"
	hostname, port := text, strconv.Itoa(smtpPort)
	if _, err := netip.ParseAddr(text); err != nil && strings.Contains(text, ":") {
		if hostname, port, err = net.SplitHostPort(text); err != nil {
			return "", errors.New(want)
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n < 1 || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("port %q: must be 1 to 65535", port)
	}
	addr, _ := netip.ParseAddr(hostname) // or it is a name
	switch {
	case addr.IsValid():
	case !isName(hostname):
		return "", errors.New(want)
	case len(a.DNS) == 0 && !a.DHCP && !a.Keep:
		return "", errors.New("is a name, and no DNS server was given that would know it: must be an address")
	default:
		return strings.ToLower(hostname) + ":" + port, nil
	}
	if why := host(addr); why != "" {
		return "", fmt.Errorf("%s: %s", why, want)
	}
	if addr == a.VIP || addr == a.Address.Addr() || addr == a.Peer {
		return "", errors.New("is the VIP or an appliance, and mail would go in circles: must be where mail goes to")
	}
	return netip.AddrPortFrom(addr, uint16(n)).String(), nil
}

// networks reads addresses and networks.
func networks(words []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, w := range words {
		p, err := network(w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	if len(all) > maxNetworks {
		return nil, fmt.Errorf("must be %d at most", maxNetworks)
	}
	return all, nil
}

func network(text string) (netip.Prefix, error) {
	const want = "must be an address or a network, such as 10.10.0.5 or 10.10.8.0/24"
	if addr, err := netip.ParseAddr(text); err == nil {
		if why := host(addr); why != "" {
			return netip.Prefix{}, fmt.Errorf("%s: %s", why, want)
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New(want)
	case tooWide(p):
		return netip.Prefix{}, errors.New("is too much of the Internet, and the relays trust whoever comes through here: " +
			"must be the networks of your own servers, such as 10.10.8.0/24")
	case p.Masked() != p:
		return netip.Prefix{}, fmt.Errorf("is an address with a length: must be %s for the network, or %s for that one address", p.Masked(), p.Addr())
	}
	if why := host(p.Addr()); why != "" {
		return netip.Prefix{}, fmt.Errorf("%s: %s", why, want)
	}
	return p, nil
}

// tooWide tells whether a network is larger than any that belongs to one company.
func tooWide(p netip.Prefix) bool {
	const shortest4, shortest6, shortestLocal6 = 8, 20, 7
	switch {
	case p.Addr().Is4():
		return p.Bits() < shortest4
	case netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfc}), shortestLocal6).Contains(p.Addr()): // RFC 4193
		return p.Bits() < shortestLocal6
	default:
		return p.Bits() < shortest6
	}
}

func setAllow(a *Answers, _ Machine, words []string) error {
	all, err := networks(words)
	if err == nil && len(all) == 0 {
		err = errors.New("somebody must be allowed, or no mail comes: the addresses or networks of your mail servers, such as 10.10.0.5 or 10.10.8.0/24")
	}
	a.Allow = all
	return err
}

func setManagement(a *Answers, _ Machine, words []string) error {
	if len(words) == 1 && words[0] == none {
		a.Management = nil
		return nil
	}
	all, err := networks(words)
	if err == nil && len(all) == 0 {
		err = errors.New("must be addresses or networks, such as 192.0.2.0/24, or " + none)
	}
	a.Management = all
	return err
}
