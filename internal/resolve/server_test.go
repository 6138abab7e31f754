package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server is a DNS server on 127.0.0.1, by UDP and TCP, that answers as the test says.
type server struct {
	addr netip.AddrPort

	mu    sync.Mutex
	zone  map[string][]dns.RR // by "NAME TYPE"
	rcode map[string]int      // of all types of a name
	mute  map[string]bool     // names that it does not answer
	reply func(w dns.ResponseWriter, in *dns.Msg) bool
	asked []string // "NAME TYPE network", in their order
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{zone: map[string][]dns.RR{}, rcode: map[string]int{}, mute: map[string]bool{}}
	var packets net.PacketConn
	var listener net.Listener
	var err error
	for range 20 { // until a port is free for both
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		s.addr = netip.MustParseAddrPort(packets.LocalAddr().String())
		if listener, err = net.Listen("tcp", s.addr.String()); err == nil {
			break
		}
		packets.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: listener, Handler: s}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		go func() { _ = srv.ActivateAndServe(); close(ended) }()
		<-started
		t.Cleanup(func() { _ = srv.Shutdown(); <-ended })
	}
	return s
}

// set changes what it does.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// add puts records in; each is a line of a zone file.
func (s *server) add(t *testing.T, lines ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		key := strings.ToLower(rr.Header().Name) + " " + dns.TypeToString[rr.Header().Rrtype]
		s.zone[key] = append(s.zone[key], rr)
	}
}

func (s *server) ServeDNS(w dns.ResponseWriter, in *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := in.Question[0]
	name, qtype := strings.ToLower(q.Name), dns.TypeToString[q.Qtype]
	s.asked = append(s.asked, name+" "+qtype+" "+w.RemoteAddr().Network())
	if s.mute[name] || s.reply != nil && s.reply(w, in) {
		return
	}
	out := new(dns.Msg)
	out.SetReply(in)
	if code, ok := s.rcode[name]; ok {
		out.Rcode = code
	} else {
		s.fill(out, name, qtype)
	}
	size := dns.MinMsgSize
	if opt := in.IsEdns0(); opt != nil {
		size = int(opt.UDPSize())
		out.SetEdns0(udpSize, false)
	}
	if w.RemoteAddr().Network() == "tcp" {
		size = dns.MaxMsgSize
	}
	out.Truncate(size)
	_ = w.WriteMsg(out)
}

// fill answers as a resolver does, with the whole chain of CNAMEs.
func (s *server) fill(out *dns.Msg, name, qtype string) {
	for range 20 {
		if records := s.zone[name+" "+qtype]; len(records) > 0 {
			out.Answer = append(out.Answer, records...)
			return
		}
		alias := s.zone[name+" CNAME"]
		if len(alias) == 0 {
			break
		}
		out.Answer = append(out.Answer, alias...)
		name = strings.ToLower(alias[0].(*dns.CNAME).Target)
	}
	known := false
	for key := range s.zone {
		known = known || strings.HasPrefix(key, name+" ")
	}
	if !known {
		out.Rcode = dns.RcodeNameError
	}
	soa, _ := dns.NewRR("test. 3600 IN SOA ns.test. root.test. 1 3600 600 86400 17")
	out.Ns = append(out.Ns, soa)
}

// questions are those asked since the last call.
func (s *server) questions() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.asked, ", ")
	s.asked = nil
	return text
}

// resolverOf asks these servers alone.
func resolverOf(t *testing.T, servers ...*server) *Resolver {
	t.Helper()
	r := newResolver(filepath.Join(t.TempDir(), "hosts"), filepath.Join(t.TempDir(), "resolv.conf"), dnsPort)
	var all []netip.AddrPort
	for _, s := range servers {
		all = append(all, s.addr)
	}
	r.Use(all, 300*time.Millisecond)
	return r
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// show is what a look-up came to, on lines.
func show(found Found, err error) string {
	if err != nil {
		return FaultOf(err).String()
	}
	var lines []string
	for _, t := range found.Targets {
		line := fmt.Sprintf("%s:%d %d/%d %v", t.Host, t.Port, t.Priority, t.Weight, t.Addresses)
		for _, err := range []error{t.Missing4, t.Missing6} {
			if err != nil {
				line += " " + FaultOf(err).String()
			}
		}
		lines = append(lines, line)
	}
	return fmt.Sprintf("%s ttl %v", strings.Join(lines, "; "), found.TTL)
}

func lookup(t *testing.T, r *Resolver, q Query) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found, err := r.Lookup(ctx, q)
	got := show(found, err)
	for _, note := range found.Notes {
		got += "; " + note
	}
	return got
}
