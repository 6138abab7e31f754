package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	smtpPort    = "25"
	lookupLimit = 10 * time.Second
)

// target is where sessions go.
type target struct {
	name    string // as given
	host    string // for TLS
	address string // with an IP address
}

// String is the name, with the address where that says more.
func (t target) String() string {
	if t.name == t.address {
		return t.name
	}
	return fmt.Sprintf("%s (%s)", t.name, t.address)
}

// splitTarget takes host:port, or a host alone.
func splitTarget(name string) (host, port string, err error) {
	bad := func(why string) error {
		return fmt.Errorf("target %q: %s: want host:port, such as 127.0.0.1:25, [::1]:25 or relay.example.com:25", name, why)
	}
	host, port = name, smtpPort
	literal := name
	if inner, ok := strings.CutPrefix(name, "["); ok && strings.HasSuffix(inner, "]") {
		literal = inner[:len(inner)-1]
	}
	if ip, err := netip.ParseAddr(literal); err == nil {
		host = ip.String()
	} else if strings.Contains(name, ":") {
		if host, port, err = net.SplitHostPort(name); err != nil {
			var split *net.AddrError
			if errors.As(err, &split) {
				return "", "", bad(split.Err)
			}
			return "", "", bad(err.Error())
		}
	}
	if host == "" || strings.ContainsAny(host, " /\t\r\n") {
		return "", "", bad("no host name or address")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", bad(fmt.Sprintf("%q is no port number", port))
	}
	return host, port, nil
}

// resolve looks every target up.
func resolve(ctx context.Context, names []string) ([]target, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	targets := make([]target, 0, len(names))
	var problems []error
	for _, name := range names {
		t, err := lookup(ctx, name)
		if err != nil {
			problems = append(problems, err)
		}
		targets = append(targets, t)
	}
	return targets, errors.Join(problems...)
}

func lookup(ctx context.Context, name string) (target, error) {
	host, port, err := splitTarget(name)
	if err != nil {
		return target{}, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		why := err.Error()
		var dns *net.DNSError
		if errors.As(err, &dns) {
			why = dns.Err
		}
		return target{}, fmt.Errorf("target %q: looking up %s: %s", name, host, why)
	}
	if len(ips) == 0 {
		return target{}, fmt.Errorf("target %q: %s has no address", name, host)
	}
	ip := ips[0]
	if i := slices.IndexFunc(ips, func(a netip.Addr) bool { return a.Unmap().Is4() }); i >= 0 {
		ip = ips[i].Unmap()
	}
	return target{name: name, host: host, address: net.JoinHostPort(ip.String(), port)}, nil
}
