package balancer

import "math"

// forest holds disjoint sets of backends as treaps (Seidel and Aragon, 1996): binary search trees by load, heaps by a
// priority that is a hash of the node's number, hence of depth O(log n) and the same in every run. Each node knows the
// smallest tag of its subtree, so the smallest tag among all nodes below some load is found in one descent.
//
// A node is named by its number, from 1; a tree by the number of its root; 0 is the empty tree. The nodes are made once, so
// nothing here allocates.
type forest struct {
	nodes []node // nodes[0] is the empty tree: children 0, tag infinite
}

// node is a backend in a tree. While it is in none, left, right and least mean nothing.
type node struct {
	load
	tag         float64
	left, right int32
	least       int32 // node with the smallest tag of the subtree
	priority    uint32
}

// load is a fraction: sessions by weight. Fractions are compared exactly, by cross multiplication; sessions and sums
// of weights stay far below 2^31, so that the products fit.
type load struct {
	sessions, weight int64
}

func (l load) below(m load) bool { return l.sessions*m.weight < m.sessions*l.weight }

func nodeOf(index int) int32 { return int32(index) + 1 }

func indexOf(n int32) int { return int(n) - 1 }

func newForest(size int) forest {
	f := forest{nodes: make([]node, size+1)}
	f.nodes[0].tag = math.Inf(1)
	for n := range f.nodes[1:] {
		f.nodes[n+1].priority = scatter(uint32(n + 1))
	}
	return f
}

// scatter is the finalizer of MurmurHash3 (Appleby): a bijection that leaves no pattern of its input.
func scatter(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85ebca6b
	x ^= x >> 13
	x *= 0xc2b2ae35
	x ^= x >> 16
	return x
}

// first returns the node with the smallest tag among those whose load is below limit, 0 if there is none. They are a
// prefix of the tree's order: where a node is below, so is all of its left subtree.
func (f *forest) first(root int32, limit load) int32 {
	least := int32(0)
	for root != 0 {
		n := &f.nodes[root]
		if n.below(limit) {
			least = f.lesser(least, f.lesser(root, f.nodes[n.left].least))
			root = n.right
		} else {
			root = n.left
		}
	}
	return least
}

// insert puts node x, which is in no tree, into the tree, and returns its root.
func (f *forest) insert(root, x int32, l load, tag float64) int32 {
	n := &f.nodes[x]
	n.load, n.tag = l, tag
	n.left, n.right = 0, 0
	n.least = x
	return f.graft(root, x)
}

func (f *forest) graft(root, x int32) int32 {
	if root == 0 {
		return x
	}
	n := &f.nodes[root]
	switch {
	case f.nodes[x].priority > n.priority:
		f.nodes[x].left, f.nodes[x].right = f.split(root, x)
		f.pull(x)
		return x
	case f.before(x, root):
		n.left = f.graft(n.left, x)
	default:
		n.right = f.graft(n.right, x)
	}
	f.pull(root)
	return root
}

// split divides the tree into what comes before x and what comes after it; x itself is not in it.
func (f *forest) split(root, x int32) (left, right int32) {
	if root == 0 {
		return 0, 0
	}
	n := &f.nodes[root]
	if f.before(root, x) {
		n.right, right = f.split(n.right, x)
		f.pull(root)
		return root, right
	}
	left, n.left = f.split(n.left, x)
	f.pull(root)
	return left, root
}

// remove takes node x, which is in the tree, out of it, and returns the root of the rest.
func (f *forest) remove(root, x int32) int32 {
	n := &f.nodes[root]
	switch {
	case root == x:
		return f.join(n.left, n.right)
	case f.before(x, root):
		n.left = f.remove(n.left, x)
	default:
		n.right = f.remove(n.right, x)
	}
	f.pull(root)
	return root
}

// join makes one tree of two, all nodes of left before all nodes of right.
func (f *forest) join(left, right int32) int32 {
	switch {
	case left == 0:
		return right
	case right == 0:
		return left
	case f.nodes[left].priority > f.nodes[right].priority:
		f.nodes[left].right = f.join(f.nodes[left].right, right)
		f.pull(left)
		return left
	default:
		f.nodes[right].left = f.join(left, f.nodes[right].left)
		f.pull(right)
		return right
	}
}

// pull makes root's least right again after a change to itself or below.
func (f *forest) pull(root int32) {
	n := &f.nodes[root]
	n.least = f.lesser(root, f.lesser(f.nodes[n.left].least, f.nodes[n.right].least))
}

// before is the order of the trees: by load, then by number.
func (f *forest) before(a, b int32) bool {
	x, y := f.nodes[a].load, f.nodes[b].load
	left, right := x.sessions*y.weight, y.sessions*x.weight
	return left < right || left == right && a < b
}

// lesser returns the one with the smaller tag, then number. The empty tree loses to every node.
func (f *forest) lesser(a, b int32) int32 {
	x, y := f.nodes[a].tag, f.nodes[b].tag
	if x < y || x == y && a < b {
		return a
	}
	return b
}
