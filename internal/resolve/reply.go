package resolve

import (
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxChain is how many CNAMEs are followed; longer chains are loops, or as good
// as one.
const maxChain = 10

// reply is what a message says to a question.
type reply struct {
	name    string   // where the chain of CNAMEs ended
	hops    int      // how long it is
	records []dns.RR // of that name and of the type that was asked for
	ttl     time.Duration
	denied  bool // there is no such name
	soa     bool // whoever answered knows the zone: what it did not say is not there
}

// answersTo reports whether in is an answer to the very question that out asks.
func answersTo(in, out *dns.Msg) bool {
	if !in.Response || in.Id != out.Id || in.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(in.Question) == 0 { // who did not understand the message may leave it out
		return in.Rcode == dns.RcodeFormatError
	}
	asked, got := out.Question[0], in.Question[0]
	return len(in.Question) == 1 && got.Qtype == asked.Qtype && got.Qclass == asked.Qclass && sameName(got.Name, asked.Name)
}

func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// read follows the CNAMEs in an answer from name on, hops of which came before.
// Nothing else that the message holds is looked at.
func read(m *dns.Msg, name string, qtype uint16, hops int) (reply, error) {
	r := reply{name: name, hops: hops, denied: m.Rcode == dns.RcodeNameError}
	least := ^uint32(0)
	for {
		next := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !sameName(h.Name, r.name) {
				continue
			}
			cname, alias := rr.(*dns.CNAME)
			switch {
			case h.Rrtype == qtype:
				r.records = append(r.records, rr)
				least = min(least, h.Ttl)
			case alias && next == "":
				next = cname.Target
				least = min(least, h.Ttl)
			}
		}
		if len(r.records) > 0 {
			r.ttl, r.denied = seconds(least), false
			return r, nil
		}
		if next == "" {
			break
		}
		if r.hops++; r.hops > maxChain {
			return r, &Error{Fault: Invalid, Text: fmt.Sprintf("%s: more than %d CNAMEs, or a loop of them", name, maxChain)}
		}
		r.name = next
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok { // RFC 2308, section 5
			r.soa = true
			least = min(least, soa.Hdr.Ttl, soa.Minttl)
		}
	}
	if least != ^uint32(0) {
		r.ttl = seconds(least)
	}
	return r, nil
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }
