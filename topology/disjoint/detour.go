package disjoint

import "slices"

// detour finds cheapest paths around barred resources, by A* with the distances
// without bars as estimate.
type detour struct {
	s     *search
	toGo  map[int32][]int64 // by target: least cost from each node, -1 where none
	dist  []int64
	prev  []int32
	seen  []int32 // stamp: labelled, +1: settled
	stamp int32
	heap  indexHeap
	bars  []int32 // stamp of resources
	at    int32
}

func newDetour(s *search, resources int) *detour {
	n := s.g.n()
	return &detour{
		s: s, toGo: map[int32][]int64{}, dist: make([]int64, n), prev: make([]int32, n), seen: make([]int32, n),
		heap: newIndexHeap(n), bars: make([]int32, resources),
	}
}

func (d *detour) bar(resources []int32) {
	d.at++
	for _, r := range resources {
		d.bars[r] = d.at
	}
}

func (d *detour) barred(r int32) bool { return d.bars[r] == d.at }

func (d *detour) estimates(to int32) []int64 {
	if h, ok := d.toGo[to]; ok {
		return h
	}
	g := d.s.g
	h := make([]int64, g.n())
	for i := range h {
		h[i] = unseen
	}
	h[to] = 0
	d.heap.clear()
	d.heap.push(to, 0)
	for d.heap.len() > 0 {
		v := d.heap.pop()
		for _, a := range g.in[v] {
			u, nd := g.arcs[a].from, h[v]+g.arcs[a].cost
			switch {
			case nd >= h[u]:
				continue
			case h[u] == unseen:
				d.heap.push(u, nd)
			default:
				d.heap.decrease(u, nd)
			}
			h[u] = nd
		}
	}
	d.toGo[to] = h
	return h
}

// find gives the arcs of a cheapest path of a pair; nil if there is none.
func (d *detour) find(p pair, barred func(arc int32) bool) []int32 {
	g, from, to := d.s.g, int32(p.from), int32(p.to)
	h := d.estimates(to)
	if h[from] == unseen {
		return nil
	}
	d.stamp += 2
	open, settled := d.stamp, d.stamp+1
	d.heap.clear()
	d.dist[from], d.prev[from], d.seen[from] = 0, -1, open
	d.heap.push(from, h[from])
	for d.heap.len() > 0 {
		v := d.heap.pop()
		d.seen[v] = settled
		d.s.budget--
		if v == to {
			var path []int32
			for v != from {
				path = append(path, d.prev[v])
				v = g.arcs[d.prev[v]].from
			}
			slices.Reverse(path)
			return path
		}
		for a, end := g.out(v); a < end; a++ {
			arc := &g.arcs[a]
			w := arc.to
			if d.seen[w] == settled || h[w] == unseen {
				continue
			}
			nd := d.dist[v] + arc.cost
			if d.seen[w] == open && nd >= d.dist[w] || barred(a) {
				continue
			}
			if d.seen[w] == open {
				d.heap.decrease(w, nd+h[w])
			} else {
				d.seen[w] = open
				d.heap.push(w, nd+h[w])
			}
			d.dist[w], d.prev[w] = nd, a
		}
	}
	return nil
}
