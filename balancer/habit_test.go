package balancer

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBucketsHoldWhatTheyShould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(5*time.Minute)).Draw(t, "d"))
		b := bucketOf(d)
		if b < 0 || b >= habitBuckets {
			t.Fatalf("bucket %d", b)
		}
		top := ceilingOf(b)
		if d > top || top > d+d/4+250*time.Microsecond {
			t.Fatalf("%v is in bucket %d, up to %v", d, b, top)
		}
	})
}

func TestPatienceIsTheRelaysHabit(t *testing.T) {
	repeat := func(n int, d time.Duration) []time.Duration {
		all := make([]time.Duration, n)
		for i := range all {
			all[i] = d
		}
		return all
	}
	join := func(parts ...[]time.Duration) (all []time.Duration) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for name, tt := range map[string]struct {
		greetings   []time.Duration
		least, most time.Duration
	}{
		"unknown":                          {nil, hedgeUnknown, hedgeUnknown},
		"too few":                          {repeat(19, time.Millisecond), hedgeUnknown, hedgeUnknown},
		"quick":                            {repeat(100, time.Millisecond), time.Second, time.Second},
		"postscreen":                       {repeat(100, 6*time.Second), 18 * time.Second, 23 * time.Second},
		"a second":                         {repeat(100, time.Second), 3 * time.Second, 4 * time.Second},
		"one in fifty slow":                {join(repeat(2, 2*time.Second), repeat(98, time.Millisecond)), 6 * time.Second, 8 * time.Second},
		"one in a thousand slow":           {join(repeat(1, 5*time.Second), repeat(999, time.Millisecond)), time.Second, time.Second},
		"was slow, is quick":               {join(repeat(5000, 3*time.Second), repeat(20000, time.Millisecond)), time.Second, time.Second},
		"was quick, is slow":               {join(repeat(5000, time.Millisecond), repeat(200, 3*time.Second)), 9 * time.Second, 12 * time.Second},
		"longer than anything is measured": {repeat(100, 24*time.Hour), 3 * time.Minute, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustNew(t, Config{Name: "outbound", Backends: []BackendConfig{{Name: "a", Weight: 1}}})
			for _, d := range tt.greetings {
				lease, err := p.Acquire(start, nil)
				if err != nil {
					t.Fatal(err)
				}
				lease.Established(start, d)
				lease.Release(start)
			}
			lease, err := p.Acquire(start, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := lease.Patience(); got < tt.least || got > tt.most {
				t.Errorf("patience %v, want %v to %v", got, tt.least, tt.most)
			}
		})
	}
}

func TestPatienceMayBeSetOrEndless(t *testing.T) {
	for hedge, want := range map[time.Duration]time.Duration{3 * time.Second: 3 * time.Second, -1: 0} {
		p := mustNew(t, Config{Name: "outbound", Hedge: hedge, Backends: []BackendConfig{{Name: "a", Weight: 1}}})
		lease, err := p.Acquire(start, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := lease.Patience(); got != want {
			t.Errorf("hedge %v: patience %v, want %v", hedge, got, want)
		}
	}
	var none Lease
	if none.Patience() != 0 || none.Warm() {
		t.Error("an empty lease has patience or warmth")
	}
}

func TestStateTableSaysWhatTheMachineDoes(t *testing.T) {
	for _, r := range rules() {
		for _, from := range r.from {
			if from == r.to && from != Busy {
				t.Errorf("%v leads from %v to itself", r.on, from)
			}
		}
		if (r.when == nil) != (r.words == "") {
			t.Errorf("%v from %v: a condition without words, or words without a condition", r.on, r.from)
		}
	}
	for on := probeGood; on <= enable; on++ {
		if on.String() == "unknown" {
			t.Errorf("event %d has no words", on)
		}
	}
}
