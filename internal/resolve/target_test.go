package resolve

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func TestWeightsOfSRV(t *testing.T) {
	one, two := addresses("192.0.2.1"), addresses("192.0.2.1", "192.0.2.2")
	for _, tt := range []struct {
		name    string
		targets []Target
		want    []int
	}{
		{"as they are", []Target{{Weight: 3, Addresses: one}, {Weight: 1, Addresses: one}}, []int{3, 1}},
		{"all of them 0", []Target{{Addresses: one}, {Addresses: one}}, []int{1, 1}},
		{"one of them 0: a very small chance", []Target{{Weight: 10, Addresses: one}, {Addresses: one}, {Weight: 5, Addresses: one}}, []int{1000, 1, 500}},
		{"above 1000", []Target{{Weight: 60000, Addresses: one}, {Weight: 30000, Addresses: one}, {Weight: 1, Addresses: one}}, []int{1000, 500, 1}},
		{"the largest there are", []Target{{Weight: 65535, Addresses: one}, {Weight: 65535, Addresses: one}}, []int{1, 1}},
		{"shared out among addresses", []Target{{Weight: 4, Addresses: two}, {Weight: 2, Addresses: one}}, []int{2, 2}},
		{"not in whole numbers", []Target{{Weight: 1, Addresses: two}, {Weight: 1, Addresses: one}}, []int{1, 2}},
		{"alone in its priority", []Target{{Weight: 1, Addresses: two}}, []int{1}},
		{"above 1000, with a common divisor", []Target{{Weight: 60000, Addresses: one}, {Weight: 30000, Addresses: one}}, []int{2, 1}},
		{"all that is left is 0 beside another priority", []Target{{Weight: 5, Addresses: one}, {Priority: 1, Addresses: one}}, []int{5, 1}},
		{"each priority alone", []Target{{Weight: 2000, Addresses: one}, {Weight: 3, Addresses: one}, {Priority: 1, Weight: 3, Addresses: one}}, []int{1000, 2, 3}},
		{"without addresses", []Target{{Weight: 60000}, {Weight: 3, Addresses: one}}, []int{1, 3}},
	} {
		if got := share(tt.targets); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func drawTargets(t *rapid.T, label string) []Target {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Target {
		addr := rapid.Custom(func(t *rapid.T) netip.Addr {
			n := rapid.IntRange(0, 400).Draw(t, "n")
			if rapid.Bool().Draw(t, "v6") {
				return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(n >> 8), 15: byte(n)})
			}
			return netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)})
		})
		target := Target{
			Host: fmt.Sprintf("h%d.test", rapid.IntRange(0, 5).Draw(t, "host")), Port: 25,
			Priority:  rapid.IntRange(0, 2).Draw(t, "priority"),
			Weight:    rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(0, 65535)).Draw(t, "weight"),
			Addresses: rapid.SliceOfN(addr, 0, 120).Draw(t, "addresses"),
		}
		for _, err := range []*error{&target.Missing4, &target.Missing6} {
			if rapid.Bool().Draw(t, "missing") {
				*err = fault(Fault(rapid.IntRange(0, int(lastFault)).Draw(t, "fault")))
			}
		}
		return target
	}), 0, 6).Draw(t, label)
}

// What relays are made of targets: bounded, no address twice, weights that the
// balancer takes, and the same whatever the order of the answer.
func TestRecordsAreBoundedAndStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets := drawTargets(t, "targets")
		records, _ := recordsOf(targets, nil)
		if len(records) > MaxRecords {
			t.Fatalf("%d records", len(records))
		}
		seen := map[netip.AddrPort]bool{}
		for _, r := range records {
			if seen[r.Address] || r.Weight < 1 || r.Weight > maxWeight || r.Priority < 0 {
				t.Fatalf("record %+v", r)
			}
			seen[r.Address] = true
		}
		if !slices.IsSortedFunc(records, func(a, b Record) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Host, b.Host))
		}) {
			t.Fatalf("not sorted: %+v", records)
		}
		shuffled := slices.Clone(targets)
		for i := range shuffled {
			if len(shuffled[i].Addresses) > 0 {
				shuffled[i].Addresses = rapid.Permutation(shuffled[i].Addresses).Draw(t, "order")
			}
		}
		if again, _ := recordsOf(shuffled, nil); !slices.Equal(again, records) {
			t.Fatalf("another order makes\n %+v of\n %+v", again, records)
		}
	})
}

// What could not be found out stays; what was found out is as found; nothing else is
// there.
func TestMergeKeepsWhatCouldNotBeFoundOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, next := drawTargets(t, "old"), drawTargets(t, "new")
		before := fmt.Sprint(old, next)
		merged := merge(old, next)
		if after := fmt.Sprint(old, next); after != before {
			t.Fatal("merge changed what it was given")
		}
		if len(merged) != len(next) {
			t.Fatalf("%d targets of %d", len(merged), len(next))
		}
		known := map[string][]netip.Addr{}
		for _, o := range old {
			if _, ok := known[o.Host]; !ok {
				known[o.Host] = o.Addresses
			}
		}
		for i, m := range merged {
			for _, a := range next[i].Addresses {
				if !slices.Contains(m.Addresses, a) {
					t.Fatalf("%v of the new answer is lost", a)
				}
			}
			for _, a := range known[m.Host] {
				missing := next[i].Missing6
				if a.Is4() {
					missing = next[i].Missing4
				}
				if want := missing != nil || slices.Contains(next[i].Addresses, a); slices.Contains(m.Addresses, a) != want {
					t.Fatalf("%v is kept: %v, want %v", a, !want, want)
				}
			}
			for _, a := range m.Addresses {
				if !slices.Contains(next[i].Addresses, a) && !slices.Contains(known[m.Host], a) {
					t.Fatalf("%v was never found", a)
				}
			}
		}
	})
}

// Any bytes at all, as an answer to any question: read, targets and records hold
// their bounds.
func FuzzAnswer(f *testing.F) {
	seed := func(qtype uint16, lines ...string) {
		m := new(dns.Msg)
		m.SetQuestion("relay.test.", qtype)
		m.Response = true
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(raw[:len(raw)-3])
	}
	seed(dns.TypeA, "relay.test. 300 IN A 192.0.2.1", "relay.test. 300 IN A 192.0.2.2")
	seed(dns.TypeAAAA, "relay.test. 300 IN CNAME a.test.", "a.test. 300 IN AAAA 2001:db8::1")
	seed(dns.TypeA, "relay.test. 300 IN CNAME a.test.", "a.test. 300 IN CNAME relay.test.")
	seed(dns.TypeMX, "relay.test. 300 IN MX 10 a.test.", "relay.test. 300 IN MX 0 .")
	seed(dns.TypeSRV, "relay.test. 300 IN SRV 1 2 3 a.test.", "relay.test. 300 IN SRV 1 0 0 .")
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := new(dns.Msg)
		if err := m.Unpack(raw); err != nil && !m.Truncated {
			return
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeSRV} {
			out := new(dns.Msg)
			out.SetQuestion("relay.test.", qtype)
			_ = answersTo(m, out)
			rep, err := read(m, "relay.test.", qtype, 0)
			if err != nil {
				continue
			}
			if rep.hops > maxChain || rep.ttl < 0 {
				t.Fatalf("%d hops, TTL %v", rep.hops, rep.ttl)
			}
			q := Query{Kind: MX, Name: "relay.test", Port: 25}
			if qtype == dns.TypeSRV {
				q.Kind = SRV
			}
			found, err := targetsOf(q, rep)
			if err != nil {
				continue
			}
			if len(found.Targets) == 0 || len(found.Targets) > MaxRecords || found.TTL < MinTTL || found.TTL > MaxTTL {
				t.Fatalf("%d targets, TTL %v", len(found.Targets), found.TTL)
			}
			for i := range found.Targets {
				target := &found.Targets[i]
				if !isHost(target.Host+".") || target.Port == 0 {
					t.Fatalf("target %+v", target)
				}
				target.Addresses = addresses("192.0.2.1", fmt.Sprint("192.0.2.", 2+i))
			}
			records, _ := recordsOf(found.Targets, nil)
			for _, r := range records {
				if r.Weight < 1 || r.Weight > maxWeight {
					t.Fatalf("record %+v", r)
				}
			}
		}
	})
}

func TestManyRecordsAreBounded(t *testing.T) {
	var all []netip.Addr
	for i := range 10_000 {
		all = append(all, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	slices.Reverse(all)
	records, notes := recordsOf([]Target{{Host: "relay.test", Port: 25, Weight: 1, Addresses: all}}, nil)
	if len(records) != MaxRecords || records[0].Address.String() != "10.0.0.0:25" || records[MaxRecords-1].Address.String() != "10.0.0.199:25" {
		t.Errorf("%d records, from %v", len(records), records[0])
	}
	if want := "9800 of 10000 addresses are left out: 200 at most are used"; len(notes) != 1 || notes[0] != want {
		t.Errorf("notes %q", notes)
	}
}
