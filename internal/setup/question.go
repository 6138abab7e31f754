package setup

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// question is one thing that an appliance has to be told. Questions are asked in
// an order in which each can be held against the answers before it.
type question struct {
	key  string // its name in a file of answers
	ask  string
	help string

	list    bool                           // several, separated by blanks
	needs   string                         // the question without whose answer this one cannot be judged
	skip    func(*Answers, Machine) bool   // true: not asked at the console; nil: asked
	suggest func(*Answers, Machine) string // what an empty line means; nil or "": nothing
	set     func(*Answers, Machine, []string) error
}

// none is how a person says that there is no such thing, where a suggestion
// stands in the way of an empty line.
const none = "none"

func questions() []question {
	return []question{
		{
			key: "hostname", ask: "Name of this appliance", set: setHostname,
			help:    "Letters, digits and hyphens, with or without a domain. The two appliances of a pair have different names.",
			suggest: func(*Answers, Machine) string { return "smtplb" },
		},
		{
			key: "interface", ask: "Network interface", set: setInterface,
			help: "The interface that clients are on.",
			skip: func(_ *Answers, m Machine) bool { return len(m.Interfaces) == 1 },
			suggest: func(_ *Answers, m Machine) string {
				if len(m.Interfaces) == 0 {
					return ""
				}
				return m.Interfaces[0].Name
			},
		},
		{
			key: "address", ask: "Address of this appliance, with the length of its network, or dhcp", set: setAddress,
			needs: "interface",
			help:  "Such as 192.0.2.11/24. It is this appliance's own, beside the VIP that clients use.",
		},
		{
			key: "gateway", ask: "Gateway", needs: "address", skip: noStatic, set: setGateway,
			help: "The router of that network, such as 192.0.2.1. Empty: none, everything is in that network.",
		},
		{
			key: "dns", ask: "DNS servers", list: true, skip: noStatic, set: setDNS,
			help: "Addresses, separated by blanks. Empty: none; relays must then be given by address, and upgrades do not come.",
		},
		{
			key: "vip", ask: "VIP, the address that clients send to", needs: "address", set: setVIP,
			skip: func(a *Answers, _ Machine) bool { return a.DHCP },
			help: "One more address in the same network, which moves to the other appliance when this one fails. Empty: clients use the address of this one.",
		},
		{
			key: "peer", ask: "Address of the other appliance", needs: "vip", set: setPeer,
			skip: func(a *Answers, _ Machine) bool { return !a.VIP.IsValid() },
			help: "Its own address, not the VIP. Empty: there is none, yet or ever.",
		},
		{
			key: "relays", ask: "Relays", list: true, needs: "dns", set: setRelays,
			help: "Where mail goes to: addresses or names, with a port where it is not 25, separated by blanks, such as 10.10.1.11 10.10.1.12:587.",
		},
		{
			key: "allow", ask: "Who may send", list: true, set: setAllow,
			help: "Addresses or networks of your mail servers, separated by blanks, such as 10.10.0.5 10.10.8.0/24. Nobody else reaches the relays through this.",
		},
		{
			key: "management", ask: "Who may open the admin page", list: true, needs: "address", set: setManagement,
			help: "Addresses or networks of administrators, separated by blanks. SSH, where there is a key, is for the same. none: nobody.",
			suggest: func(a *Answers, _ Machine) string {
				if !a.Address.IsValid() {
					return none
				}
				return a.Address.Masked().String()
			},
		},
	}
}

// noStatic tells whether what belongs to a fixed address is not asked.
func noStatic(a *Answers, _ Machine) bool { return a.DHCP || a.Keep }

// one is a value that is no list; "" where there is none.
func one(words []string) (string, error) {
	switch len(words) {
	case 0:
		return "", nil
	case 1:
		return words[0], nil
	default:
		return "", errors.New("must be one, without blanks")
	}
}

const longestName = 63

func setHostname(a *Answers, _ Machine, words []string) error {
	name, err := one(words)
	if err != nil {
		return err
	}
	if !isName(name) || len(name) > longestName {
		return fmt.Errorf("must be letters, digits and hyphens, %d at most, such as smtplb-a or smtplb-a.example.com", longestName)
	}
	a.Hostname = strings.ToLower(name)
	return nil
}

func setInterface(a *Answers, m Machine, words []string) error {
	name, err := one(words)
	if err != nil {
		return err
	}
	if len(m.Interfaces) == 0 {
		return errors.New("this machine has no network interface: give it one, and start it again")
	}
	for _, i := range m.Interfaces {
		if i.Name == name {
			a.Interface = name
			return nil
		}
	}
	return fmt.Errorf("must be one of the appliance's: %s", m.names())
}

// isName tells whether it is the name of a host, as RFC 1123 has them. The last
// label is no number, or it is a wrong address.
func isName(name string) bool {
	const longest, longestLabel = 253, 63
	if len(name) > longest {
		return false
	}
	letters := false
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > longestLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		letters = false
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-':
				letters = true
			case c >= '0' && c <= '9':
			default:
				return false
			}
		}
	}
	return letters
}

// host says why an address cannot be a machine's; "" where it can.
func host(addr netip.Addr) string {
	switch {
	case addr.Zone() != "" || addr.IsLinkLocalUnicast():
		return "an address of a single link is not reached from other networks"
	case !addr.IsValid(), addr.IsLoopback(), addr.IsUnspecified(), addr.IsMulticast(), addr.Is4In6(),
		addr.Is4() && (addr.As4()[0] >= 240 || addr.As4()[0] == 0):
		return "this is not the address of a machine"
	default:
		return ""
	}
}
