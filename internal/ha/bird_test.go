package ha

import (
	"net/netip"
	"strings"
	"testing"
)

func addrs(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func speaker(change func(*Speaker)) *Speaker {
	s := &Speaker{
		VIPs: addrs("192.0.2.25"), Self: addrs("10.0.0.11"), Routers: addrs("10.0.0.1"),
		BGP: BGP{AS: 65025, RouterAS: 65000, Config: "/etc/smtplb/smtplb.yaml"},
	}
	if change != nil {
		change(s)
	}
	return s
}

func router(change func(*Router)) *Router {
	r := &Router{
		VIPs: addrs("192.0.2.25"), Self: addrs("10.0.0.1"), Balancers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, Table: 1025,
		BGP: BGP{AS: 65025, RouterAS: 65000, Config: "/etc/smtplb/smtplb.yaml"},
	}
	if change != nil {
		change(r)
	}
	return r
}

// What is printed is what a person has read; e2e has BIRD and nft themselves read it.
func TestBirdConf(t *testing.T) {
	for name, bird := range map[string]func() (string, error){
		"bird-smallest": speaker(nil).Bird,
		"bird-both-families": speaker(func(s *Speaker) {
			s.VIPs = addrs("192.0.2.25", "2001:db8::25", "192.0.2.26")
			s.Self, s.Routers = addrs("10.0.0.11", "fd00::11"), addrs("10.0.0.1", "10.0.0.2", "fd00::1")
			s.NoBFD = true
		}).Bird,
		"bird-router": router(nil).Bird,
		"bird-router-both-families": router(func(r *Router) {
			r.VIPs, r.Self = addrs("192.0.2.25", "2001:db8::25"), addrs("10.0.0.1", "fd00::1")
			r.Balancers = append(r.Balancers, netip.MustParsePrefix("fd00::/64"))
		}).Bird,
		"handover": func() (string, error) {
			return Handover(addrs("192.0.2.25", "2001:db8::25", "192.0.2.26"), "bond0.12", "/etc/smtplb/smtplb.yaml")
		},
	} {
		got, err := bird()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantFile(t, name, got)
	}
}

func TestWrongSpeakersAreRefused(t *testing.T) {
	for _, test := range []struct {
		change func(*Speaker)
		want   string
	}{
		{func(s *Speaker) { s.VIPs = nil }, "VIPs: at least one"},
		{func(s *Speaker) { s.VIPs[0] = netip.IPv4Unspecified() }, "VIP 0.0.0.0: must be the one address that moves"},
		{func(s *Speaker) { s.VIPs = addrs("192.0.2.25", "2001:db8::25") }, "VIP 2001:db8::25: no router of its family is told"},
		{func(s *Speaker) { s.Self = addrs("fd00::11", "10.0.0.11") }, "self: the first must be an IPv4 address"},
		{func(s *Speaker) { s.Self = addrs("10.0.0.11", "10.0.0.12") }, "self 10.0.0.12: is a second one of its family"},
		{func(s *Speaker) { s.Self = addrs("192.0.2.25") }, "self 192.0.2.25: is a listener's address"},
		{func(s *Speaker) { s.Self = addrs("10.0.0.11", "fe80::1%eth0") }, "self fe80::1%eth0: must be an address of that machine"},
		{func(s *Speaker) { s.Routers = append(s.Routers, s.Self[0]) }, "router 10.0.0.11: is this balancer's own"},
		{func(s *Speaker) { s.Routers = append(s.Routers, addrs("fd00::1")...) }, "router fd00::1: this machine needs an own address of that family"},
		{func(s *Speaker) { s.Routers = append(s.Routers, addrs("127.0.0.1")...) }, "router 127.0.0.1: must be an address of that machine"},
		{func(s *Speaker) { s.Routers = append(s.Routers, s.Routers[0]) }, "router 10.0.0.1: is there twice"},
		{func(s *Speaker) { s.AS = 0 }, "AS 0: must be a number"},
		{func(s *Speaker) { s.RouterAS = 23456 }, "router's AS 23456: must be a number"},
		{func(s *Speaker) { s.AS = s.RouterAS }, "AS 65000: must differ"},
		{func(s *Speaker) { s.Config = "/etc/x\ny" }, `configuration "/etc/x\ny"`},
	} {
		text, err := speaker(test.change).Bird()
		if err == nil || text != "" || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, %q, want the one error %q", err, text, test.want)
		}
	}
	var none Speaker
	if _, err := none.Bird(); err == nil || strings.Count(err.Error(), "\n") < 4 {
		t.Errorf("not every mistake is told: %v", err)
	}
}

func TestWrongRoutersAreRefused(t *testing.T) {
	for _, test := range []struct {
		change func(*Router)
		want   string
	}{
		{func(r *Router) { r.Balancers = nil }, "balancers: their network is needed"},
		{func(r *Router) { r.Balancers = append(r.Balancers, netip.MustParsePrefix("10.0.1.1/24")) }, "balancers 10.0.1.1/24: must be a network"},
		{func(r *Router) { r.Balancers = append(r.Balancers, netip.MustParsePrefix("192.0.2.0/24")) }, "VIP 192.0.2.25: is in the balancers' network"},
		{func(r *Router) { r.Balancers = append(r.Balancers, netip.MustParsePrefix("fd00::/64")) }, "balancers fd00::/64: this machine needs an own address"},
		{func(r *Router) { r.VIPs = addrs("192.0.2.25", "2001:db8::25") }, "VIP 2001:db8::25: no network of balancers"},
		{func(r *Router) { r.Balancers = append(r.Balancers, r.Balancers[0]) }, "balancers 10.0.0.0/24: overlaps with 10.0.0.0/24"},
		{func(r *Router) { r.Balancers = append(r.Balancers, netip.MustParsePrefix("10.0.0.0/8")) }, "balancers 10.0.0.0/8: overlaps with 10.0.0.0/24"},
		{func(r *Router) { r.Table = 255 }, "table 255: must be 256 to"},
	} {
		text, err := router(test.change).Bird()
		if err == nil || text != "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, %q, want %q", err, text, test.want)
		}
	}
}

func TestWrongHandoversAreRefused(t *testing.T) {
	for _, test := range []struct {
		vips           []netip.Addr
		device, config string
		want           string
	}{
		{nil, "eth0", "/x", "VIPs: at least one"},
		{addrs("127.0.0.1"), "eth0", "/x", "VIP 127.0.0.1"},
		{addrs("192.0.2.25"), `eth0" drop; #`, "/x", "must be the name of a network interface"},
		{addrs("192.0.2.25"), "eth0", "/x\nflush ruleset", "must be a path"},
	} {
		if text, err := Handover(test.vips, test.device, test.config); err == nil || text != "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, %q, want %q", err, text, test.want)
		}
	}
}
