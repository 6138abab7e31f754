package balancer

// tree is an order as a treap (Seidel and Aragon, 1996): a binary search tree by tag, a heap by a priority that is a hash
// of the node's number, hence of depth O(log n) and the same in every run. Each node knows the least load of its
// subtree, so the first one below a limit is found in one descent. Linux picks its next task by virtual deadline in
// the same way (kernel/sched/fair.c, EEVDF).
//
// A node is named by its number, which is its place plus 1; 0 is the empty tree. The nodes are made once, so nothing
// here allocates.
type tree struct {
	nodes []node // nodes[0] is the empty tree, and stays zero
	root  int32
}

// node is a backend in the tree. While it is not in, its load is zero, and the rest but the priority means nothing.
type node struct {
	load
	tag                 float64
	least               load // of the subtree
	left, right, parent int32
	priority            uint32
}

func newTree(size int) order {
	t := &tree{nodes: make([]node, size+1)}
	for x := range t.nodes[1:] {
		t.nodes[x+1].priority = scatter(uint32(x + 1))
	}
	return t
}

func nodeOf(place int) int32 { return int32(place) + 1 }

func placeOf(x int32) int { return int(x) - 1 }

// scatter is the finalizer of MurmurHash3 (Appleby): a bijection that leaves no pattern of its input.
func scatter(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85ebca6b
	x ^= x >> 13
	x *= 0xc2b2ae35
	x ^= x >> 16
	return x
}

func (t *tree) first(limit load) int {
	x := t.root
	for x != 0 {
		n := &t.nodes[x]
		switch {
		case t.nodes[n.left].least.below(limit):
			x = n.left
		case n.below(limit):
			return placeOf(x)
		default:
			x = n.right
		}
	}
	return -1
}

// put leaves a node where it is if only its load is new: that is how a session ends.
func (t *tree) put(place int, l load, tag float64) {
	x := nodeOf(place)
	n := &t.nodes[x]
	if n.load != (load{}) && n.tag == tag {
		n.load = l
		t.pull(x)
		return
	}
	t.drop(place)
	n.load, n.tag, n.least = l, tag, l
	t.addLeaf(x)
	for n.parent != 0 && t.nodes[n.parent].priority < n.priority {
		t.lift(x)
	}
}

// addLeaf puts x where it belongs by its tag, below all that stand there already.
func (t *tree) addLeaf(x int32) {
	n := &t.nodes[x]
	parent, link := int32(0), &t.root
	for *link != 0 {
		parent = *link
		p := &t.nodes[parent]
		if n.below(p.least) {
			p.least = n.load
		}
		if n.tag < p.tag || n.tag == p.tag && x < parent {
			link = &p.left
		} else {
			link = &p.right
		}
	}
	*link = x
	n.left, n.right, n.parent = 0, 0, parent
}

// drop moves the node down until it has one child at most, which then takes its place.
func (t *tree) drop(place int) {
	x := nodeOf(place)
	n := &t.nodes[x]
	if n.load == (load{}) {
		return
	}
	for n.left != 0 && n.right != 0 {
		if t.nodes[n.left].priority > t.nodes[n.right].priority {
			t.lift(n.left)
		} else {
			t.lift(n.right)
		}
	}
	t.replace(x, n.left|n.right)
	t.pull(n.parent)
	n.load = load{}
}

// lift rotates x, which is not the root, above its parent.
func (t *tree) lift(x int32) {
	n := &t.nodes[x]
	above := n.parent
	p := &t.nodes[above]
	t.replace(above, x)
	if p.left == x {
		p.left, n.right = n.right, above
		t.adopt(p.left, above)
	} else {
		p.right, n.left = n.left, above
		t.adopt(p.right, above)
	}
	p.parent = x
	n.least = p.least
	p.least = t.leastOf(p)
}

// replace puts the subtree y where x hangs.
func (t *tree) replace(x, y int32) {
	parent := t.nodes[x].parent
	p := &t.nodes[parent]
	switch {
	case parent == 0:
		t.root = y
	case p.left == x:
		p.left = y
	default:
		p.right = y
	}
	t.adopt(y, parent)
}

func (t *tree) adopt(child, parent int32) {
	if child != 0 {
		t.nodes[child].parent = parent
	}
}

// pull makes the least loads right again from x upwards, after a change to x or below it.
func (t *tree) pull(x int32) {
	for x != 0 {
		n := &t.nodes[x]
		least := t.leastOf(n)
		if least == n.least {
			return // nor does anything above change
		}
		n.least = least
		x = n.parent
	}
}

func (t *tree) leastOf(n *node) load {
	least := n.load
	if l := t.nodes[n.left].least; l.below(least) {
		least = l
	}
	if l := t.nodes[n.right].least; l.below(least) {
		least = l
	}
	return least
}
