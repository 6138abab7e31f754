package resolve

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(t,
		"one.test. 300 IN A 192.0.2.1",
		"both.test. 300 IN A 192.0.2.2", "both.test. 60 IN AAAA 2001:db8::2", "both.test. 300 IN A 192.0.2.1",
		"mapped.test. 300 IN AAAA ::ffff:192.0.2.9",
		"short.test. 0 IN A 192.0.2.1", "long.test. 999999 IN A 192.0.2.1",
		"alias.test. 30 IN CNAME alias2.test.", "alias2.test. 90 IN CNAME one.test.",
		"loop.test. 30 IN CNAME loop2.test.", "loop2.test. 30 IN CNAME loop.test.",
		"text.test. 300 IN TXT no-address",
		"dangling.test. 300 IN CNAME gone.test.",
		"mx.test. 120 IN MX 20 one.test.", "mx.test. 120 IN MX 10 BOTH.test.", "mx.test. 120 IN MX 10 gone.test.",
		"nullmx.test. 300 IN MX 0 .",
		"oddmx.test. 300 IN MX 0 .", "oddmx.test. 300 IN MX 5 one.test.", `oddmx.test. 300 IN MX 5 we\032ird/name.test.`,
		"onlyodd.test. 300 IN MX 5 a/b.test.",
		"_smtp._tcp.test. 300 IN SRV 1 60 2525 one.test.", "_smtp._tcp.test. 300 IN SRV 1 0 26 both.test.",
		"_smtp._tcp.test. 300 IN SRV 1 5 0 one.test.",
		"_no._tcp.test. 300 IN SRV 0 0 0 .",
	)
	s.set(func() { s.rcode["broken.test."] = dns.RcodeServerFailure })
	s.set(func() { s.rcode["refused.test."] = dns.RcodeRefused })
	r := resolverOf(t, s)
	for _, tt := range []struct {
		query Query
		want  string
	}{
		{Query{Address, "one.test", 25}, "one.test:25 0/1 [192.0.2.1] ttl 5m0s"},
		{Query{Address, "ONE.test.", 25}, "one.test:25 0/1 [192.0.2.1] ttl 5m0s"},
		{Query{Address, "both.test", 26}, "both.test:26 0/1 [192.0.2.2 192.0.2.1 2001:db8::2] ttl 1m0s"},
		{Query{Address, "mapped.test", 25}, "mapped.test:25 0/1 [192.0.2.9] ttl 5m0s"},
		{Query{Address, "short.test", 25}, "short.test:25 0/1 [192.0.2.1] ttl 5s"},
		{Query{Address, "long.test", 25}, "long.test:25 0/1 [192.0.2.1] ttl 1h0m0s"},
		{Query{Address, "alias.test", 25}, "alias.test:25 0/1 [192.0.2.1] ttl 30s"},
		{Query{Address, "loop.test", 25}, "invalid"},
		{Query{Address, "text.test", 25}, "no_data"},
		{Query{Address, "gone.test", 25}, "nxdomain"},
		{Query{Address, "dangling.test", 25}, "nxdomain"},
		{Query{Address, "broken.test", 25}, "servfail"},
		{Query{Address, "refused.test", 25}, "servfail"},
		{Query{Address, strings.Repeat("a", 64) + ".test", 25}, "nxdomain"},
		{Query{MX, "mx.test", 25}, "both.test:25 10/1 [192.0.2.2 192.0.2.1 2001:db8::2]; gone.test:25 10/1 [] nxdomain nxdomain; " +
			"one.test:25 20/1 [192.0.2.1] ttl 1m0s"},
		{Query{MX, "nullmx.test", 25}, "no_service"},
		{Query{MX, "oddmx.test", 25}, `one.test:25 5/1 [192.0.2.1] ttl 5m0s; target "we\\ ird/name.test." is no host name: left out`},
		{Query{MX, "onlyodd.test", 25}, "invalid"},
		{Query{MX, "one.test", 25}, "no_data"},
		{Query{MX, "gone.test", 25}, "nxdomain"},
		{Query{SRV, "_smtp._tcp.test", 0}, "both.test:26 1/0 [192.0.2.2 192.0.2.1 2001:db8::2]; one.test:2525 1/60 [192.0.2.1] ttl 1m0s; " +
			"target one.test. has port 0: left out"},
		{Query{SRV, "_no._tcp.test", 0}, "no_service"},
	} {
		if got := lookup(t, r, tt.query); got != tt.want {
			t.Errorf("%v:\n got %s\nwant %s", tt.query, got, tt.want)
		}
	}
}

// An address is asked for by two questions. Where one has an answer and the other
// none, it says so, and does not pretend that there is no address of that kind.
func TestHalfAnAnswerIsHalf(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(t, "half.test. 300 IN A 192.0.2.1", "half.test. 300 IN AAAA 2001:db8::1")
	for word, reply := range map[string]func(dns.ResponseWriter, *dns.Msg) bool{
		"timeout": func(_ dns.ResponseWriter, in *dns.Msg) bool { return in.Question[0].Qtype == dns.TypeAAAA },
		"servfail": func(w dns.ResponseWriter, in *dns.Msg) bool {
			if in.Question[0].Qtype == dns.TypeAAAA {
				dns.HandleFailed(w, in)
			}
			return in.Question[0].Qtype == dns.TypeAAAA
		},
	} {
		s.set(func() { s.reply = reply })
		if got, want := lookup(t, resolverOf(t, s), Query{Address, "half.test", 25}), "half.test:25 0/1 [192.0.2.1] "+word+" ttl 5m0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A server that does not help costs its timeout, and the next one is asked.
func TestTheNextServerIsAsked(t *testing.T) {
	t.Parallel()
	good := newServer(t)
	good.add(t, "one.test. 300 IN A 192.0.2.1")
	silent, broken := newServer(t), newServer(t)
	silent.set(func() { silent.mute["one.test."] = true })
	broken.set(func() { broken.rcode["one.test."] = dns.RcodeServerFailure })
	q, want := Query{Address, "one.test", 25}, "one.test:25 0/1 [192.0.2.1] ttl 5m0s"
	three := resolverOf(t, silent, broken, good)
	for range 2 { // the second time the silent one is not waited for
		if got := lookup(t, three, q); got != want {
			t.Errorf("got %s", got)
		}
	}
	if got := lookup(t, resolverOf(t, silent), q); got != "timeout" {
		t.Errorf("of a silent server: %s", got)
	}
	if n := strings.Count(silent.questions(), "one.test. A udp"); n != 3 { // once above
		t.Errorf("a silent server is asked %d times, want %d more", n, rounds)
	}
	nobody := resolverOf(t)
	nobody.Use([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, 300*time.Millisecond)
	if got := lookup(t, nobody, q); got != "unreachable" {
		t.Errorf("of no server: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolverOf(t, good).Lookup(ctx, q); FaultOf(err) != Timeout {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// What is not the answer to the question is not taken for it.
func TestForgedAnswersAreNotBelieved(t *testing.T) {
	t.Parallel()
	forge := func(change func(out *dns.Msg)) func(dns.ResponseWriter, *dns.Msg) bool {
		return func(w dns.ResponseWriter, in *dns.Msg) bool {
			out := new(dns.Msg)
			out.SetReply(in)
			rr, _ := dns.NewRR("one.test. 300 IN A 203.0.113.66")
			out.Answer = []dns.RR{rr}
			change(out)
			_ = w.WriteMsg(out)
			return false // and the true answer after it
		}
	}
	for name, reply := range map[string]func(dns.ResponseWriter, *dns.Msg) bool{
		"another ID":     forge(func(out *dns.Msg) { out.Id++ }),
		"another name":   forge(func(out *dns.Msg) { out.Question[0].Name = "two.test." }),
		"another type":   forge(func(out *dns.Msg) { out.Question[0].Qtype = dns.TypeMX }),
		"another class":  forge(func(out *dns.Msg) { out.Question[0].Qclass = dns.ClassCHAOS }),
		"a question":     forge(func(out *dns.Msg) { out.Response = false }),
		"another opcode": forge(func(out *dns.Msg) { out.Opcode = dns.OpcodeNotify }),
		"no question":    forge(func(out *dns.Msg) { out.Question = nil }),
		"no message":     func(w dns.ResponseWriter, _ *dns.Msg) bool { _, _ = w.Write([]byte("\x00\x01garbage")); return false },
		"nothing":        func(w dns.ResponseWriter, _ *dns.Msg) bool { _, _ = w.Write(nil); return false },
		"a record of others": func(w dns.ResponseWriter, in *dns.Msg) bool {
			out := new(dns.Msg)
			out.SetReply(in)
			mine, _ := dns.NewRR("one.test. 300 IN A 192.0.2.1")
			other, _ := dns.NewRR("evil.test. 300 IN A 203.0.113.66")
			class, _ := dns.NewRR("one.test. 300 CH A 203.0.113.66")
			more, _ := dns.NewRR("one.test. 300 IN A 203.0.113.66")
			out.Answer, out.Extra = []dns.RR{other, class, mine}, []dns.RR{more}
			_ = w.WriteMsg(out)
			return true
		},
	} {
		s := newServer(t)
		s.add(t, "one.test. 300 IN A 192.0.2.1")
		s.set(func() {
			s.reply = func(w dns.ResponseWriter, in *dns.Msg) bool { return in.Question[0].Qtype == dns.TypeA && reply(w, in) }
		})
		if got := lookup(t, resolverOf(t, s), Query{Address, "one.test", 25}); got != "one.test:25 0/1 [192.0.2.1] ttl 5m0s" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A large answer comes by TCP, and no more than so much is made of it, always the same.
func TestLargeAnswersAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 4000 { // as many as there is room for in 64 KB
		s.add(t, fmt.Sprintf("many.test. 300 IN A 10.0.%d.%d", i/250, i%250))
	}
	for i := range 2000 {
		s.add(t, fmt.Sprintf("manymx.test. 300 IN MX %d h%d.test.", i%3, i))
	}
	for i := range 10000 {
		s.add(t, fmt.Sprintf("huge.test. 300 IN A 10.1.%d.%d", i/250, i%250))
	}
	r := resolverOf(t, s)
	for _, name := range []string{"many.test", "huge.test"} {
		found, err := r.Lookup(t.Context(), Query{Address, name, 25})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.questions(); !strings.Contains(got, name+". A udp") || !strings.Contains(got, name+". A tcp") {
			t.Errorf("questions %s", got)
		}
		records, notes := recordsOf(found.Targets, nil)
		if len(records) != MaxRecords || len(notes) != 1 || !strings.Contains(notes[0], "addresses are left out: 200 at most are used") {
			t.Errorf("%d records, notes %q", len(records), notes)
		}
		if first := records[0].Address.Addr().String(); !strings.HasSuffix(first, ".0.0") {
			t.Errorf("the first is %s", first)
		}
	}
	found, err := r.Lookup(t.Context(), Query{MX, "manymx.test", 25})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Targets) != MaxRecords || found.Targets[0].Host != "h0.test" || found.Targets[MaxRecords-1].Priority != 0 {
		t.Errorf("%d targets, the first %+v", len(found.Targets), found.Targets[0])
	}
	if want := "1800 of 2000 targets are left out: 200 at most are used, by preference and name"; len(found.Notes) != 1 || found.Notes[0] != want {
		t.Errorf("notes %q", found.Notes)
	}
	if n := strings.Count(s.questions(), ","); n > 2*MaxRecords+3 {
		t.Errorf("%d questions", n)
	}
}

// A server from before EDNS0 is asked without it; one that cannot do TCP either is
// no server for this name.
func TestOldServers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(t, "one.test. 300 IN A 192.0.2.1", "cut.test. 300 IN A 192.0.2.1")
	reply := func(w dns.ResponseWriter, in *dns.Msg) bool {
		out := new(dns.Msg)
		switch {
		case in.IsEdns0() != nil:
			out.SetRcode(in, dns.RcodeFormatError)
			out.Question = nil
		case in.Question[0].Name == "cut.test." && w.RemoteAddr().Network() == "udp":
			out.SetReply(in)
			out.Truncated = true
		case in.Question[0].Name == "cut.test.":
			_ = w.Close()
			return true
		default:
			return false
		}
		_ = w.WriteMsg(out)
		return true
	}
	s.set(func() { s.reply = reply })
	if got := lookup(t, resolverOf(t, s), Query{Address, "one.test", 25}); got != "one.test:25 0/1 [192.0.2.1] ttl 5m0s" {
		t.Errorf("without EDNS0: %s", got)
	}
	if got := lookup(t, resolverOf(t, s), Query{Address, "cut.test", 25}); got != "unreachable" {
		t.Errorf("without TCP: %s", got)
	}
}

// An authoritative server gives only its own part of a chain of CNAMEs.
func TestChainsAreFollowedAcrossAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(t, "end.test. 300 IN A 192.0.2.1")
	reply := func(w dns.ResponseWriter, in *dns.Msg) bool {
		name := in.Question[0].Name
		var n int
		if _, err := fmt.Sscanf(name, "c%d.test.", &n); err != nil {
			return false
		}
		next := fmt.Sprintf("c%d.test.", n-1)
		if n == 0 {
			next = "end.test."
		}
		out := new(dns.Msg)
		out.SetReply(in)
		rr, _ := dns.NewRR(fmt.Sprintf("%s %d IN CNAME %s", name, 60+n, next))
		out.Answer = []dns.RR{rr}
		_ = w.WriteMsg(out)
		return true
	}
	s.set(func() { s.reply = reply })
	if got := lookup(t, resolverOf(t, s), Query{Address, "c4.test", 25}); got != "c4.test:25 0/1 [192.0.2.1] ttl 1m0s" {
		t.Errorf("a chain of 5: %s", got)
	}
	if got := lookup(t, resolverOf(t, s), Query{Address, "c50.test", 25}); got != "invalid" {
		t.Errorf("a chain of 51: %s", got)
	}
	if n := strings.Count(s.questions(), " A "); n > 30 {
		t.Errorf("%d questions", n)
	}
}

func TestTheSystemsFiles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.add(t, "relay-a.corp.test. 300 IN A 192.0.2.1", "mail.corp.test. 300 IN MX 10 relay-a.corp.test.",
		"x.y.test. 300 IN A 192.0.2.2", "x.y.test.corp.test. 300 IN A 192.0.2.66")
	s.set(func() { s.rcode["down.corp.test."] = dns.RcodeServerFailure })
	hosts, conf := filepath.Join(t.TempDir(), "hosts"), filepath.Join(t.TempDir(), "resolv.conf")
	r := newResolver(hosts, conf, s.addr.Port())
	r.Use(nil, 300*time.Millisecond)
	writeFile(t, conf, "nameserver 127.0.0.1\nsearch other.test corp.test\n")
	writeFile(t, hosts, "# comment\n192.0.2.7 Relay-H relay-h.corp # twice\nfe80::1%lo link\nnonsense relay-h\n2001:db8::7 relay-h\n192.0.2.8\n")
	check := func(name, want string) {
		t.Helper()
		if got := lookup(t, r, Query{Address, name, 25}); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	check("relay-h", "relay-h:25 0/1 [192.0.2.7 2001:db8::7] ttl 5s")
	check("link", "nxdomain")
	check("relay-a", "relay-a:25 0/1 [192.0.2.1] ttl 5m0s")
	check("relay-a.", "nxdomain")
	check("x.y.test", "x.y.test:25 0/1 [192.0.2.2] ttl 5m0s")
	s.questions()
	check("down", "servfail")
	if got := s.questions(); strings.Contains(got, "down. ") {
		t.Errorf("a name is taken for another one while its own fails: %s", got)
	}
	if got := lookup(t, r, Query{MX, "mail", 25}); got != "relay-a.corp.test:25 10/1 [192.0.2.1] ttl 5m0s" {
		t.Errorf("mx: %s", got)
	}
	writeFile(t, hosts, "192.0.2.77 relay-a relay-a.corp.test\n")
	check("relay-a", "relay-a:25 0/1 [192.0.2.77] ttl 5s")
	if got := lookup(t, r, Query{MX, "mail", 25}); got != "relay-a.corp.test:25 10/1 [192.0.2.77] ttl 5s" {
		t.Errorf("mx: %s", got)
	}
	writeFile(t, conf, "nameserver 127.0.0.1\nsearch nowhere.test\n")
	check("mail", "nxdomain")
	writeFile(t, conf, "nameserver not-an-address\n")
	check("mail", "unreachable")
	writeFile(t, conf, "")
	check("x.y.test", "x.y.test:25 0/1 [192.0.2.2] ttl 5m0s") // of 127.0.0.1, the default
	r.Use([]netip.AddrPort{s.addr}, 0)
	check("relay-a.corp.test", "relay-a.corp.test:25 0/1 [192.0.2.77] ttl 5s")
	check("mail", "nxdomain") // named servers know no search domain
}
