package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"smtplb/internal/smtptest"
)

// zone is a DNS server on 127.0.0.1, by UDP and TCP, whose records are the test's to
// change.
type zone struct {
	addr netip.AddrPort

	mu      sync.Mutex
	records []dns.RR
	rcode   int  // of every answer; 0: as the records say
	mute    bool // says nothing
	asked   int
}

func startZone(t *testing.T, lines ...string) *zone {
	t.Helper()
	z := &zone{}
	z.set(t, lines...)
	var packets net.PacketConn
	var listener net.Listener
	var err error
	for range 20 { // until a port is free for both
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		z.addr = netip.MustParseAddrPort(packets.LocalAddr().String())
		if listener, err = net.Listen("tcp", z.addr.String()); err == nil {
			break
		}
		packets.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: z}, {Listener: listener, Handler: z}} {
		started, ended := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe(); close(ended) }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	}
	return z
}

// set makes these its records, lines of a zone file, and has it answer well.
func (z *zone) set(t *testing.T, lines ...string) {
	t.Helper()
	var records []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rr)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records, z.rcode, z.mute = records, dns.RcodeSuccess, false
}

// fail has it answer with a code, or not at all.
func (z *zone) fail(rcode int, mute bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcode, z.mute = rcode, mute
}

// waitAsked waits until it was asked n times more.
func (z *zone) waitAsked(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		z.mu.Lock()
		defer z.mu.Unlock()
		return z.asked
	}
	until := count() + n
	smtptest.Eventually(t, patience, func() bool { return count() >= until }, "%d questions more", n)
}

func (z *zone) ServeDNS(w dns.ResponseWriter, in *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	if z.mute {
		return
	}
	out := new(dns.Msg)
	out.SetReply(in)
	q := in.Question[0]
	known := false
	for _, rr := range z.records {
		if h := rr.Header(); strings.EqualFold(h.Name, q.Name) {
			known = true
			if h.Rrtype == q.Qtype {
				out.Answer = append(out.Answer, rr)
			}
		}
	}
	if !known {
		out.Rcode = dns.RcodeNameError
	}
	if z.rcode != dns.RcodeSuccess {
		out.Rcode, out.Answer = z.rcode, nil
	}
	size := dns.MaxMsgSize
	if w.RemoteAddr().Network() == "udp" {
		size = dns.MinMsgSize
		if opt := in.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
	}
	out.Truncate(size)
	_ = w.WriteMsg(out)
}

// config is what a file says so that this server is asked.
func (z *zone) config() string { return fmt.Sprintf("dns: {servers: [%q], timeout: 300ms}\n", z.addr) }

// samePort starts relays at these addresses of this machine, all at one port. Each
// greets with its address.
func samePort(t *testing.T, addresses ...string) (relays []*smtptest.Relay, port uint16) {
	t.Helper()
	for range 20 {
		relays, port = nil, 0
		for _, address := range addresses {
			r, err := smtptest.Listen(fmt.Sprintf("%s:%d", address, port), smtptest.Script{Greeting: "220 " + address + "\r\n"})
			if err != nil {
				break // somebody has that port there
			}
			relays, port = append(relays, r), r.Addr().Port()
		}
		if len(relays) == len(addresses) {
			for _, r := range relays {
				t.Cleanup(r.Close)
			}
			return relays, port
		}
		for _, r := range relays {
			r.Close()
		}
	}
	t.Fatal("no port that is free at every address")
	return nil, 0
}
