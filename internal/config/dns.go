package config

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// DNS is whom to ask for the names of backends, and how.
type DNS struct {
	// Servers are the DNS servers to ask, in this order, as IP or IP:port, at
	// most 8. Names are then complete: no search domain is tried. Default: none,
	// the nameservers of /etc/resolv.conf are asked, with its search domains.
	// Names in /etc/hosts are taken from there either way.
	Servers []NameServer `koanf:"servers"`

	// Timeout is how long one server is waited for before the next one is asked,
	// 100ms to 1m. Default 5s.
	Timeout time.Duration `koanf:"timeout"`
}

// NameServer is the address of a DNS server.
type NameServer struct{ netip.AddrPort }

// String is the address, without the port where it is 53.
func (s NameServer) String() string {
	if s.Port() == dnsPort {
		return s.Addr().String()
	}
	return s.AddrPort.String()
}

const (
	dnsPort        = 53
	maxNameServers = 8
	wantNameServer = `must be IP or IP:port of a DNS server, such as "10.0.0.53" or "[2001:db8::53]:5353"`
)

func parseNameServer(text string) (NameServer, error) {
	host, port := text, uint16(dnsPort)
	if h, p, err := net.SplitHostPort(text); err == nil {
		host = h
		if port, err = parsePort(p); err != nil {
			return NameServer{}, err
		}
	}
	ip, err := parseIP(host)
	if err != nil || ip.IsUnspecified() || ip.IsMulticast() {
		return NameServer{}, fmt.Errorf("%s", wantNameServer)
	}
	return NameServer{netip.AddrPortFrom(ip, port)}, nil
}

func (r *report) checkDNS(d *DNS) {
	if len(d.Servers) > maxNameServers {
		r.fail("dns.servers", fmt.Sprintf("must have at most %d elements, has %d", maxNameServers, len(d.Servers)))
	}
	r.lasting("dns.timeout", d.Timeout, 100*time.Millisecond, time.Minute)
}

// Discovered is what the backends that are found in DNS have in common: of what a
// backend can be told, all that the records do not say.
type Discovered struct {
	// Port is that of the relays with mx; the records of srv say it themselves.
	// Default 0: 25.
	Port int `koanf:"port"`

	// MaxSessions is the most sessions of each at one time, 0 to 10000000.
	// Default 0: no limit.
	MaxSessions int `koanf:"max_sessions"`

	// ProxyProtocol is the PROXY header that the relays want: v1, v2, or "".
	// Default "": none.
	ProxyProtocol ProxyProtocol `koanf:"proxy_protocol"`

	// Source is the local address to connect from. Default "": as the kernel
	// chooses.
	Source netip.Addr `koanf:"source"`

	// Interface is the network interface to connect through. Default "": as the
	// kernel chooses.
	Interface string `koanf:"interface"`

	// FWMark is the firewall mark set on the connections. Default 0: none.
	FWMark uint32 `koanf:"fwmark"`

	// Transparent connects from the client's own address, so that the relay sees
	// that; see docs/transparent.md. Default false.
	Transparent bool `koanf:"transparent"`
}

// Backend is one of those found, as if it had been written.
func (d *Discovered) Backend(name string, at netip.AddrPort, priority, weight int) Backend {
	return Backend{
		Name: name, Address: Endpoint{Host: at.Addr().String(), Port: at.Port(), IP: at.Addr()}, Weight: weight, Priority: priority,
		MaxSessions: d.MaxSessions, ProxyProtocol: d.ProxyProtocol,
		Source: d.Source, Interface: d.Interface, FWMark: d.FWMark, Transparent: d.Transparent,
	}
}

func (r *report) checkDiscovered(p *Pool, at string) {
	key, d := at+".discovered", &p.Discovered
	if p.Discover.Kind == "" && *d != (Discovered{}) && !r.failed(at+".discover") {
		r.fail(key, "needs discover: it is about the backends that are found in DNS")
		return
	}
	r.between(key+".port", d.Port, 0, 65535)
	if p.Discover.Kind == DiscoverSRV && d.Port != 0 {
		r.fail(key+".port", "must be left out with srv: the records say the ports")
	}
	r.between(key+".max_sessions", d.MaxSessions, 0, maxSessions)
	r.deviceName(key+".interface", d.Interface)
	if d.Source.IsValid() && d.Transparent {
		r.fail(key+".source", "excludes transparent: that connects from the client's own address")
	}
}
