package resolve

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// What one watcher has found another uses, for as long as DNS fails there.
func TestWatcherGoesOnFromAnother(t *testing.T) {
	found, lost := Query{Kind: Address, Name: "relay.test", Port: 25}, Query{Kind: Address, Name: "other.test", Port: 25}
	at := netip.MustParseAddr("192.0.2.1")
	old := &Watcher{Lookup: func(_ context.Context, q Query) (Found, error) {
		if q == lost {
			return Found{}, &Error{Fault: NXDomain, Text: "no such name"}
		}
		return Found{TTL: time.Hour, Targets: []Target{{Host: q.Name, Port: q.Port, Weight: 1, Addresses: []netip.Addr{at}, Missing6: &Error{Fault: Timeout}}}}, nil
	}}
	old.Refresh(t.Context(), found, lost)
	text, err := json.Marshal(old.Known())
	if err != nil {
		t.Fatal(err)
	}
	var known []Known
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	answer := at
	failing := true
	next := &Watcher{Lookup: func(_ context.Context, q Query) (Found, error) {
		if failing {
			return Found{}, &Error{Fault: ServFail, Text: "DNS is down"}
		}
		return Found{TTL: time.Hour, Targets: []Target{{Host: q.Name, Port: q.Port, Weight: 1, Addresses: []netip.Addr{answer}}}}, nil
	}}
	next.Learn(known)
	want := func(what string, address netip.Addr) {
		t.Helper()
		records, err := next.Records(found)
		if err != nil || !slices.Equal(records, []Record{{Host: "relay.test", Address: netip.AddrPortFrom(address, 25), Weight: 1}}) {
			t.Errorf("%s: %+v, %v", what, records, err)
		}
	}
	want("at first", at)
	next.Refresh(t.Context(), found, lost)
	want("while DNS fails", at)
	if _, err := next.Records(lost); FaultOf(err) != ServFail {
		t.Errorf("what nobody has found: %v", err)
	}
	failing, answer = false, netip.MustParseAddr("192.0.2.2")
	next.Refresh(t.Context(), found)
	want("when DNS is back", answer)
	next.Learn(known)
	want("what is known already stays", answer)
}
