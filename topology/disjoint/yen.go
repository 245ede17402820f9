package disjoint

import (
	"container/heap"
	"slices"
)

// yen lists the simple paths of a pair in the order of additive arc costs (Yen
// 1971, with Lawler's rule): each path found is left at each of its nodes, where
// it was not left before, by a shortest path that avoids the arcs already tried.
type yen struct {
	s        *search
	from, to int32
	weight   []cost // by arc; infinite: not to be used
	toGo     []cost // least cost from each node to the target
	found    prefixes
	cands    deviations

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

// deviations is a heap, cheapest first.
type deviations []deviation

func (d deviations) Len() int { return len(d) }

func (d deviations) Less(i, j int) bool {
	if d[i].key != d[j].key {
		return d[i].key.less(d[j].key)
	}
	return comparePaths(d[i].path, d[j].path) < 0
}

func (d deviations) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deviations) Push(x any)   { *d = append(*d, x.(deviation)) }

func (d *deviations) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	(*d)[last] = deviation{}
	*d = (*d)[:last]
	return x
}

// prefixes is a tree of the paths found: what follows a prefix is a list of arcs.
// Entry 0 is the root.
type prefixes []struct{ arc, follower, sibling int32 }

// follow gives the entry behind at by an arc, 0 if there is none.
func (t prefixes) follow(at, arc int32) int32 {
	for n := t[at].follower; n != 0; n = t[n].sibling {
		if t[n].arc == arc {
			return n
		}
	}
	return 0
}

// add adds a path.
func (t *prefixes) add(path []int32) {
	if len(*t) == 0 {
		*t = make(prefixes, 1, 64)
	}
	at := int32(0)
	for _, a := range path {
		n := t.follow(at, a)
		if n == 0 {
			n = int32(len(*t))
			*t = append(*t, struct{ arc, follower, sibling int32 }{a, 0, (*t)[at].follower})
			(*t)[at].follower = n
		}
		at = n
	}
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
		y.cands = deviations{{key, path, 0}}
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
		a, end := g.out(v)
		y.s.budget -= 1 + int(end-a)/16
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
		for ; a < end; a++ {
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
	d := heap.Pop(&y.cands).(deviation)
	y.found.add(d.path)
	at := int32(0)
	for i, a := range d.path {
		if i >= d.at {
			y.stamp++
			y.s.budget--
			for n := y.found[at].follower; n != 0; n = y.found[n].sibling {
				y.barred[y.found[n].arc] = y.stamp
			}
			if path, key, ok := y.spur(d.path[:i]); ok {
				heap.Push(&y.cands, deviation{key, path, i})
			}
		}
		at = y.found.follow(at, a)
	}
	return d.path, d.key, true
}

func comparePaths(a, b []int32) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return slices.Compare(a, b)
}
