//go:build appliance

package appliance

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// lan is a switch in a network namespace, with the hosts around the appliances as
// addresses of its own.
type lan struct {
	t    *testing.T
	name string
}

// The hosts. One network, as VRRP needs; who is who is a matter of addresses.
const (
	relayAddress = "192.0.2.101"
	otherRelay   = "192.0.2.102"
	mailServer   = "192.0.2.70"  // in allow
	stranger     = "192.0.2.130" // in nothing
	manager      = "192.0.2.200" // in management
	vip          = "192.0.2.25"
)

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{t, fmt.Sprintf("smtplb-appliance-%d", os.Getpid())}
	run(t, "ip", "netns", "add", l.name)
	t.Cleanup(func() { run(t, "ip", "netns", "delete", l.name) })
	l.ip("link", "set", "lo", "up")
	l.ip("link", "add", "lan", "type", "bridge")
	l.ip("link", "set", "lan", "up")
	for _, host := range []string{relayAddress, otherRelay, mailServer, stranger, manager} {
		l.ip("address", "add", host+"/24", "dev", "lan")
	}
	return l
}

func (l *lan) ip(args ...string) {
	l.t.Helper()
	run(l.t, "ip", append([]string{"-n", l.name}, args...)...)
}

// port is a socket of the switch, for one machine.
func (l *lan) port(name string) {
	l.t.Helper()
	l.ip("tuntap", "add", name, "mode", "tap")
	l.ip("link", "set", name, "master", "lan", "up")
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// inside calls f with the namespace as its network: sockets that it makes are of
// there.
func inside[T any](l *lan, f func() (T, error)) (T, error) {
	return smtptest.Inside("/run/netns/"+l.name, f)
}

func (l *lan) relay(address string) *smtptest.Relay {
	l.t.Helper()
	r, err := inside(l, func() (*smtptest.Relay, error) { return smtptest.Listen(address, smtptest.Script{}) })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(r.Close)
	return r
}

// connect is a TCP connection from one of the hosts.
func (l *lan) connect(from, to string, patience time.Duration) (net.Conn, error) {
	return inside(l, func() (net.Conn, error) {
		d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		return d.DialContext(context.Background(), "tcp", to)
	})
}

// patience is how long a mail server waits here for anything.
const patience = 20 * time.Second

// send sends one message through the VIP.
func (l *lan) send(m smtptest.Outgoing, patience time.Duration) error {
	c, err := inside(l, func() (*smtptest.Client, error) {
		return smtptest.DialFrom(netip.MustParseAddr(mailServer), vip+":25", patience)
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Send(m); err != nil {
		return err
	}
	_ = c.Quit() // the message is accepted
	return nil
}
