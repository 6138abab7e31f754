package smtptest

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestOpenDescriptorIsNamed(t *testing.T) {
	var leaked *os.File
	failures := new(recorder).run(func(tb TB) {
		checkDescriptors(tb, 50*time.Millisecond)
		var err error
		if leaked, err = os.Open(os.DevNull); err != nil {
			tb.Fatalf("%v", err)
		}
	})
	if leaked != nil {
		_ = leaked.Close()
	}
	if len(failures) != 1 || !strings.Contains(failures[0], os.DevNull) {
		t.Errorf("failures %q, want one that names %s", failures, os.DevNull)
	}
}

func TestClosedDescriptorsAreNoLeak(t *testing.T) {
	failures := new(recorder).run(func(tb TB) {
		CheckDescriptors(tb)
		relay := Start(tb, Script{})
		if _, err := Dial(tb, relay.Addr().String()).Greeting(); err != nil {
			tb.Errorf("%v", err)
		}
	})
	if len(failures) > 0 {
		t.Errorf("failures %q", failures)
	}
}

func TestDescriptorClosedALittleLaterIsNoLeak(t *testing.T) {
	failures := new(recorder).run(func(tb TB) {
		CheckDescriptors(tb)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatalf("%v", err)
		}
		time.AfterFunc(30*time.Millisecond, func() { _ = listener.Close() })
	})
	if len(failures) > 0 {
		t.Errorf("failures %q", failures)
	}
}

func TestEventuallyAsksUntilItIsTrue(t *testing.T) {
	asked := 0
	Eventually(t, patience, func() bool { asked++; return asked == 3 }, "never true")
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	Eventually(t, 0, func() bool { return true }, "not asked at all")
}

func TestEventuallyFailsWithItsMessage(t *testing.T) {
	failures := new(recorder).run(func(tb TB) {
		Eventually(tb, 20*time.Millisecond, func() bool { return false }, "still %d left", 3)
	})
	if len(failures) != 1 || !strings.Contains(failures[0], "still 3 left") {
		t.Errorf("failures %q", failures)
	}
}
