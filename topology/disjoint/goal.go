package disjoint

// goal finds the cheapest pair of link-disjoint paths for one source and target
// (Suurballe 1974 with reduced costs), directed to the target by landmarks: a
// shortest path by A*, then a shortest path in the residual network, whose costs
// are reduced by what the first search learnt.
type goal struct {
	c     *csr
	marks *landmarks // may be nil: no goal direction

	heap   indexHeap
	stamp  int32
	seen   []int32 // stamp: labelled, +1: settled by the first search, +2, +3: by the second
	dist   []int64 // of the first search
	bound  []int64 // to the target
	phi    []int64 // potential for the second search
	extra  []int64 // dist of the second search
	by     []int32 // arc of the tree of the first search
	by2    []int32 // arc of the second search; backwards along the first path: ^arc
	slotA  []int32 // arc of the first path into a node, if it is on it
	onPath []int32 // stamp
	slotB  []int32 // arc of the second path into a node
	onTwo  []int32 // stamp
	now    []int32 // nodes at the current distance of the second search
}

func newGoal(c *csr, l *landmarks) *goal {
	n := len(c.node)
	ints := func() []int32 { return make([]int32, n) }
	longs := func() []int64 { return make([]int64, n) }
	return &goal{
		c: c, marks: l, heap: newIndexHeap(n), seen: ints(), dist: longs(), bound: longs(), phi: longs(), extra: longs(),
		by: ints(), by2: ints(), slotA: ints(), onPath: ints(), slotB: ints(), onTwo: ints(), now: make([]int32, 0, n),
	}
}

// find searches both paths; ok is false if there is no such pair.
func (g *goal) find(s, t int32) (ok bool) {
	if g.c.part[s] != g.c.part[t] {
		return false
	}
	if g.stamp += 4; g.stamp > 1<<30 {
		clear(g.seen)
		clear(g.onPath)
		clear(g.onTwo)
		g.stamp = 4
	}
	return g.first(s, t) && g.second(s, t)
}

func (g *goal) estimate(v, t int32) int64 {
	if g.marks == nil {
		return 0
	}
	return g.marks.bound(v, t)
}

// first is A*: g.dist of the settled nodes, and the path in g.slotA.
func (g *goal) first(s, t int32) bool {
	c, h := g.c, &g.heap
	open, settled := g.stamp, g.stamp+1
	h.clear()
	g.seen[s], g.dist[s], g.by[s] = open, 0, -1
	g.bound[s] = g.estimate(s, t)
	h.push(s, g.bound[s])
	for h.len() > 0 {
		v := h.pop()
		g.seen[v] = settled
		if v == t {
			g.finishFirst(s, t)
			return true
		}
		d := g.dist[v]
		for i, end := c.first[v], c.first[v+1]; i < end; i++ {
			a := &c.out[i]
			nd := d + a.cost
			switch g.seen[a.to] {
			case settled:
			case open:
				if nd < g.dist[a.to] {
					g.dist[a.to], g.by[a.to] = nd, i
					h.decrease(a.to, nd+g.bound[a.to])
				}
			default:
				g.seen[a.to], g.dist[a.to], g.by[a.to] = open, nd, i
				g.bound[a.to] = g.estimate(a.to, t)
				h.push(a.to, nd+g.bound[a.to])
			}
		}
	}
	return false
}

func (g *goal) finishFirst(s, t int32) {
	for v := t; v != s; v = g.c.tail[g.by[v]] {
		g.slotA[v], g.onPath[v] = g.by[v], g.stamp
	}
}

// potential of a node in the second search: its distance where the first search
// settled it, else the target's distance less the bound.
func (g *goal) potential(v, t int32, known int32) int64 {
	switch known {
	case g.stamp + 1:
		return g.dist[v]
	case g.stamp:
		return g.dist[t] - g.bound[v]
	}
	return g.dist[t] - g.estimate(v, t)
}

// second is Dijkstra's algorithm on the residual network. Much of what the first
// search settled is at distance 0: nodes at the current distance wait in a list
// of their own, not in the heap.
func (g *goal) second(s, t int32) bool {
	c, h := g.c, &g.heap
	open, settled := g.stamp+2, g.stamp+3
	h.clear()
	now := append(g.now[:0], s)
	g.phi[s] = 0
	g.extra[s], g.by2[s] = 0, -1
	g.seen[s] = open
	for {
		var v int32
		if n := len(now); n > 0 {
			v = now[n-1]
			now = now[:n-1]
		} else if h.len() > 0 {
			v = h.pop()
		} else {
			g.now = now
			return false
		}
		if g.seen[v] == settled {
			continue
		}
		g.seen[v] = settled
		if v == t {
			g.now = now
			g.finishSecond(s, t)
			return true
		}
		d := g.extra[v]
		if g.onPath[v] == g.stamp {
			// Back along the first path: it costs what it saves.
			u := c.tail[g.slotA[v]]
			if g.seen[u] != settled && (g.seen[u] != open || d < g.extra[u]) {
				if g.seen[u] != open {
					g.phi[u] = g.dist[u]
				}
				g.seen[u], g.extra[u], g.by2[u] = open, d, ^g.slotA[v]
				now = append(now, u)
			}
		}
		base := d + g.phi[v]
		for i, end := c.first[v], c.first[v+1]; i < end; i++ {
			a := &c.out[i]
			to := a.to
			known := g.seen[to]
			if known == settled || g.onPath[to] == g.stamp && g.slotA[to] == i {
				continue
			}
			if known != open {
				g.phi[to] = g.potential(to, t, known)
			}
			nd := base + a.cost - g.phi[to]
			if known == open && nd >= g.extra[to] {
				continue
			}
			g.extra[to], g.by2[to] = nd, i
			switch {
			case nd == d: // if it is in the heap too, it is settled by then
				now = append(now, to)
				g.seen[to] = open
			case known == open:
				h.decrease(to, nd)
			default:
				g.seen[to] = open
				h.push(to, nd)
			}
		}
	}
}

// finishSecond takes the links that both paths use in opposite ways off both, and
// keeps the rest of the second in g.slotB.
func (g *goal) finishSecond(s, t int32) {
	for v := t; v != s; {
		a := g.by2[v]
		if a >= 0 {
			g.slotB[v], g.onTwo[v] = a, g.stamp
			v = g.c.tail[a]
			continue
		}
		// Along the first path backwards, from the arc's head to its tail v.
		head := g.c.out[^a].to
		g.onPath[head] = 0
		v = head
	}
}

// pair appends the two paths as csr arcs from the target back to the source, the
// first n of them those of the one, and gives their cost.
func (g *goal) pair(s, t int32, back []int32) (path []int32, n int, sum int64) {
	start := len(back)
	for range 2 {
		n = len(back) - start
		for v := t; v != s; {
			a := g.slotA[v]
			if g.onTwo[v] == g.stamp {
				g.onTwo[v] = 0
				a = g.slotB[v]
			}
			sum += g.c.out[a].cost
			back = append(back, a)
			v = g.c.tail[a]
		}
	}
	return back, n, sum
}
