package proxy

import (
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

func TestALateLoopIsCountedByHowLateItIs(t *testing.T) {
	h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
	const ms = time.Millisecond
	for _, by := range []time.Duration{-time.Second, 0, ms, 5 * ms, 6 * ms, 10 * ms, 11 * ms, 700 * ms, time.Minute} {
		h.overdue(by)
	}
	got := h.r.Stats().Late
	if want := time.Minute + 727*ms; got.Times != 5 || got.Sum != want {
		t.Errorf("late %d times, by %v in all; want 5 times, by %v", got.Times, got.Sum, want)
	}
	for bound, want := range map[time.Duration]int64{10 * ms: 2, 25 * ms: 3, 500 * ms: 3, time.Second: 4, 5 * time.Second: 4} {
		if n := got.Within[bound]; n != want {
			t.Errorf("%d times within %v, want %d", n, bound, want)
		}
	}
	if len(got.Within) != numLateBounds {
		t.Errorf("%d bounds: %v", len(got.Within), got.Within)
	}
}

// A turn that takes long keeps every session of the loop waiting, whether the
// loop sleeps after it or has bytes left to move.
func TestALongTurnMakesTheLoopLate(t *testing.T) {
	for _, more := range [][]*session{nil, {{}}} {
		h := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr()).byHand()
		h.more = more
		h.ns -= int64(40 * time.Millisecond) // when the turn began
		h.post(func(*loop) {})               // so that it does not sleep
		h.wait()
		h.more = nil
		got := h.r.Stats().Late
		if got.Times < 1 || got.Within[25*time.Millisecond] != 0 || got.Sum < 40*time.Millisecond {
			t.Errorf("with %d sessions left: a turn of 40 ms is not there: %+v", len(more), got)
		}
	}
}
