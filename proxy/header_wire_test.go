package proxy

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"smtplb/internal/smtptest"
)

const headerOfClient = "PROXY TCP4 10.1.2.3 192.0.2.25 40000 25\r\n"

// behindProxy is a rig whose clients on 127.0.0.2 are proxies and must send a
// header; the client that headerOfClient names is allowed.
func behindProxy(t *testing.T, relays ...netip.AddrPort) *rig {
	r := newRig(t, relays...)
	r.listener().AcceptProxy = prefixes("127.0.0.2/32")
	r.listener().Allow = prefixes("10.1.0.0/16")
	return r
}

func TestProxyHeaderNamesTheRealClient(t *testing.T) {
	v2 := func(command proxyproto.ProtocolVersionAndCommand) string {
		h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(parsed("10.1.2.3:40000")), net.TCPAddrFromAddrPort(parsed("192.0.2.25:25")))
		h.Command = command
		b, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	other := smtptest.Start(t, smtptest.Script{Greeting: "220 other.test\r\n"})
	relay := smtptest.Start(t, smtptest.Script{})
	refused := func(who string) string { return "421 4.7.1 lb.test " + who + " is not allowed to connect here" }
	for _, test := range []struct {
		name   string
		peer   string
		header string
		change func(*Listener)
		want   string // what the client reads begins with it
		client string // of the record, without its port
	}{
		{"version 1", "127.0.0.2", headerOfClient, nil, plainGreeting, "10.1.2.3"},
		{"version 2", "127.0.0.2", v2(proxyproto.PROXY), nil, plainGreeting, "10.1.2.3"},
		{"deny looks at the client", "127.0.0.2", headerOfClient,
			func(l *Listener) { l.Deny = prefixes("10.1.2.3/32") }, refused("10.1.2.3"), "10.1.2.3"},
		{"deny does not look at the proxy", "127.0.0.2", headerOfClient,
			func(l *Listener) { l.Deny = prefixes("127.0.0.2/32") }, plainGreeting, "10.1.2.3"},
		{"allow does not look at the proxy", "127.0.0.2", headerOfClient,
			func(l *Listener) { l.Allow = prefixes("127.0.0.2/32") }, refused("10.1.2.3"), "10.1.2.3"},
		{"routes look at the client", "127.0.0.2", headerOfClient,
			func(l *Listener) {
				l.Routes = []Route{{From: prefixes("10.1.2.0/24"), Pool: newPool(t, "other", other.Addr())}}
			}, "220 other.test\r\n", "10.1.2.3"},
		{"local is the proxy itself", "127.0.0.2", v2(proxyproto.LOCAL),
			func(l *Listener) { l.Allow = prefixes("127.0.0.2/32") }, plainGreeting, "127.0.0.2"},
		{"local gives no rights", "127.0.0.2", v2(proxyproto.LOCAL), nil, refused("127.0.0.2"), "127.0.0.2"},
		{"unknown is the proxy itself", "127.0.0.2", "PROXY UNKNOWN\r\n", nil, refused("127.0.0.2"), "127.0.0.2"},
		{"a forged header from anybody else", "127.0.0.3", headerOfClient, nil, refused("127.0.0.3"), "127.0.0.3"},
		{"other bytes", "127.0.0.2", "EHLO client.test\r\n", nil, "421 4.7.1 lb.test PROXY header missing", "127.0.0.2"},
		{"a broken header", "127.0.0.2", "PROXY TCP4 nonsense\r\n", nil, "421 4.7.1 lb.test PROXY header not understood", "127.0.0.2"},
		{"a header that is too long", "127.0.0.2", "PROXY " + strings.Repeat("x", 200), nil, "421 4.7.1 lb.test PROXY header not understood", "127.0.0.2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := behindProxy(t, relay.Addr())
			if test.change != nil {
				test.change(r.listener())
			}
			r.run()
			conn := limited(t, r.dialFrom(test.peer).Conn())
			send(t, conn, test.header)
			wantRead(t, conn, test.want)
			_ = conn.Close()
			if rec := r.ended(1); rec.Client.Addr().String() != test.client {
				t.Errorf("recorded as client %v, want %s", rec.Client, test.client)
			}
		})
	}
}

// To everybody but a named proxy a header is the client's own words, which the
// relay gets like any others.
func TestForgedHeaderIsJustBytes(t *testing.T) {
	b := startHears(t)
	close(b.greet)
	r := behindProxy(t, b.Addr())
	r.listener().Allow = prefixes("127.0.0.3/32")
	r.run()
	conn := limited(t, r.dialFrom("127.0.0.3").Conn())
	send(t, conn, headerOfClient)
	wantRead(t, conn, plainGreeting)
	_ = conn.CloseWrite()
	if got := <-b.all; got != headerOfClient {
		t.Errorf("the relay read %q, want %q", got, headerOfClient)
	}
}

// The proxy may send header and mail in one segment, or each byte in its own.
func TestBytesBehindTheProxyHeaderReachTheRelay(t *testing.T) {
	const early = "EHLO client.test\r\n"
	for name, piece := range map[string]int{"in one piece": 1000, "in single bytes": 1} {
		t.Run(name, func(t *testing.T) {
			b := startHears(t)
			close(b.greet)
			r := behindProxy(t, b.Addr()).run()
			conn := limited(t, r.dialFrom("127.0.0.2").Conn())
			for rest := headerOfClient + early; rest != ""; {
				n := min(piece, len(rest))
				send(t, conn, rest[:n])
				rest = rest[n:]
			}
			wantRead(t, conn, plainGreeting)
			_ = conn.CloseWrite()
			if got := <-b.all; got != early {
				t.Errorf("the relay read %q, want %q", got, early)
			}
		})
	}
}

func TestProxyThatSendsNoHeaderIsRefusedInTime(t *testing.T) {
	for name, part := range map[string]string{"nothing": "", "half a header": headerOfClient[:20]} {
		t.Run(name, func(t *testing.T) {
			h := behindProxy(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
			conn := limited(t, h.r.dialFrom("127.0.0.2").Conn())
			send(t, conn, part)
			h.reach(stateHeader)
			h.pass(headerTimeout - time.Second)
			if h.in(stateHeader) == nil {
				t.Error("refused before its time")
			}
			h.pass(2 * time.Second)
			h.reach(stateLinger)
			if got := readAll(t, conn); !strings.HasPrefix(got, "421 4.7.1 lb.test PROXY header missing (session ") {
				t.Errorf("read %q", got)
			}
		})
	}
}

func TestProxyThatLeavesWithinItsHeaderIsOver(t *testing.T) {
	r := behindProxy(t, smtptest.Start(t, smtptest.Script{}).Addr()).run()
	silent := limited(t, r.dialFrom("127.0.0.2").Conn())
	_ = silent.CloseWrite()
	if got := readAll(t, silent); got != "" {
		t.Errorf("a check that only connects reads %q, want nothing", got)
	}
	wantEnd(t, r.ended(1), ClientClosed)
	half := limited(t, r.dialFrom("127.0.0.2").Conn())
	send(t, half, headerOfClient[:20])
	_ = half.CloseWrite()
	if got := readAll(t, half); !strings.HasPrefix(got, "421 4.7.1 lb.test PROXY header missing") {
		t.Errorf("read %q", got)
	}
	wantEnd(t, r.ended(2), Denied)
}

// relayOfHeaders reports the header of each connection, read before it greets.
func relayOfHeaders(t *testing.T) (*smtptest.Relay, chan *proxyproto.Header) {
	t.Helper()
	headers := make(chan *proxyproto.Header, 8)
	return smtptest.Start(t, smtptest.Script{Raw: func(conn net.Conn) {
		in := bufio.NewReader(conn)
		h, err := proxyproto.Read(in)
		if err != nil {
			h = nil
		}
		headers <- h
		_, _ = io.WriteString(conn, plainGreeting)
		_, _ = io.Copy(io.Discard, in)
	}}), headers
}

func TestRelayLearnsTheClientFromOurHeader(t *testing.T) {
	for version := 1; version <= 2; version++ {
		for _, from := range []string{"127.0.0.3", "127.0.0.2"} { // the second one is a proxy
			relay, headers := relayOfHeaders(t)
			r := behindProxy(t, relay.Addr())
			r.listener().Allow = prefixes("10.1.0.0/16", "127.0.0.3/32")
			r.listener().Pool.Targets[0].ProxyProtocol = version
			r.run()
			conn := limited(t, r.dialFrom(from).Conn())
			client, dest := unmapped(conn.LocalAddr().(*net.TCPAddr).AddrPort()), r.addr
			if from == "127.0.0.2" {
				client, dest = parsed("10.1.2.3:40000"), parsed("192.0.2.25:25")
				send(t, conn, headerOfClient)
			}
			wantRead(t, conn, plainGreeting)
			h := <-headers
			if h == nil || int(h.Version) != version {
				t.Fatalf("header %+v, want one of version %d", h, version)
			}
			source, destination := h.SourceAddr.(*net.TCPAddr), h.DestinationAddr.(*net.TCPAddr)
			if unmapped(source.AddrPort()) != client || unmapped(destination.AddrPort()) != dest {
				t.Errorf("version %d from %s: the relay was told %v to %v, want %v to %v", version, from, source, destination, client, dest)
			}
		}
	}
}

// The header goes out again to the next relay, and only once to each.
func TestEachRelayGetsItsOwnHeader(t *testing.T) {
	bad := smtptest.Start(t, smtptest.Script{Proxy: true, Greeting: "450 4.7.1 no\r\n"})
	next := smtptest.Start(t, smtptest.Script{Proxy: true})
	last := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, bad.Addr(), next.Addr(), last.Addr())
	r.listener().Pool.Targets[0].ProxyProtocol = 2
	r.listener().Pool.Targets[1].ProxyProtocol = 1
	r.run()
	c := r.dial()
	wantGreeting(t, c, plainGreeting)
	if err := c.Send(smtptest.Outgoing{ID: "m", Size: 2000}); err != nil {
		t.Fatal(err)
	}
	client := unmapped(c.Conn().LocalAddr().(*net.TCPAddr).AddrPort())
	if m := next.Messages(); len(m) != 1 || m[0].Source != client {
		t.Errorf("the relay has %+v, want one message from %v", m, client)
	}
	c.Close()
	if got, want := outcomes(r.ended(1)), "a greeting_4xx, b ok"; got != want {
		t.Errorf("attempts %q, want %q", got, want)
	}
}
