package disjoint

import "slices"

// yen lists the simple paths of a pair in the order of additive arc costs (Yen
// 1971, with Lawler's rule): each path found is left at each of its nodes, where
// it was not left before, by a shortest path that avoids the arcs already tried.
type yen struct {
	s        *search
	from, to int32
	weight   []cost // by arc; infinite: not to be used
	toGo     []cost // least cost from each node to the target
	found    [][]int32
	cands    []deviation

	dist    []cost
	prev    []int32
	seen    []int32
	blocked []int32 // stamp of nodes
	barred  []int32 // stamp of arcs
	stamp   int32
	heap    costHeap
}

// deviation is a path that leaves a found one after the first at arcs.
type deviation struct {
	key  cost
	path []int32
	at   int
}

func (s *search) newYen(from, to int, weight []cost) *yen {
	n := s.g.n()
	y := &yen{
		s: s, from: int32(from), to: int32(to), weight: weight,
		toGo: make([]cost, n), dist: make([]cost, n), prev: make([]int32, n), seen: make([]int32, n),
		blocked: make([]int32, n), barred: make([]int32, len(s.g.arcs)),
	}
	y.backwards()
	y.stamp++
	if path, key, ok := y.spur(nil); ok {
		y.cands = append(y.cands, deviation{key, path, 0})
	}
	return y
}

// backwards finds the least cost from each node to the target.
func (y *yen) backwards() {
	g := y.s.g
	for v := range y.toGo {
		y.toGo[v] = infinite
	}
	y.toGo[y.to] = zero
	y.heap.push(zero, y.to)
	for len(y.heap) > 0 {
		top := y.heap.pop()
		if y.toGo[top.node].less(top.key) {
			continue
		}
		for _, a := range g.in[top.node] {
			if y.weight[a] == infinite {
				continue
			}
			if d, u := top.key.plus(y.weight[a]), g.arcs[a].from; d.less(y.toGo[u]) {
				y.toGo[u] = d
				y.heap.push(d, u)
			}
		}
	}
}

// spur completes a prefix to the target on nodes and arcs that are not blocked,
// by A* with the distances without blocks as estimate.
func (y *yen) spur(prefix []int32) (path []int32, key cost, ok bool) {
	g := y.s.g
	at, so := y.from, zero
	for _, a := range prefix {
		y.blocked[at] = y.stamp
		at = g.arcs[a].to
		so = so.plus(y.weight[a])
	}
	if y.toGo[at] == infinite {
		return nil, zero, false
	}
	const settled = 1 << 30
	y.heap = y.heap[:0]
	y.dist[at], y.prev[at], y.seen[at] = so, -1, y.stamp
	y.heap.push(so.plus(y.toGo[at]), at)
	for len(y.heap) > 0 {
		v := y.heap.pop().node
		if y.seen[v] == y.stamp|settled {
			continue
		}
		y.seen[v] = y.stamp | settled
		y.s.budget--
		if v == y.to {
			path = append(path, prefix...)
			n := len(path)
			for v != at {
				path = append(path, y.prev[v])
				v = g.arcs[y.prev[v]].from
			}
			slices.Reverse(path[n:])
			return path, y.dist[y.to], true
		}
		for a, end := g.out(v); a < end; a++ {
			w := g.arcs[a].to
			if y.barred[a] == y.stamp || y.blocked[w] == y.stamp || y.weight[a] == infinite || y.toGo[w] == infinite || y.seen[w] == y.stamp|settled {
				continue
			}
			if d := y.dist[v].plus(y.weight[a]); y.seen[w] != y.stamp || d.less(y.dist[w]) {
				y.dist[w], y.prev[w], y.seen[w] = d, a, y.stamp
				y.heap.push(d.plus(y.toGo[w]), w)
			}
		}
	}
	return nil, zero, false
}

// next gives the next path and its cost; ok is false when there are no more.
func (y *yen) next() (path []int32, key cost, ok bool) {
	if len(y.cands) == 0 {
		return nil, zero, false
	}
	best := 0
	for i := range y.cands {
		if c := &y.cands[i]; c.key.less(y.cands[best].key) ||
			c.key == y.cands[best].key && comparePaths(c.path, y.cands[best].path) < 0 {
			best = i
		}
	}
	d := y.cands[best]
	y.cands = slices.Delete(y.cands, best, best+1)
	y.found = append(y.found, d.path)
	for i := d.at; i < len(d.path); i++ {
		y.stamp++
		for _, f := range y.found {
			if len(f) > i && slices.Equal(f[:i], d.path[:i]) {
				y.barred[f[i]] = y.stamp
			}
		}
		if path, key, ok := y.spur(d.path[:i]); ok {
			y.cands = append(y.cands, deviation{key, path, i})
		}
	}
	return d.path, d.key, true
}

func comparePaths(a, b []int32) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return slices.Compare(a, b)
}
