package report

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"smtplb/bench/result"
)

func TestBucketsAreRound(t *testing.T) {
	tests := []struct{ seconds, most, each, buckets int }{
		{0, 180, 1, 0}, {1, 180, 1, 1}, {180, 180, 1, 180}, {181, 180, 2, 91}, {3600, 180, 20, 180}, {3601, 180, 30, 121}, {86400, 180, 600, 144},
	}
	for _, test := range tests {
		buckets, each := timeline(make60(test.seconds), test.most)
		if each != test.each || len(buckets) != test.buckets {
			t.Errorf("%d seconds: %d buckets of %d s, want %d of %d", test.seconds, len(buckets), each, test.buckets, test.each)
		}
	}
}

// make60 is a steady run of 60 sessions a second.
func make60(seconds int) []result.Second {
	all := make([]result.Second, seconds)
	for i := range all {
		all[i] = result.Second{AtS: float64(i + 1), Sessions: 60, Messages: 60, Bytes: 6e6, GreetingP50: 1, GreetingP99: 2}
	}
	return all
}

func TestBucketHidesNoBadSecond(t *testing.T) {
	seconds := make60(40)
	seconds[7].Sessions, seconds[7].Failures, seconds[7].GreetingP99, seconds[7].Open = 0, 3, 1000, 90
	buckets, each := timeline(seconds, 2)
	if each != 20 || len(buckets) != 2 {
		t.Fatalf("%d buckets of %d s, want 2 of 20", len(buckets), each)
	}
	b := buckets[0]
	if want := (rate{57, 0, 60}); b.sessions != want {
		t.Errorf("sessions %v, want %v", b.sessions, want)
	}
	if b.failures != 3 || b.greetingP99 != 1000 || b.greetingP50 != 1 || b.open != 90 {
		t.Errorf("failures %d, greeting %v and %v, open %d; want 3, 1 and 1000, 90", b.failures, b.greetingP50, b.greetingP99, b.open)
	}
	if !math.IsNaN(b.messageP50) || !math.IsNaN(b.messageP99) {
		t.Errorf("message latencies %v and %v, want none: there was none", b.messageP50, b.messageP99)
	}
	if b := buckets[1]; b.failures != 0 || b.greetingP99 != 2 {
		t.Errorf("the second bucket has the first one's fault: %+v", b)
	}
}

func TestShortEndIsNoSecond(t *testing.T) {
	seconds := append(make60(3), result.Second{AtS: 3.02, Sessions: 6, Failures: 1, GreetingP99: 9, Open: 1})
	buckets, _ := timeline(seconds, 180)
	if len(buckets) != 3 {
		t.Fatalf("%d buckets, want 3", len(buckets))
	}
	last := buckets[2]
	if last.to != 3.02 || last.failures != 1 || last.greetingP99 != 9 || last.sessions.high > 70 {
		t.Errorf("the last bucket is %+v, want the short end in it and no peak", last)
	}
	seconds[3].AtS = 3.5
	if buckets, _ := timeline(seconds, 180); len(buckets) != 4 || buckets[3].sessions.mean != 12 {
		t.Errorf("half a second with 6 sessions is not 12 a second of its own: %+v", buckets)
	}
}

func TestSecondsOutOfOrderAreLeftOut(t *testing.T) {
	seconds := []result.Second{{AtS: math.NaN()}, {AtS: 1, Sessions: 1}, {AtS: 1, Sessions: 1}, {AtS: 0.5}, {AtS: math.Inf(1)}, {AtS: 1e300}, {AtS: 2, Sessions: 1}}
	buckets, _ := timeline(seconds, 180)
	if len(buckets) != 2 || buckets[1].to != 2 {
		t.Errorf("got %+v, want the seconds 1 and 2", buckets)
	}
}

// Grouping loses nothing, leaves no gap and invents no extreme.
func TestTimelineKeepsTheSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := make60(rapid.IntRange(1, 2000).Draw(t, "seconds"))
		most := rapid.IntRange(1, 300).Draw(t, "most")
		var failures, sessions int64
		worst := 0.0
		for i := range seconds {
			s := &seconds[i]
			s.Failures, s.Sessions = int64(i*7%5), int64(i*13%101)
			s.GreetingP99 = float64(i * 31 % 977)
			failures, sessions, worst = failures+s.Failures, sessions+s.Sessions, max(worst, s.GreetingP99)
		}
		buckets, _ := timeline(seconds, most)
		if len(buckets) > most {
			t.Fatalf("%d buckets, want at most %d", len(buckets), most)
		}
		at, sum, drawn := 0.0, 0.0, 0.0
		for _, b := range buckets {
			if b.from != at || !(b.sessions.low <= b.sessions.mean+1e-9 && b.sessions.mean <= b.sessions.high+1e-9) {
				t.Fatalf("after %v comes %+v", at, b)
			}
			at = b.to
			sum += b.sessions.mean * (b.to - b.from)
			failures -= b.failures
			if finite(b.greetingP99) {
				drawn = max(drawn, b.greetingP99)
			}
		}
		if failures != 0 || math.Abs(sum-float64(sessions)) > 1e-6*float64(sessions) || drawn != worst || at != float64(len(seconds)) {
			t.Fatalf("%d failures left over, %v of %d sessions, worst %v of %v, to %v", failures, sum, sessions, drawn, worst, at)
		}
	})
}

func TestPanels(t *testing.T) {
	titles := func(seconds []result.Second) []string {
		buckets, _ := timeline(seconds, mostBuckets)
		var all []string
		for _, p := range panels(buckets) {
			all = append(all, p.Title)
		}
		return all
	}
	calm := []string{"Sessions", "Messages", "Volume", "Open sessions", "Greeting", "Message"}
	if got := titles(make60(5)); !slices.Equal(got, calm) {
		t.Errorf("panels %q, want %q", got, calm)
	}
	seconds := make60(5)
	seconds[3].Failures = 1
	if got, want := titles(seconds), append(slices.Clone(calm), "Failures"); !slices.Equal(got, want) {
		t.Errorf("with a failure panels %q, want %q", got, want)
	}
	if got := titles(nil); got != nil {
		t.Errorf("without a second panels %q, want none", got)
	}
}
