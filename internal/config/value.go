package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Share is a part of a whole, exact, in millionths: 5% is 50000. The file
// writes it as a percentage with at most four decimals.
type Share int64

// percent is one percent of the whole.
const percent Share = 10_000

// Fraction is the share as a number from 0 to 1.
func (s Share) Fraction() float64 { return float64(s) / float64(100*percent) }

// String gives the share as it stands in the file, such as "2.5%".
func (s Share) String() string {
	text := fmt.Sprintf("%d.%04d", s/percent, s%percent)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".") + "%"
}

const wantShare = "must be a share such as 5% or 2.5%"

func parseShare(text string) (Share, error) {
	number, ok := strings.CutSuffix(text, "%")
	whole, decimals, dotted := strings.Cut(number, ".")
	if !ok || len(whole) > 3 || !digits(whole) || dotted && !digits(decimals) || len(decimals) > 4 {
		return 0, errors.New(wantShare)
	}
	millionths, err := strconv.ParseInt(whole+decimals+strings.Repeat("0", 4-len(decimals)), 10, 64)
	if err != nil || Share(millionths) > 100*percent {
		return 0, errors.New(wantShare + ", at most 100%")
	}
	return Share(millionths), nil
}

// digits reports whether text is one or more ASCII digits.
func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// Endpoint is a host and a port to connect to. The zero value is none.
type Endpoint struct {
	// Host is an IP address or a name in lower case. Empty, with a port, it is
	// the backend's own host; only a probe's address may be so.
	Host string

	// Port is 1 to 65535.
	Port uint16

	// IP is Host, where that is an address; else it is not valid.
	IP netip.Addr
}

// AddrPort is the address to connect to. It is false where Host is a name and
// has to be looked up first.
func (e Endpoint) AddrPort() (netip.AddrPort, bool) {
	return netip.AddrPortFrom(e.IP, e.Port), e.IP.IsValid()
}

// String gives host:port, an IPv6 address in brackets; "" where it is zero.
func (e Endpoint) String() string {
	if e.Port == 0 {
		return ""
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

const wantEndpoint = `must be IP:port or name:port, such as "10.10.1.11:25" or "relay.example.com:25"`

func parseEndpoint(text string) (Endpoint, error) {
	if text == "" {
		return Endpoint{}, nil
	}
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return Endpoint{}, errors.New(wantEndpoint)
	}
	port, err := parsePort(portText)
	if err != nil {
		return Endpoint{}, err
	}
	if host == "" {
		return Endpoint{Port: port}, nil
	}
	ip, err := parseIP(host)
	if err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return Endpoint{}, errors.New("must be the address of one machine")
		}
		return Endpoint{Host: ip.String(), Port: port, IP: ip}, nil
	}
	if strings.Contains(host, ":") || !isDomain(host) {
		return Endpoint{}, errors.New(wantEndpoint)
	}
	return Endpoint{Host: strings.ToLower(host), Port: port}, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || !digits(text) {
		return 0, errors.New("must have a port of 1 to 65535 after the last colon")
	}
	return uint16(port), nil
}

// parseIP reads an address. IPv4 inside IPv6 (::ffff:192.0.2.1) is IPv4.
func parseIP(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, errors.New("must be an IP address such as 192.0.2.1 or 2001:db8::1")
	}
	if ip.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("must have no zone: write %s", ip.WithZone(""))
	}
	return ip.Unmap(), nil
}

// parseSource reads an egress address; "" is none.
func parseSource(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	ip, err := parseIP(text)
	if err == nil && (ip.IsUnspecified() || ip.IsMulticast()) {
		return netip.Addr{}, errors.New("must be an address of this machine")
	}
	return ip, err
}

const wantListen = `must be IP:port, such as "192.0.2.25:25", "0.0.0.0:25" or "[::]:25"`

func parseListen(text string) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, errors.New(wantListen)
	}
	port, err := parsePort(portText)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, err := parseIP(host)
	switch {
	case err != nil && strings.Contains(host, "%"):
		return netip.AddrPort{}, err
	case err != nil || ip.IsMulticast():
		return netip.AddrPort{}, errors.New(wantListen)
	}
	return netip.AddrPortFrom(ip, port), nil
}

const wantNetwork = "must be a network such as 10.10.0.0/16, or an address"

// parseNetwork reads a network, or an address as the network of itself alone.
func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		ip, err := parseIP(text)
		switch {
		case err != nil && strings.Contains(text, "%"):
			return netip.Prefix{}, err
		case err != nil:
			return netip.Prefix{}, errors.New(wantNetwork)
		}
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New(wantNetwork)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("has bits set after the first %d: write %s, or %s for that address alone",
			p.Bits(), p.Masked(), p.Addr())
	}
	return p, nil
}

const wantDuration = "must be a time with its unit, such as 500ms, 15s or 2m"

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errors.New(wantDuration)
	}
	return d, nil
}

// short writes a duration as a person would: 15m, not 15m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

const wantHedge = "must be auto, off, or a time with its unit, such as 800ms"

func parseHedge(text string) (Hedge, error) {
	switch text {
	case "auto":
		return Hedge{Auto: true}, nil
	case "off":
		return Hedge{}, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return Hedge{}, errors.New(wantHedge)
	}
	return Hedge{After: d}, nil
}

// Discover is where backends are found in DNS. The zero value is nowhere.
type Discover struct {
	// Kind is the record type, "" for no discovery.
	Kind DiscoverKind

	// Name is the name asked for, in lower case.
	Name string
}

// String gives the value as it stands in the file, such as "mx:example.com".
func (d Discover) String() string {
	if d.Kind == "" {
		return ""
	}
	return string(d.Kind) + ":" + d.Name
}

func parseDiscover(text string) (Discover, error) {
	if text == "" {
		return Discover{}, nil
	}
	kind, name, _ := strings.Cut(text, ":")
	k := DiscoverKind(kind)
	if k != DiscoverMX && k != DiscoverSRV || !isDomain(name) {
		return Discover{}, errors.New(`must be mx:NAME or srv:NAME, such as "mx:example.com" or "srv:_smtp._tcp.example.com"`)
	}
	return Discover{Kind: k, Name: strings.ToLower(name)}, nil
}
