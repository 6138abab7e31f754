package proxy

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
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
		if got := descriptorLimit(test.most, test.open+test.spare); got != test.want {
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

// The limit of a process may be raised, and lowered, while it runs: prlimit(1).
func TestAnotherLimitOfDescriptorsIsNoticed(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	may := int64(33)
	h.server.mayOpen = func() int64 { return may } // less than is kept for the rest
	h.server.measure()
	first, _ := h.greeted()
	waiting := h.r.dial()
	full := func() bool { return !h.watching }
	if got := h.r.Stats().DescriptorLimit; got != 2 { // as many as one session takes
		t.Fatalf("sessions may hold %d descriptors, want 2", got)
	}
	h.until(full, "accepting pauses")
	may = 1 << 10
	h.pass(acceptPause)
	h.until(full, "a look in vain, which asks")
	h.pass(acceptPause)
	h.until(func() bool { return h.asking(stateRelaying) == 2 }, "the next client has a relay")
	wantGreeting(t, waiting, plainGreeting)
	if got, want := h.r.Stats().DescriptorLimit, descriptorLimit(may, h.server.fdBeside); got != want {
		t.Errorf("sessions may hold %d descriptors, want %d", got, want)
	}
	first.Close()
	may = 33
	h.pauseAccept(unix.EMFILE) // the kernel knew before
	if got := h.r.Stats().DescriptorLimit; got != 2 {
		t.Errorf("sessions may hold %d descriptors, want 2", got)
	}
}
