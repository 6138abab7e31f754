package balancer

import (
	"fmt"
	"math"
	"testing"
	"time"
)

type failer interface {
	Fatalf(format string, args ...any)
}

// checkForest checks everything that the trees promise: who is in them, in what order, with what sums and minima.
func checkForest(t failer, p *Pool) {
	listed := 0
	for i := range p.tiers {
		tier := &p.tiers[i]
		walk := treeWalk{t: t, pool: p, tier: i}
		walk.visit(tier.root, math.MaxUint32)
		if walk.weight != tier.weight || walk.active != tier.active {
			t.Fatalf("tier %d: sums %d and %d, want %d and %d", i, tier.weight, tier.active, walk.weight, walk.active)
		}
		listed += walk.count
	}
	for i := range p.slots {
		s := &p.slots[i]
		if s.listed != s.pickable() || s.asked {
			t.Fatalf("backend %d: listed %v, pickable %v, asked %v", i, s.listed, s.pickable(), s.asked)
		}
		if s.listed {
			listed--
		}
	}
	if listed != 0 {
		t.Fatalf("%d more nodes than listed backends", listed)
	}
}

type treeWalk struct {
	t      failer
	pool   *Pool
	tier   int
	last   int32 // node visited before
	count  int
	weight int64
	active int64
}

// visit walks a subtree in order and returns its smallest tag's node and its depth.
func (w *treeWalk) visit(root int32, priority uint32) (least int32, depth int) {
	if root == 0 {
		return 0, 0
	}
	f := &w.pool.tree
	n, s := &f.nodes[root], &w.pool.slots[indexOf(root)]
	if n.priority > priority {
		w.t.Fatalf("node %d: priority above its parent's", root)
	}
	left, leftDepth := w.visit(n.left, n.priority)
	if w.last != 0 && !f.before(w.last, root) {
		w.t.Fatalf("node %d stands before %d", w.last, root)
	}
	w.last = root
	w.count++
	w.weight += s.weight
	w.active += s.active
	if s.tier != w.tier || n.load != (load{s.active, s.weight}) || n.tag != s.tag() {
		w.t.Fatalf("node %d: %+v, but its backend is %+v", root, n, s)
	}
	right, rightDepth := w.visit(n.right, n.priority)
	least = f.lesser(root, f.lesser(left, right))
	if n.least != least {
		w.t.Fatalf("node %d: least %d, want %d", root, n.least, least)
	}
	return least, 1 + max(leftDepth, rightDepth)
}

func TestTenThousandBackendsStayShallow(t *testing.T) {
	const size = 10000
	weights := make([]int, size)
	for i := range weights {
		weights[i] = 1 + i%7
	}
	p := poolOf(t, weights...)
	for range 3 * size {
		if _, err := p.Acquire(time.Time{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	checkForest(t, p)
	walk := treeWalk{t: t, pool: p}
	if _, depth := walk.visit(p.tiers[0].root, math.MaxUint32); depth > 50 {
		t.Errorf("depth %d with %d backends, want what a balanced tree has: some 2 to 3 times 13", depth, size)
	}
	for _, s := range p.Snapshot(time.Time{}) {
		if fair := 3 * float64(size) * float64(s.Weight) / float64(sum(weights)); math.Abs(float64(s.Active)-fair) > 1 {
			t.Fatalf("%s of weight %d holds %d sessions, want %.2f", s.Name, s.Weight, s.Active, fair)
		}
	}
}

func TestLoadsAreComparedExactly(t *testing.T) {
	tests := []struct {
		a, b  load
		below bool
	}{
		{load{0, 1}, load{0, 1000}, false},
		{load{1, 3}, load{1, 3}, false},
		{load{1, 3}, load{2, 6}, false},
		{load{333, 1000}, load{1, 3}, true},
		{load{1, 3}, load{333, 1000}, false},
		{load{1 << 30, 1<<30 + 1}, load{1<<30 + 1, 1<<30 + 2}, true}, // equal as float64 of 32 bits of fraction
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.a, tt.b), func(t *testing.T) {
			if got := tt.a.below(tt.b); got != tt.below {
				t.Errorf("below: %v, want %v", got, tt.below)
			}
		})
	}
}
