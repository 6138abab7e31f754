package setup

import (
	"net/netip"
	"slices"
	"strings"
)

// Answers are all that an appliance has to be told. They are made by Read or Ask,
// which check them.
type Answers struct {
	Hostname  string
	Interface string // that the addresses are on

	// The address of this appliance with the length of its network. Invalid with
	// DHCP.
	Address netip.Prefix
	DHCP    bool
	Keep    bool       // the network is set up already, by cloud-init: leave it as it is
	Gateway netip.Addr // invalid: none
	DNS     []netip.Addr

	VIP  netip.Addr // invalid: clients use Address
	Peer netip.Addr // the other appliance; invalid: none

	Relays     []string       // HOST:PORT
	Allow      []netip.Prefix // who may send
	Management []netip.Prefix // who may open the admin page, and SSH
}

// Machine is what the answers are held against.
type Machine struct {
	Interfaces []Interface
}

// Interface is a network interface, and the addresses that it has by now.
type Interface struct {
	Name      string
	Addresses []netip.Prefix
}

// address is the first one of an interface that other machines can reach.
func (m Machine) address(name string) netip.Prefix {
	for _, i := range m.Interfaces {
		if i.Name != name {
			continue
		}
		for _, a := range i.Addresses {
			if host(a.Addr()) == "" && misplaced(a.Addr(), a) == "" {
				return a
			}
		}
	}
	return netip.Prefix{}
}

// has tells whether an interface has an address by now.
func (m Machine) has(name string, addr netip.Addr) bool {
	return slices.ContainsFunc(m.Interfaces, func(i Interface) bool {
		return i.Name == name && slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == addr })
	})
}

func (m Machine) names() string {
	var names []string
	for _, i := range m.Interfaces {
		names = append(names, i.Name)
	}
	return strings.Join(names, ", ")
}

// listen is the address that clients send to.
func (a *Answers) listen() netip.Addr {
	switch {
	case a.VIP.IsValid():
		return a.VIP
	case a.Address.IsValid():
		return a.Address.Addr()
	default:
		return netip.IPv6Unspecified() // of both families: what DHCP will bring is not known
	}
}

// AdminPort is that of the admin page.
const AdminPort = 9925

// AdminURL is where the admin page is; "" where the address is not known yet.
func (a *Answers) AdminURL() string {
	if !a.Address.IsValid() {
		return ""
	}
	return "https://" + netip.AddrPortFrom(a.Address.Addr(), AdminPort).String() + "/"
}
