package sim

import (
	"reflect"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	hundred := make([]float64, 200)
	for i := range hundred {
		hundred[i] = float64(200 - i)
	}
	tests := []struct {
		name   string
		values []float64
		want   Spread
	}{
		{"none", nil, Spread{}},
		{"one", []float64{7}, Spread{7, 7, 7}},
		{"two", []float64{9, 1}, Spread{1, 9, 9}},
		{"three", []float64{3, 1, 2}, Spread{2, 3, 3}},
		{"200 to 1", hundred, Spread{100, 198, 200}},
	}
	for _, test := range tests {
		if got := spreadOf(test.values); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestShareErrorIsOfTheWorstRelay(t *testing.T) {
	tests := []struct {
		name     string
		c        tierCount
		off      float64
		share    []float64
		sessions int64
		few      int
	}{
		{"exact", tierCount{[]int64{300, 100}, []float64{300, 100}}, 0, []float64{0}, 400, 0},
		{"too many for one", tierCount{[]int64{310, 90}, []float64{300, 100}}, 10, []float64{0.025}, 400, 0},
		{"one too few is worst", tierCount{[]int64{202, 103, 95}, []float64{200, 100, 100}}, 5, []float64{0.0125}, 400, 0},
		{"just enough", tierCount{[]int64{99, 1}, []float64{98.5, 1.5}}, 0.5, []float64{0.005}, 100, 0},
		{"not enough", tierCount{[]int64{99, 0}, []float64{49.5, 49.5}}, 49.5, nil, 0, 1},
		{"nothing", tierCount{[]int64{0, 0}, []float64{0, 0}}, 0, nil, 0, 0},
	}
	for _, test := range tests {
		var e shareErrors
		e.add(test.c)
		if off := test.c.furthestOff(); off != test.off {
			t.Errorf("%s: off by %v sessions, want %v", test.name, off, test.off)
		}
		if !reflect.DeepEqual(e.share, test.share) || e.sessions != test.sessions || e.few != test.few {
			t.Errorf("%s: %+v, want share %v of %d sessions, too few at %d", test.name, e, test.share, test.sessions, test.few)
		}
		if len(test.share) > 0 && e.count[0] != test.off {
			t.Errorf("%s: counted as %v sessions, want %v", test.name, e.count[0], test.off)
		}
	}
}

func TestRelayErrorIsAPartOfWhatItWasOwed(t *testing.T) {
	errs, few := relayErrors([]int64{110, 90, 200, 5}, []float64{100, 100, 200, 50})
	if want := []float64{0.1, 0.1, 0}; !reflect.DeepEqual(errs, want) || few != 1 {
		t.Errorf("%v and %d too few, want %v and 1", errs, few, want)
	}
}

func TestShareOfNothingIsNothing(t *testing.T) {
	if got := share(0, 0); got != 0 {
		t.Errorf("0 of 0: %v", got)
	}
	if got := share(1, 4); got != 0.25 {
		t.Errorf("1 of 4: %v", got)
	}
}

func TestMovesAreCountedFromTheFailure(t *testing.T) {
	c := Default() // 10:00 to 12:00
	m := newMoves(&c, &plan{site: failedSite, local: 2})
	from, to := c.FailAt, c.FailAt+c.FailFor
	if m.lastAsked != never || m.allDown != never || m.lastStandby != never || m.allBack != never ||
		m.left != never || m.returned != never {
		t.Errorf("before anything: %+v, want never", m)
	}
	m.asked(from - 1) // a fault of a relay's own
	m.turned(from-time.Hour, false)
	m.turned(from-time.Minute, true)
	m.leftHome(from + time.Hour) // needed there
	m.tiered(from-time.Minute, 1)
	if m.lastAsked != never || m.allDown != never || m.lastStandby != never || m.away != 0 {
		t.Errorf("before the failure: %+v, want never", m)
	}

	m.asked(from + time.Second)
	m.turned(from+2*time.Second, false)
	m.asked(from + 3*time.Second)
	if m.allDown != never {
		t.Error("all down after one of two")
	}
	m.turned(from+4*time.Second, false)
	m.tiered(from+5*time.Second, 1)
	if m.lastAsked != 3*time.Second || m.allDown != 4*time.Second {
		t.Errorf("shifted: last asked %s, all down %s; want 3s, 4s", m.lastAsked, m.allDown)
	}

	m.leftHome(to + time.Second)
	m.turned(to+2*time.Second, true)
	if m.allBack != never {
		t.Error("all back after one of two")
	}
	m.turned(to+5*time.Second, true)
	m.tiered(to+6*time.Second, 0)
	m.tiered(to+settling, 1)            // too
	m.leftHome(to + settling)           // too late to be of this failure
	m.turned(to+settling+1, false)      // likewise
	m.asked(to)                         // the failure is over
	m.turned(to+settling+time.Hour, up) // likewise
	if m.lastStandby != time.Second || m.allBack != 5*time.Second || m.lastAsked != 3*time.Second {
		t.Errorf("back: last standby %s, all back %s, last asked %s; want 1s, 5s, 3s", m.lastStandby, m.allBack, m.lastAsked)
	}

	if m.left != 5*time.Second || m.returned != 6*time.Second || m.changes != 2 {
		t.Errorf("left after %s, returned after %s, %d changes; want 5s, 6s, 2", m.left, m.returned, m.changes)
	}

	other := newMoves(&c, &plan{site: failedSite + 1, local: 1})
	other.asked(from + 1)
	other.turned(from+1, false)
	other.tiered(from+2, 1)
	if other.lastAsked != never || other.allDown != never || other.left != never || other.changes != 0 {
		t.Errorf("a balancer of another site: %+v, want never", other)
	}
	times := secondsOf([]moves{m, other}, func(m *moves) time.Duration { return m.allDown })
	if !reflect.DeepEqual(times, []float64{4}) {
		t.Errorf("all down: %v, want 4 s of the one that moved", times)
	}
}

const up = true
