package config

import (
	"net/netip"
	"strings"
	"unicode"
)

// isDomain reports whether name can be looked up: labels of letters, digits,
// hyphens and underscores (SRV names have those), RFC 1035 2.3.4 lengths. A
// last label of digits only is an address somebody mistyped (RFC 3696, 2).
func isDomain(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isLabelByte(c) {
				return false
			}
		}
		last = label
	}
	return !digits(last)
}

func isLabelByte(c byte) bool {
	return c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isMailName reports whether name may stand in EHLO and in a reply: a domain
// or an address literal such as [192.0.2.1] (RFC 5321, 4.1.3).
func isMailName(name string) bool {
	inner, opened := strings.CutPrefix(name, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !opened && !closed {
		return isDomain(name)
	}
	literal, v6 := strings.CutPrefix(inner, "IPv6:")
	ip, err := netip.ParseAddr(literal)
	return opened && closed && err == nil && ip.Zone() == "" && ip.Is6() == v6
}

// isMailbox reports whether text may stand between the angle brackets of MAIL
// FROM and RCPT TO: a local part without quotes, "@", and a domain or an address
// literal, within RFC 5321's lengths (4.5.3.1.1 and 4.5.3.1.3).
func isMailbox(text string) bool {
	local, domain, ok := strings.Cut(text, "@")
	if !ok || len(local) > 64 || len(text) > 254 || !isMailName(domain) {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(c rune) bool { return !isAtomRune(c) }) {
			return false
		}
	}
	return true
}

// isAtomRune is the atext of RFC 5322, 3.2.3.
func isAtomRune(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", c)
}

// isName reports whether name can name a listener, a pool or a backend. Names
// go into logs, metrics and the path of a URL, where ".." and "/" would name
// something else.
func isName(name string) bool {
	for i, c := range name {
		word := unicode.IsLetter(c) || unicode.IsDigit(c)
		switch {
		case i == 0 && !word && c != '[':
			return false
		case !word && !strings.ContainsRune("._-:[]@+", c):
			return false
		}
	}
	return name != "" && len(name) <= 300
}

// isDevice reports whether name can be a network interface: what the kernel's
// dev_valid_name takes, below IFNAMSIZ (16 bytes with the end).
func isDevice(name string) bool {
	if name == "" || len(name) > 15 || name == "." || name == ".." {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return c == '/' || c == ':' || unicode.IsSpace(c) || !unicode.IsPrint(c)
	})
}

// isLine reports whether text can be shown within a line.
func isLine(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
}
