package sim

import (
	"context"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func smallSpread() SpreadConfig {
	return SpreadConfig{Balancers: []int{1, 3, 30}, Sessions: []int{100}, Relays: 6, Weights: 3, For: 10 * time.Minute, Seed: 1}
}

func TestSpreadConfigNamesEveryMistake(t *testing.T) {
	tests := []struct {
		name   string
		change func(*SpreadConfig)
		want   []string // none: it is right
	}{
		{"the default", func(c *SpreadConfig) { *c = DefaultSpread() }, nil},
		{"no balancers", func(c *SpreadConfig) { c.Balancers = nil }, []string{"want one number or more"}},
		{"none of them", func(c *SpreadConfig) { c.Balancers = []int{3, 0} }, []string{"balancers 0: want 1 to 1000"}},
		{"no mail", func(c *SpreadConfig) { c.Sessions = []int{0} }, []string{"sessions 0: want 1 to"}},
		{"nobody to ask when one refuses", func(c *SpreadConfig) { c.Relays = 1 }, []string{"relays 1: want 2 to"}},
		{"all at once", func(c *SpreadConfig) { *c = SpreadConfig{} }, []string{"balancers and sessions", "relays 0", "weights 0", "for 0s: want 1m"}},
	}
	for _, test := range tests {
		c := smallSpread()
		test.change(&c)
		err := c.Check()
		if (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", test.name, err)
		}
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", test.name, err, want)
			}
		}
	}
	if report, err := RunSpread(t.Context(), SpreadConfig{}); err == nil || report != nil {
		t.Errorf("a wrong one is run: %v", report)
	}
}

// The table in docs/ecmp.md can be had again.
func TestSpreadReportIsTheSameEachTime(t *testing.T) {
	first, err := RunSpread(t.Context(), smallSpread())
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	second, err := RunSpread(t.Context(), smallSpread())
	if err != nil || !reflect.DeepEqual(first, second) {
		t.Errorf("%v\n%+v\n%+v", err, first, second)
	}
	other := smallSpread()
	other.Seed++
	if third, err := RunSpread(t.Context(), other); err != nil || reflect.DeepEqual(first.Cases, third.Cases) {
		t.Errorf("%v, and another seed is no other mail", err)
	}
}

func TestSpreadGetsWorseWithEachBalancer(t *testing.T) {
	report, err := RunSpread(t.Context(), smallSpread())
	if err != nil {
		t.Fatal(err)
	}
	one := report.Cases[0]
	if one.Busiest != (Spread{1, 1, 1}) || one.AskedFailed != passiveFailures {
		t.Errorf("one balancer is all: %+v", one)
	}
	for i := 1; i < len(report.Cases); i++ {
		was, is := report.Cases[i-1], report.Cases[i]
		if is.Begun != one.Begun {
			t.Errorf("%d balancers: %d sessions, want the same mail, %d", is.Balancers, is.Begun, one.Begun)
		}
		if is.Excess.P50 <= was.Excess.P50 || is.Worst.P50 <= was.Worst.P50 || is.Busiest.P50 <= was.Busiest.P50 || is.AskedFailed <= was.AskedFailed {
			t.Errorf("%d balancers are no worse than %d:\n%+v\n%+v", is.Balancers, was.Balancers, is, was)
		}
	}
	// Least connections: in the middle of the time the worst relay has about one session too many, for rounding.
	if one.Excess.P50 > 2 {
		t.Errorf("one balancer: %+v", one)
	}
	// The number of sessions that was asked for is what runs: Little's law.
	if mean := float64(one.Begun) * meanLength().Seconds() / smallSpread().For.Seconds(); math.Abs(mean-100) > 15 {
		t.Errorf("%.1f sessions at once, want about 100", mean)
	}
}

func TestSpreadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RunSpread(ctx, smallSpread()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
