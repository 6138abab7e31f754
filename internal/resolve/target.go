package resolve

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Found is what a look-up found.
type Found struct {
	Targets []Target
	TTL     time.Duration // for how long it may be used
	Notes   []string      // what was left out, for people
}

// Target is a host that is to be used, and its addresses.
type Target struct {
	Host      string // in lower case, without the final dot
	Port      uint16
	Priority  int
	Weight    int // as the record says, 0 to 65535; 1 where the kind has none
	Addresses []netip.Addr

	// Missing4 and Missing6 are why addresses of a family could not be found
	// out; nil where they could, or where it certainly has none.
	Missing4, Missing6 error
}

// forgiveEmpty is for a target that has addresses: that it has none of the other
// family is no failure then.
func (t *Target) forgiveEmpty() {
	for _, err := range []*error{&t.Missing4, &t.Missing6} {
		if f := FaultOf(*err); *err != nil && (f == NoData || f == NXDomain) {
			*err = nil
		}
	}
}

// failure is why it has no addresses, or not all.
func (t *Target) failure() error {
	switch {
	case t.Missing4 == nil:
		return t.Missing6
	case t.Missing6 == nil || FaultOf(t.Missing4) == FaultOf(t.Missing6), negative(t.Missing6):
		return t.Missing4
	case negative(t.Missing4):
		return t.Missing6
	default:
		return t.Missing4
	}
}

// targetsOf reads MX or SRV records: sorted, and no more than MaxRecords.
func targetsOf(q Query, rep reply) (Found, error) {
	found := Found{TTL: bounded(rep.ttl)}
	nowhere := false
	for _, rr := range rep.records {
		t := Target{Port: q.Port, Weight: 1}
		switch rr := rr.(type) {
		case *dns.MX:
			t.Host, t.Priority = rr.Mx, int(rr.Preference)
		case *dns.SRV:
			t.Host, t.Port, t.Priority, t.Weight = rr.Target, rr.Port, int(rr.Priority), int(rr.Weight)
		default:
			continue
		}
		switch {
		case t.Host == ".":
			nowhere = true
		case !isHost(t.Host):
			found.Notes = append(found.Notes, fmt.Sprintf("target %q is no host name: left out", t.Host))
		case t.Port == 0:
			found.Notes = append(found.Notes, fmt.Sprintf("target %s has port 0: left out", t.Host))
		default:
			t.Host = plain(t.Host)
			found.Targets = append(found.Targets, t)
		}
	}
	if len(found.Targets) == 0 && nowhere {
		return Found{}, &Error{Fault: NoService, Text: fmt.Sprintf("%s: the record says that there is no such service (its target is \".\")", q)}
	}
	if len(found.Targets) == 0 {
		return Found{}, &Error{Fault: Invalid, Text: fmt.Sprintf("%s: no target that could be used: %s", q, strings.Join(shorten(found.Notes), "; "))}
	}
	slices.SortFunc(found.Targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(b.Weight, a.Weight))
	})
	found.Targets = slices.CompactFunc(found.Targets, func(a, b Target) bool {
		return a.Priority == b.Priority && a.Host == b.Host && a.Port == b.Port
	})
	if all := len(found.Targets); all > MaxRecords {
		found.Targets = slices.Clip(found.Targets[:MaxRecords])
		found.Notes = append(found.Notes, fmt.Sprintf("%d of %d targets are left out: %d at most are used, by preference and name", all-MaxRecords, all, MaxRecords))
	}
	return found, nil
}

// isHost reports whether name, with its final dot, is one that a relay may have: it goes
// into logs, metrics and the paths of URLs.
func isHost(name string) bool {
	if _, ok := dns.IsDomainName(name); !ok || len(name) > 254 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || strings.ContainsFunc(label, func(c rune) bool {
			return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
		}) || label[0] == '-' {
			return false
		}
	}
	return true
}

// shorten bounds what people are told.
func shorten(notes []string) []string {
	const most = 5
	if len(notes) <= most {
		return notes
	}
	return append(slices.Clone(notes[:most]), fmt.Sprintf("and %d more", len(notes)-most))
}

// merge gives the targets of a new answer, where addresses could not be found
// out, those that were last known of the same host. It changes nothing of old.
func merge(old, targets []Target) []Target {
	known := map[string][]netip.Addr{}
	for _, t := range old {
		if _, ok := known[t.Host]; !ok {
			known[t.Host] = t.Addresses
		}
	}
	merged := slices.Clone(targets)
	for i := range merged {
		t := &merged[i]
		t.Addresses = slices.Clone(t.Addresses)
		for _, a := range known[t.Host] {
			if lost := a.Is4() && t.Missing4 != nil || a.Is6() && t.Missing6 != nil; lost && !slices.Contains(t.Addresses, a) {
				t.Addresses = append(t.Addresses, a)
			}
		}
	}
	return merged
}

// missing is what could not be found out about the targets; nil: nothing is
// missing.
func missing(targets []Target) error {
	for i := range targets {
		if err := targets[i].failure(); err != nil {
			return err
		}
	}
	return nil
}

// recordsOf makes relays of targets, in an order that depends on nothing but what they
// are: by priority, host, address. An address stands for one relay, whoever
// names it. refuse says why one is not to be used, or "".
func recordsOf(targets []Target, refuse func(netip.AddrPort) string) (records []Record, notes []string) {
	targets = slices.Clone(targets)
	slices.SortStableFunc(targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	taken := map[netip.AddrPort]bool{}
	for i := range targets {
		t := &targets[i]
		var fit []netip.Addr
		for _, a := range slices.SortedFunc(slices.Values(t.Addresses), netip.Addr.Compare) {
			place := netip.AddrPortFrom(a, t.Port)
			if taken[place] {
				continue
			}
			taken[place] = true
			why := unusable(a)
			if why == "" && refuse != nil {
				why = refuse(place)
			}
			if why != "" {
				notes = append(notes, fmt.Sprintf("%s at %s is left out: it is %s", t.Host, place, why))
				continue
			}
			fit = append(fit, a)
		}
		t.Addresses = fit
	}
	weights := share(targets)
	for i := range targets {
		t := &targets[i]
		for _, a := range t.Addresses {
			records = append(records, Record{Host: t.Host, Address: netip.AddrPortFrom(a, t.Port), Priority: t.Priority, Weight: weights[i]})
		}
	}
	if all := len(records); all > MaxRecords {
		records = slices.Clip(records[:MaxRecords])
		notes = append(notes, fmt.Sprintf("%d of %d addresses are left out: %d at most are used", all-MaxRecords, all, MaxRecords))
	}
	return records, notes
}

// unusable says why no relay can have this address; "" if one can.
func unusable(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "no machine's address"
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the address of many"
	default:
		return ""
	}
}

// share gives each address of a target its weight, 1 to maxWeight. A target's
// weight is shared out among its addresses. Where that makes whole numbers within
// bounds, they are the weights; else all of a priority are scaled alike. One that is 0
// beside others has "a very small chance of being selected" (RFC 2782): it gets 1 where the
// largest gets maxWeight.
func share(targets []Target) []int {
	weights := make([]int, len(targets))
	byPriority := map[int][]int{} // indexes of those that have addresses
	for i := range targets {
		weights[i] = 1
		if t := &targets[i]; len(t.Addresses) > 0 {
			byPriority[t.Priority] = append(byPriority[t.Priority], i)
		}
	}
	for _, group := range byPriority {
		scale := exactly(targets, group)
		for _, i := range group {
			weights[i] = min(max(int(math.Round(part(&targets[i])*scale)), 1), maxWeight)
		}
	}
	return weights
}

// part is what one address of a target has of its weight.
func part(t *Target) float64 { return float64(t.Weight) / float64(len(t.Addresses)) }

// exactly is what to multiply the parts of a group with: 1, or what makes the
// smallest whole numbers of them, or, where those are too large or some part is
// 0, what makes maxWeight of the largest.
func exactly(targets []Target, group []int) float64 {
	const mostMultiple = 1e6
	most, whole, zero, multiple := 0.0, true, false, 1
	for _, i := range group {
		t := &targets[i]
		p := part(t)
		most = max(most, p)
		whole = whole && p == math.Trunc(p)
		zero = zero || t.Weight == 0
		if multiple < mostMultiple {
			multiple *= len(t.Addresses) / gcd(multiple, len(t.Addresses))
		}
	}
	switch {
	case most == 0 || whole && !zero && most <= maxWeight:
		return 1
	case zero || multiple >= mostMultiple:
		return maxWeight / most
	}
	divisor := 0
	for _, i := range group {
		divisor = gcd(divisor, targets[i].Weight*multiple/len(targets[i].Addresses))
	}
	if scale := float64(multiple) / float64(divisor); most*scale <= maxWeight {
		return scale
	}
	return maxWeight / most
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// maxWeight is the largest that a backend may have.
const maxWeight = 1000

// errEmpty is for a good answer of which nothing can be used.
func errEmpty(q Query, notes []string) error {
	return &Error{Fault: Invalid, Text: fmt.Sprintf("%s: no address that could be used: %s", q, strings.Join(shorten(notes), "; "))}
}
