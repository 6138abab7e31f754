package admin

import (
	"testing"
	"time"

	"smtplb/balancer"
	"smtplb/proxy"
)

func TestMedianOfGreetings(t *testing.T) {
	for _, test := range []struct {
		name      string
		greetings []time.Duration
		want      float64 // ms; 0: there is none
	}{
		{"none", nil, 0},
		{"one, in the middle of its bucket", []time.Duration{200 * time.Millisecond}, 175},
		{"two buckets", []time.Duration{3 * time.Millisecond, 3 * time.Millisecond, 3 * time.Millisecond, 2 * time.Second}, 2.5 + 2.5*2/3},
		{"beyond the last bucket", []time.Duration{time.Minute}, 30000},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			for _, g := range test.greetings {
				r.Observe(&proxy.Record{Pool: "outbound", GreetingCode: 220, Greeting: g,
					Attempts: []proxy.Attempt{{Backend: "relay-a", Outcome: balancer.OK}}})
			}
			got := r.observations.medians()[backendKey{"outbound", "relay-a"}]
			if d := got - test.want; d > 1e-9 || d < -1e-9 {
				t.Errorf("%v ms, want %v", got, test.want)
			}
		})
	}
}
