package balancer

import (
	"math"
	"testing"
	"time"
)

// checkTree checks that a tree holds these backends and no others, and everything that its nodes promise.
func checkTree(t failer, tr *tree, want reference) (depth int) {
	if tr.nodes[0] != (node{}) {
		t.Fatalf("the empty tree: %+v", tr.nodes[0])
	}
	for place := range len(tr.nodes) - 1 {
		if n := &tr.nodes[nodeOf(place)]; n.load != want[place].load {
			t.Fatalf("place %d: load %v, want %v", place, n.load, want[place].load)
		}
	}
	walk := treeWalk{t: t, tree: tr, want: want}
	_, depth = walk.visit(tr.root, 0)
	if walk.count != len(want) {
		t.Fatalf("%d nodes, want %d", walk.count, len(want))
	}
	return depth
}

type treeWalk struct {
	t     failer
	tree  *tree
	want  reference
	last  int32 // node visited before
	count int
}

// visit walks a subtree in order and returns its least load and its depth.
func (w *treeWalk) visit(x, parent int32) (least load, depth int) {
	if x == 0 {
		return load{}, 0
	}
	n := &w.tree.nodes[x]
	if n.parent != parent {
		w.t.Fatalf("node %d: parent %d, but it hangs from %d", x, n.parent, parent)
	}
	if parent != 0 && n.priority > w.tree.nodes[parent].priority {
		w.t.Fatalf("node %d: priority above its parent's", x)
	}
	left, leftDepth := w.visit(n.left, x)
	if l := &w.tree.nodes[w.last]; w.last != 0 && (l.tag > n.tag || l.tag == n.tag && w.last >= x) {
		w.t.Fatalf("node %d stands before %d", w.last, x)
	}
	w.last = x
	w.count++
	if s, in := w.want[placeOf(x)]; !in || s.load != n.load || s.tag != n.tag {
		w.t.Fatalf("node %d: %+v, but its backend is %+v, in: %v", x, n, s, in)
	}
	right, rightDepth := w.visit(n.right, x)
	least = n.load
	for _, l := range []load{left, right} {
		if l.below(least) {
			least = l
		}
	}
	if least.below(n.least) || n.least.below(least) {
		w.t.Fatalf("node %d: least load %v, want %v", x, n.least, least)
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
	checkTiers(t, p)
	tr, ok := p.tiers[0].order.(*tree)
	if !ok {
		t.Fatalf("%d backends in a %T", size, p.tiers[0].order)
	}
	if depth := checkTree(t, tr, p.tiers[0].pickable()); depth > 50 {
		t.Errorf("depth %d with %d backends, want what a balanced tree has: some 2 to 3 times 13", depth, size)
	}
	for _, s := range p.Snapshot(time.Time{}) {
		if fair := 3 * float64(size) * float64(s.Weight) / float64(sum(weights)); math.Abs(float64(s.Active)-fair) > 1 {
			t.Fatalf("%s of weight %d holds %d sessions, want %.2f", s.Name, s.Weight, s.Active, fair)
		}
	}
}
