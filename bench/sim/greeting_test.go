package sim

import (
	"slices"
	"testing"
	"time"
)

func TestGreetingsFollowTheirRelaysHabit(t *testing.T) {
	p := &plan{pool: make([]int32, 200)}
	for i := range p.pool {
		p.pool[i] = int32(i)
	}
	g := newGreetings(1, 7, p)
	least, most := slices.Min(g.median), slices.Max(g.median)
	if least < greetingLeast || most > greetingMost || least > 1.2*greetingLeast || most < 0.8*greetingMost {
		t.Errorf("medians are %.3f to %.3f s, want about %.3f to %.3f s", least, most, greetingLeast, greetingMost)
	}
	var took []time.Duration
	for range 10001 {
		took = append(took, g.draw(3))
	}
	slices.Sort(took)
	median, late := took[5000].Seconds()/g.median[3], took[9900].Seconds()/g.median[3]
	if took[0] <= 0 || median < 0.97 || median > 1.03 || late < 2.3 || late > 2.8 {
		t.Errorf("half take %.3f of the median and 99 of 100 %.3f; want 1 and 2.5", median, late)
	}
	if other := newGreetings(1, 8, p); !slices.Equal(other.median, g.median) {
		t.Error("a relay has another habit at another balancer")
	}
	if other := newGreetings(2, 7, p); slices.Equal(other.median, g.median) {
		t.Error("another seed, the same habits")
	}
}
