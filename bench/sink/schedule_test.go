package sink

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScheduleIsOn(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name     string
		schedule schedule
		on, off  []time.Duration
	}{
		{"always", schedule{}, []time.Duration{0, 1, 1000 * time.Hour}, nil},
		{"from 10 s on", schedule{at: 10 * s}, []time.Duration{10 * s, 1000 * time.Hour}, []time.Duration{0, 10*s - 1}},
		{
			"at 10 s for 20 s", schedule{at: 10 * s, span: 20 * s},
			[]time.Duration{10 * s, 30*s - 1}, []time.Duration{0, 10*s - 1, 30 * s, 70 * s},
		},
		{
			"every minute for 20 s", schedule{at: 10 * s, span: 20 * s, every: 60 * s},
			[]time.Duration{10 * s, 30*s - 1, 70 * s, 90*s - 1, 3610 * s}, []time.Duration{0, 10*s - 1, 30 * s, 70*s - 1, 90 * s},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, at := range test.on {
				if !test.schedule.on(at) {
					t.Errorf("off at %v", at)
				}
			}
			for _, at := range test.off {
				if test.schedule.on(at) {
					t.Errorf("on at %v", at)
				}
			}
		})
	}
}

// The loop sleeps until next: if that were late a fault would be, if it were no
// change the loop would spin.
func TestNextIsTheFirstChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Int64Range(0, 12)
		s := schedule{at: time.Duration(small.Draw(t, "at")), span: time.Duration(small.Draw(t, "for"))}
		if s.span > 0 && rapid.Bool().Draw(t, "repeated") {
			s.every = s.span + 1 + time.Duration(small.Draw(t, "gap"))
		}
		at := time.Duration(rapid.Int64Range(0, 100).Draw(t, "t"))
		next := s.next(at)
		if next <= at {
			t.Fatalf("%+v: next after %d is %d", s, at, next)
		}
		for u := at; u < min(next, 300); u++ {
			if s.on(u) != s.on(at) {
				t.Fatalf("%+v: changes at %d already, next after %d is %d", s, u, at, next)
			}
		}
		if next < never && s.on(next) == s.on(at) {
			t.Fatalf("%+v: no change at %d", s, next)
		}
	})
}
