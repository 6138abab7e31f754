package sink

import (
	"math"
	"testing"
	"time"
)

// clock is a time that a test sets.
type clock struct{ time.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { return c.Time }

func mustFaults(tb interface{ Fatal(args ...any) }, texts ...string) []Fault {
	faults := make([]Fault, len(texts))
	for i, text := range texts {
		var err error
		if faults[i], err = ParseFault(text); err != nil {
			tb.Fatal(err)
		}
	}
	return faults
}

var twoRelays = []Relay{{Name: "a"}, {Name: "b"}}

func TestFirstFaultThatIsOnStrikes(t *testing.T) {
	c := newClock()
	p := newPlan(mustFaults(t, "b: mail=450 for=10s", "mail=451 times=2", "command=452 at=5s", "rcpt=550"), twoRelays, 0, c.now())
	draw := func(relay int, point Point) string {
		if a := p.draw(relay, point, c.now); a != nil {
			return a.Reply
		}
		return ""
	}
	for _, step := range []struct {
		at    time.Duration
		relay int
		point Point
		want  string
	}{
		{0, 1, PointMAIL, "450"},
		{0, 0, PointMAIL, "451"},
		{0, 0, PointMAIL, "451"},
		{0, 0, PointMAIL, ""}, // twice is enough
		{0, 0, PointRCPT, "550"},
		{0, 0, PointDATA, ""},
		{5 * time.Second, 0, PointMAIL, "452"},
		{5 * time.Second, 0, PointContent, "452"},
		{5 * time.Second, 0, PointRCPT, "452"},
		{5 * time.Second, 0, PointGreeting, ""}, // no command
		{10 * time.Second, 1, PointMAIL, "452"},
	} {
		c.Time = p.start.Add(step.at)
		if got := draw(step.relay, step.point); got != step.want {
			t.Errorf("at %v, relay %d, %s: %q, want %q", step.at, step.relay, step.point, got, step.want)
		}
	}
}

func TestProbabilityIsExactAndRepeatable(t *testing.T) {
	const n = 20000
	count := func(seed uint64) (hits int, order uint64) {
		c := newClock()
		p := newPlan(mustFaults(t, "mail=450 probability=5%"), twoRelays, seed, c.now())
		for i := range n {
			if p.draw(i%2, PointMAIL, c.now) != nil {
				hits++
				order = mix(order + uint64(i))
			}
		}
		return hits, order
	}
	hits, order := count(7)
	if again, same := count(7); again != hits || same != order {
		t.Errorf("the same seed: %d hits, then %d", hits, again)
	}
	if _, other := count(8); other == order {
		t.Error("another seed meets the same connections")
	}
	// Six standard deviations of a binomial distribution: as good as never.
	if spread := 6 * math.Sqrt(n*0.05*0.95); math.Abs(float64(hits)-n*0.05) > spread {
		t.Errorf("%d hits of %d, want 5 %%", hits, n)
	}
}

func TestStateOfAnAddress(t *testing.T) {
	c := newClock()
	p := newPlan(mustFaults(t, "a: connect=refuse at=10s for=20s", "a: connect=down at=20s for=20s", "mail=450"), twoRelays, 0, c.now())
	for _, step := range []struct {
		at   time.Duration
		want Action
		next time.Duration
	}{
		{0, "", 10 * time.Second},
		{10 * time.Second, ActionRefuse, 20 * time.Second},
		{25 * time.Second, ActionRefuse, 30 * time.Second},
		{30 * time.Second, ActionDown, 40 * time.Second},
		{40 * time.Second, "", never},
	} {
		state, next := p.state(0, step.at)
		var got Action
		if state != nil {
			got = state.Action
		}
		if got != step.want || next != step.next {
			t.Errorf("at %v: %q until %v, want %q until %v", step.at, got, next, step.want, step.next)
		}
	}
	if state, next := p.state(1, 15*time.Second); state != nil || next != never {
		t.Errorf("the other relay: %v until %v", state, next)
	}
}
