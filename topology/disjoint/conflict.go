package disjoint

import (
	"container/heap"
	"slices"
)

// conflicts searches the sets of paths by what the paths may share. Every path is
// at first the cheapest there is. Where two of them meet in a resource (an SRLG,
// a node, a link) that they have not agreed on, the search branches: the one
// avoids it, or the other does, or both use it and the price is paid. It is exact
// where it ends, and sharp in SRLGs, of which the flow knows nothing.
type conflicts struct {
	*search
	unit  []int // pair of each path
	flow  cost  // least cost of the flow, without SRLGs
	queue cqueue
	seq   int
	tally *tally
	path  *detour
	gap   bool // a node could not be settled: the search is not complete

	// Resources are numbered: SRLGs, then nodes, then links.
	nodeAt, linkAt int32
	price          []cost // of each extra use
	users          []int32
	stamp          []int32
	now            int32
}

// cnode is a node of the tree: for each path the resources that it avoids and
// those that it is taken to use, both sorted.
type cnode struct {
	bound       cost
	avoid, must [][]int32
	paths       [][]int32
	seq         int
}

type cqueue []*cnode

func (q cqueue) Len() int { return len(q) }
func (q cqueue) Less(i, j int) bool {
	if q[i].bound != q[j].bound {
		return q[i].bound.less(q[j].bound)
	}
	return q[i].seq > q[j].seq
}
func (q cqueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *cqueue) Push(x any)   { *q = append(*q, x.(*cnode)) }
func (q *cqueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return x
}

func newConflicts(s *search, flow cost) *conflicts {
	c := &conflicts{search: s, flow: flow, tally: newTally(s)}
	c.nodeAt = int32(len(s.g.srlgIDs))
	c.linkAt = c.nodeAt + int32(s.g.n())
	n := int(c.linkAt) + s.g.risks
	c.price, c.users, c.stamp = make([]cost, n), make([]int32, n), make([]int32, n)
	for r := range c.price[:c.linkAt] {
		c.price[r] = cost{risk: 1}
	}
	for i := range s.g.arcs { // of directions that differ in cost, the cheaper
		a := &s.g.arcs[i]
		p := &c.price[c.linkAt+a.risk]
		if *p == zero || a.share < p.share {
			*p = cost{share: a.share}
		}
	}
	c.path = newDetour(s, n)
	for i, p := range s.pairs {
		for range p.n {
			c.unit = append(c.unit, i)
		}
	}
	return c
}

// each visits the resources that an arc of a path of a pair uses: its SRLGs, its
// link, and the node that it enters if that is an inner one.
func (c *conflicts) each(a int32, p pair, visit func(r int32)) {
	arc := &c.g.arcs[a]
	if c.level.srlgs() {
		for _, s := range c.g.srlgs[a] {
			visit(s)
		}
	}
	if c.level.nodes() && int(arc.to) != p.to {
		visit(c.nodeAt + arc.to)
	}
	visit(c.linkAt + arc.risk)
}

// run improves s.best and reports whether it proved it the best.
func (c *conflicts) run() bool {
	k := len(c.unit)
	root := &cnode{avoid: make([][]int32, k), must: make([][]int32, k), paths: make([][]int32, k)}
	for i := range k {
		root.paths[i] = c.cheapest(i, nil)
		if root.paths[i] == nil {
			return c.budget >= 0
		}
	}
	c.push(root)
	for len(c.queue) > 0 {
		n := heap.Pop(&c.queue).(*cnode)
		if !n.bound.less(c.best.cost) {
			break
		}
		c.branch(n)
		if c.budget < 0 {
			return false
		}
	}
	return !c.gap
}

// cheapest is the cheapest allowed path of a unit that avoids resources; nil if
// there is none.
func (c *conflicts) cheapest(unit int, avoid []int32) []int32 {
	p := c.pairs[c.unit[unit]]
	c.path.bar(avoid)
	barred := func(a int32) bool {
		bad := false
		c.each(a, p, func(r int32) { bad = bad || c.path.barred(r) })
		return bad
	}
	if !c.c.onPaths() {
		return c.path.find(p, barred)
	}
	weight := make([]cost, len(c.g.arcs))
	for a := range weight {
		weight[a] = cost{total: c.g.arcs[a].cost}
		if barred(int32(a)) {
			weight[a] = infinite
		}
	}
	y := c.newYen(p.from, p.to, weight)
	for c.budget > 0 {
		path, _, ok := y.next()
		if !ok {
			return nil
		}
		if c.passes(p, path) {
			return path
		}
	}
	return nil
}

// push bounds a node, offers its paths, and queues it unless it is settled.
func (c *conflicts) push(n *cnode) {
	c.budget -= 5
	n.bound = c.bound(n)
	if !n.bound.less(c.best.cost) {
		return
	}
	if c.valid(n.paths) {
		if got := c.offer(n.paths); !n.bound.less(got) {
			return
		}
	}
	c.seq++
	n.seq = c.seq
	heap.Push(&c.queue, n)
}

// valid tells whether paths are distinct and meet the constraints together.
func (c *conflicts) valid(paths [][]int32) bool {
	for i, p := range paths {
		for j := range i {
			if c.unit[i] == c.unit[j] && comparePaths(p, paths[j]) == 0 {
				return false
			}
		}
		if !c.near(p, paths[:i]) {
			return false
		}
	}
	return true
}

// bound combines what is paid for already, the flow's least cost, and the sum of
// the paths as they are. The flow's shared cost is a bound only where no more
// risk is taken than it takes, its total only where no more is shared.
func (c *conflicts) bound(n *cnode) cost {
	srlg, paid := int64(0), zero
	for _, must := range n.must {
		for _, r := range must {
			if c.users[r]++; c.users[r] > 1 {
				if r < c.nodeAt {
					srlg++
				} else {
					paid = paid.plus(c.price[r])
				}
			}
		}
	}
	for _, must := range n.must {
		for _, r := range must {
			c.users[r] = 0
		}
	}
	for _, p := range n.paths {
		for _, a := range p {
			paid.total += c.g.arcs[a].cost
		}
	}
	b := paid
	if f := c.flow; f.risk >= paid.risk {
		b.risk = f.risk
		if f.share >= paid.share {
			b.share = f.share
			b.total = max(paid.total, f.total)
		}
	}
	b.risk += srlg
	return b
}

// branch pushes the children of a node.
func (c *conflicts) branch(n *cnode) {
	i, j, r, ok := c.meeting(n)
	if !ok {
		// Nothing is left to agree on, and still the paths are no solution: equal
		// paths (both must be what they are: there is none), or too different in
		// delay, of which the bounds know nothing.
		if !c.distinct(n.paths) {
			return
		}
		c.gap = true
		return
	}
	twins := c.unit[i] == c.unit[j] && slices.Equal(n.avoid[i], n.avoid[j]) && slices.Equal(n.must[i], n.must[j])
	iMust, jMust := has(n.must[i], r), has(n.must[j], r)
	switch {
	case jMust:
		c.child(n, r, []int{i}, nil)
	case iMust:
		c.child(n, r, []int{j}, nil)
	default:
		c.child(n, r, []int{i}, nil)
		if !twins { // else it is the same with the two exchanged
			c.child(n, r, []int{j}, []int{i})
		}
	}
	c.child(n, r, nil, []int{i, j})
}

func (c *conflicts) distinct(paths [][]int32) bool {
	for i, p := range paths {
		for j := range i {
			if c.unit[i] == c.unit[j] && comparePaths(p, paths[j]) == 0 {
				return false
			}
		}
	}
	return true
}

// child is a node with a resource avoided or used by some paths.
func (c *conflicts) child(n *cnode, r int32, avoid, must []int) {
	if c.budget < 0 {
		return
	}
	m := &cnode{avoid: slices.Clone(n.avoid), must: slices.Clone(n.must), paths: slices.Clone(n.paths)}
	for _, i := range must {
		if !has(m.must[i], r) {
			m.must[i] = with(m.must[i], r)
		}
	}
	for _, i := range avoid {
		m.avoid[i] = with(m.avoid[i], r)
		if m.paths[i] = c.cheapest(i, m.avoid[i]); m.paths[i] == nil {
			return
		}
	}
	c.push(m)
}

func has(list []int32, r int32) bool {
	_, ok := slices.BinarySearch(list, r)
	return ok
}

func with(list []int32, r int32) []int32 {
	at, _ := slices.BinarySearch(list, r)
	return slices.Insert(slices.Clone(list), at, r)
}

// meeting finds two paths that meet in a resource that they have not both agreed
// to use: an SRLG if there is one, else a node, else a link.
func (c *conflicts) meeting(n *cnode) (i, j int, r int32, ok bool) {
	for u := range c.unit {
		c.now++
		p := c.pairs[c.unit[u]]
		for _, a := range n.paths[u] {
			c.each(a, p, func(x int32) { c.stamp[x] = c.now })
		}
		for v := range u {
			q := c.pairs[c.unit[v]]
			for _, a := range n.paths[v] {
				c.each(a, q, func(x int32) {
					if c.stamp[x] != c.now || ok && c.kind(x) >= c.kind(r) || has(n.must[u], x) && has(n.must[v], x) {
						return
					}
					i, j, r, ok = v, u, x, true
				})
			}
		}
	}
	return i, j, r, ok
}

func (c *conflicts) kind(r int32) int {
	switch {
	case r < c.nodeAt:
		return 0
	case r < c.linkAt:
		return 1
	}
	return 2
}
