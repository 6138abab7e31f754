package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

func TestListenSaysWhichListenerIsWrongAndWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	inUse := taken.Addr().(*net.TCPAddr).AddrPort()
	relay := smtptest.Start(t, smtptest.Script{})
	for _, test := range []struct {
		name   string
		change func(*rig)
		want   []string
	}{
		{"port in use", func(r *rig) { r.listener().Address = inUse },
			[]string{"listener test", inUse.String(), "another program listens there"}},
		{"port in use, no name", func(r *rig) { r.listener().Name, r.listener().Address = "", inUse },
			[]string{"listener " + inUse.String()}},
		{"no address", func(r *rig) { r.listener().Address = netip.AddrPort{} }, []string{"listener test", "no address"}},
		{"an interface that is not there", func(r *rig) {
			r.listener().Address = netip.MustParseAddrPort("[fe80::1%nowhere0]:0")
		}, []string{"listener test", "nowhere0"}},
		{"no pool", func(r *rig) { r.listener().Pool = nil }, []string{"listener test", "pool", "missing"}},
		{"no balancer", func(r *rig) { r.listener().Pool.Balancer = nil }, []string{"listener test", "pool", "missing"}},
		{"no pool of a route", func(r *rig) { r.listener().Routes = []Route{{}} }, []string{"listener test", "route 0", "missing"}},
		{"too few targets", func(r *rig) { r.listener().Pool.Targets = nil }, []string{"listener test", "0 targets for 1 backends"}},
		{"a target without a port", func(r *rig) {
			r.listener().Pool.Targets[0].Address = netip.MustParseAddrPort("127.0.0.1:0")
		}, []string{"listener test", "target 0", "127.0.0.1:0"}},
		{"a PROXY version", func(r *rig) { r.listener().Pool.Targets[0].ProxyProtocol = 3 }, []string{"target 0", "version 3"}},
		{"a protocol", func(r *rig) { r.listener().Protocol = 9 }, []string{"listener test", "protocol 9"}},
		{"a denied reply", func(r *rig) { r.listener().DeniedReply = 9 }, []string{"listener test", "denied reply 9"}},
		{"no listener", func(r *rig) { r.Listeners = nil }, []string{"no listener"}},
		{"every mistake at once", func(r *rig) {
			r.Listeners = append(r.Listeners, Listener{Name: "second", Protocol: 7})
			r.listener().Pool = nil
		}, []string{"listener test: pool", "listener second: no address", "protocol 7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			smtptest.CheckDescriptors(t)
			r := newRig(t, relay.Addr())
			test.change(r)
			err := r.Listen()
			if err == nil {
				_ = r.Close()
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

// All or nothing: the good listener must not keep its port.
func TestListenBindsAllOrNone(t *testing.T) {
	smtptest.CheckDescriptors(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	second := r.Listeners[0]
	second.Address = taken.Addr().(*net.TCPAddr).AddrPort()
	r.Listeners = append(r.Listeners, second)
	if err := r.Listen(); err == nil {
		t.Fatal("no error")
	}
	if got := r.Addresses(); got != nil {
		t.Errorf("listens on %v", got)
	}
	r.Listeners = r.Listeners[:1]
	r.run() // and it can be tried again
	wantGreeting(t, r.dial(), plainGreeting)
}

// The VIP of the other balancer is not up on this machine.
func TestListenOnAnAddressThatIsNotHere(t *testing.T) {
	for _, address := range []string{"192.0.2.1:0", "[2001:db8::25]:0"} {
		r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
		r.listener().Address = netip.MustParseAddrPort(address)
		if err := r.Listen(); err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got := r.Addresses()[0]; got.Addr() != netip.MustParseAddrPort(address).Addr() || got.Port() == 0 {
			t.Errorf("listens on %v, want %s with a port", got, address)
		}
		_ = r.Close()
	}
}

// Both wildcards with one port, as anybody would write them.
func TestBothWildcardsShareAPort(t *testing.T) {
	free, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(free.Addr().(*net.TCPAddr).Port)
	_ = free.Close()
	four := smtptest.Start(t, smtptest.Script{Greeting: "220 four.test\r\n"})
	six := smtptest.Start(t, smtptest.Script{Greeting: "220 six.test\r\n"})
	r := newRig(t, six.Addr())
	r.listener().Address = netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	second := r.Listeners[0]
	second.Address = netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	second.Pool = newPool(t, "four", four.Addr())
	r.Listeners = append(r.Listeners, second)
	r.run()
	for host, want := range map[string]string{"127.0.0.1": "220 four.test\r\n", "::1": "220 six.test\r\n"} {
		c := smtptest.Dial(t, netip.AddrPortFrom(netip.MustParseAddr(host), port).String())
		wantGreeting(t, c, want)
	}
}

// Several loops and several listeners serve one pool, whose counts are one.
func TestListenersAndLoopsShareAPool(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, relay.Addr())
	second := r.Listeners[0]
	second.Name = "second"
	r.Listeners = append(r.Listeners, second)
	r.Workers = 4
	r.run()
	addresses := r.Addresses()
	for i := range 40 {
		c := smtptest.Dial(t, addresses[i%2].String())
		wantGreeting(t, c, plainGreeting)
	}
	if got := r.listener().Pool.Balancer.Snapshot(r.base)[0].Active; got != 40 {
		t.Errorf("%d sessions hold a slot, want 40", got)
	}
	if st := r.Stats(); st.Accepted != 40 || st.Open != 40 || st.Descriptors != 80 {
		t.Errorf("counted %+v, want 40 sessions with 80 descriptors", st)
	}
}

// Which pool a client gets is its address's business; the first route wins.
func TestRoutesAreTakenInOrder(t *testing.T) {
	relay := func(name string) netip.AddrPort {
		return smtptest.Start(t, smtptest.Script{Greeting: "220 " + name + "\r\n"}).Addr()
	}
	r := newRig(t, relay("default"))
	r.listener().Routes = []Route{
		{From: prefixes("127.0.1.0/24", "127.0.2.0/24"), Pool: newPool(t, "first", relay("first"))},
		{From: prefixes("127.0.0.0/16"), Pool: newPool(t, "second", relay("second"))},
	}
	r.run()
	for i, test := range []struct{ client, greeting, pool string }{
		{"127.0.1.1", "220 first\r\n", "first"},
		{"127.0.2.1", "220 first\r\n", "first"},
		{"127.0.3.1", "220 second\r\n", "second"},
		{"127.1.0.1", "220 default\r\n", "pool"},
	} {
		c := r.dialFrom(test.client)
		wantGreeting(t, c, test.greeting)
		c.Close()
		if got := r.ended(i + 1).Pool; got != test.pool {
			t.Errorf("%s is recorded with pool %q, want %q", test.client, got, test.pool)
		}
	}
}
