package proxy

import (
	"net/netip"
	"testing"
)

// What is kept for the rest of the program is what it has and needs, and never
// less than an eighth.
func TestDescriptorsAreLeftForTheRest(t *testing.T) {
	for _, test := range []struct{ most, open, spare, want int64 }{
		{1024, 12, 20, 896},
		{1 << 20, 12, 20, 917504},
		{1024, 300, 200, 524}, // many listeners, or many relays to check
		{64, 12, 17, 32},
		{40, 30, 30, 2}, // nothing is left: one session at a time
	} {
		if got := descriptorLimit(test.most, test.open, test.spare); got != test.want {
			t.Errorf("of %d, %d open and %d more needed, sessions get %d, want %d", test.most, test.open, test.spare, got, test.want)
		}
	}
	if got := processLimit(); got < 64 {
		t.Errorf("the process may open %d", got)
	}
	if got := openDescriptors(); got < 3 {
		t.Errorf("%d descriptors are open, want standard input, output and error at least", got)
	}
	s := &Server{Listeners: []Listener{{Address: netip.MustParseAddrPort("127.0.0.1:0"), Pool: newPool(t, "p")}}, Spare: int(processLimit()) / 2}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if got := s.Stats().DescriptorLimit; got <= 0 || got > processLimit()/2 {
		t.Errorf("sessions may hold %d descriptors, want less than half of %d", got, processLimit())
	}
}
