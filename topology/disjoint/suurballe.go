package disjoint

// forest finds the cheapest pairs of link-disjoint paths from one source to all
// targets, by the algorithm of Suurballe and Tarjan (1984).
//
// After a shortest path tree from the source, costs are reduced by distances, so
// that tree arcs cost nothing. The second path to a target is then a shortest
// path in a network that differs from target to target only by which tree arcs
// are turned round. All of these are searched at once: nodes are labelled in the
// order of what their pair costs more than two shortest paths. Labelling a node
// takes it out of the tree; an arc counts once its ends are in different pieces.
//
// Labelling goes on only as far as the targets asked for need it.
type forest struct {
	c      *csr
	source int32

	dist   []int64 // from the source; -1 where there is no way
	tree   []int32 // index in out of the tree arc into a node, -1 at the source
	child  []int32 // first child in the tree, -1
	next   []int32 // next sibling, -1
	order  []int32 // nodes in the order of distance
	extra  []int64 // what the pair costs more than two shortest paths
	last   []int32 // index in out of the arc by which the second path enters
	jump   []int32 // node labelled when it was found
	state  []int32 // piece of the tree, or labelled
	size   []int32 // nodes of the same piece below a node, itself included
	pieces int32
	heap   indexHeap
	mark   []int32
	stamp  int32
	stack  []int32
}

const (
	labelled = -1
	unseen   = int64(1) << 62
)

func newForest(c *csr) *forest {
	n := len(c.node)
	ints := func() []int32 { return make([]int32, n) }
	return &forest{
		c: c, source: -1, dist: make([]int64, n), extra: make([]int64, n),
		tree: ints(), child: ints(), next: ints(), order: make([]int32, 0, n), last: ints(), jump: ints(),
		state: ints(), size: ints(), heap: newIndexHeap(n), mark: ints(), stack: make([]int32, 0, n),
	}
}

// grow builds the shortest path tree of a source and labels the source.
func (f *forest) grow(source int32) {
	c := f.c
	f.source = source
	// Only the source's component can be reached.
	lo := c.part[source]
	hi := lo
	for int(hi) < len(c.part) && c.part[hi] == lo {
		f.dist[hi], f.size[hi] = unseen, 0
		hi++
	}
	h := &f.heap
	h.clear()
	f.order = f.order[:0]
	f.dist[source], f.tree[source] = 0, -1
	h.push(source, 0)
	for h.len() > 0 {
		v := h.pop()
		d := f.dist[v]
		f.order = append(f.order, v)
		f.child[v], f.next[v] = -1, -1
		for i, end := c.first[v], c.first[v+1]; i < end; i++ {
			a := &c.out[i]
			if nd := d + a.cost; nd < f.dist[a.to] {
				if f.dist[a.to] == unseen {
					h.push(a.to, nd)
				} else {
					h.decrease(a.to, nd)
				}
				f.dist[a.to], f.tree[a.to] = nd, i
			}
		}
	}
	for i := len(f.order) - 1; i >= 0; i-- {
		v := f.order[i]
		f.extra[v] = unseen
		f.size[v]++
		f.state[v] = 0
		if i > 0 {
			p := c.tail[f.tree[v]]
			f.next[v], f.child[p] = f.child[p], v
			f.size[p] += f.size[v]
		}
	}
	f.pieces = 1
	h.clear()
	f.extra[source] = 0
	f.label(source)
}

// reach labels nodes until one is labelled; it tells whether that is possible.
func (f *forest) reach(t int32) bool {
	if f.c.part[t] != f.c.part[f.source] || f.dist[t] == unseen {
		return false
	}
	for f.state[t] != labelled {
		if f.heap.len() == 0 {
			return false
		}
		f.label(f.heap.pop())
	}
	return true
}

// label takes a node out of its piece of the tree and follows the arcs that now
// join pieces. Of the pieces that are left only the largest is not walked, so
// that a node is walked at most log n times.
func (f *forest) label(v int32) {
	c := f.c
	piece := f.state[v]
	f.state[v] = labelled
	// The pieces: that of the parent, and one for each child not labelled.
	up := int32(-1)
	upSize := int32(0)
	root := int32(-1)
	if f.tree[v] >= 0 {
		if p := c.tail[f.tree[v]]; f.state[p] != labelled {
			up = p
			for x := p; ; {
				f.size[x] -= f.size[v]
				root = x
				if f.tree[x] < 0 {
					break
				}
				x = c.tail[f.tree[x]]
				if f.state[x] == labelled {
					break
				}
			}
			upSize = f.size[root]
		}
	}
	largest, most := up, upSize
	for x := f.child[v]; x >= 0; x = f.next[x] {
		if f.state[x] != labelled && f.size[x] > most {
			largest, most = x, f.size[x]
		}
	}
	fresh := f.pieces
	if up >= 0 && up != largest {
		f.cut(root)
	}
	for x := f.child[v]; x >= 0; x = f.next[x] {
		if f.state[x] != labelled && x != largest {
			f.cut(x)
		}
	}
	d := f.extra[v]
	for i, end := c.first[v], c.first[v+1]; i < end; i++ {
		if to := c.out[i].to; f.state[to] != labelled && f.tree[to] != i {
			f.relax(v, to, i, d+c.out[i].cost+f.dist[v]-f.dist[to])
		}
	}
	if up >= 0 && up != largest {
		f.join(v, root, piece, fresh)
	}
	for x := f.child[v]; x >= 0; x = f.next[x] {
		if f.state[x] != labelled && x != largest {
			f.join(v, x, piece, fresh)
		}
	}
}

// cut numbers the piece below a root anew.
func (f *forest) cut(root int32) {
	id := f.pieces
	f.pieces++
	stack := append(f.stack[:0], root)
	for len(stack) > 0 {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		f.state[x] = id
		for y := f.child[x]; y >= 0; y = f.next[y] {
			if f.state[y] != labelled {
				stack = append(stack, y)
			}
		}
	}
	f.stack = stack
}

// join follows the arcs between the piece below a root and the others that were
// one with it until now.
func (f *forest) join(v, root, piece, fresh int32) {
	c := f.c
	d := f.extra[v]
	stack := append(f.stack[:0], root)
	for len(stack) > 0 {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		own, dx := f.state[x], f.dist[x]
		for i, end := c.first[x], c.first[x+1]; i < end; i++ {
			to := c.out[i].to
			if s := f.state[to]; s != own && (s == piece || s >= fresh) {
				f.relax(v, to, i, d+c.out[i].cost+dx-f.dist[to])
			}
		}
		for i, end := c.inAt[x], c.inAt[x+1]; i < end; i++ {
			in := &c.in[i]
			// Pieces numbered anew see their arcs from both sides: the other's out
			// arcs are followed from there.
			if f.state[in.from] == piece {
				f.relax(v, x, in.at, d+c.out[in.at].cost+f.dist[in.from]-dx)
			}
		}
		for y := f.child[x]; y >= 0; y = f.next[y] {
			if f.state[y] != labelled {
				stack = append(stack, y)
			}
		}
	}
	f.stack = stack
}

func (f *forest) relax(v, to, arc int32, extra int64) {
	old := f.extra[to]
	if extra >= old {
		return
	}
	f.extra[to], f.last[to], f.jump[to] = extra, arc, v
	if old == unseen {
		f.heap.push(to, extra)
	} else {
		f.heap.decrease(to, extra)
	}
}

// pair appends the two paths to a labelled target, as csr arcs from the target
// back to the source, the first n of them those of the one, and gives their cost.
func (f *forest) pair(t int32, back []int32) (path []int32, n int, sum int64) {
	f.stamp++
	for v := t; v != f.source; v = f.jump[v] {
		f.mark[v] = f.stamp
	}
	start := len(back)
	back = f.trace(t, back)
	n = len(back) - start
	return f.trace(t, back), n, 2*f.dist[t] + f.extra[t]
}

// trace follows one path back: a marked node is left by the arc that labelled it,
// once, any other by its tree arc.
func (f *forest) trace(t int32, path []int32) []int32 {
	for v := t; v != f.source; {
		arc := f.tree[v]
		if f.mark[v] == f.stamp {
			f.mark[v]--
			arc = f.last[v]
		}
		path = append(path, arc)
		v = f.c.tail[arc]
	}
	return path
}
