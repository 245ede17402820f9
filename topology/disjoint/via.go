package disjoint

import "slices"

// maxOrders bounds the required nodes of which all orders are tried.
const maxOrders = 5

// via makes one path through the required nodes: its legs are shortest paths that keep
// clear of each other, found from the first to the last or from the last to the first,
// in the best order of the nodes. It may miss a path that there is; a generator of all
// paths would pass the nodes only after very many that do not. nil for none.
func (s *search) via(p pair, weight []cost, own, set [][]int32) (best []int32) {
	var stops []int32
	for _, r := range s.require {
		if r != p.from && r != p.to && !slices.Contains(stops, int32(r)) {
			stops = append(stops, int32(r))
		}
	}
	if len(stops) == 0 {
		return nil
	}
	least := infinite
	try := func() {
		all := slices.Concat([]int32{int32(p.from)}, stops, []int32{int32(p.to)})
		for _, backward := range []bool{false, true} {
			path, c := s.legs(all, backward, weight)
			if path != nil && c.less(least) && s.passes(p, path) && !contains(own, path) && s.near(path, set) {
				best, least = path, c
			}
		}
	}
	if len(stops) > maxOrders {
		try()
		return best
	}
	var order func(n int)
	order = func(n int) { // all orders of the stops from n on
		if n == len(stops) {
			try()
		}
		for i := n; i < len(stops); i++ {
			stops[n], stops[i] = stops[i], stops[n]
			order(n + 1)
			stops[n], stops[i] = stops[i], stops[n]
		}
	}
	order(0)
	return best
}

// legs joins shortest paths from each stop to the next, none of which passes another
// stop or a node of another leg.
func (s *search) legs(stops []int32, backward bool, weight []cost) (path []int32, sum cost) {
	blocked := make([]bool, s.g.n())
	for _, v := range stops {
		blocked[v] = true
	}
	parts := make([][]int32, len(stops)-1)
	for n := range parts {
		i := n
		if backward {
			i = len(parts) - 1 - n
		}
		part, c := s.leg(stops[i], stops[i+1], blocked, weight)
		if part == nil {
			return nil, infinite
		}
		for _, a := range part {
			blocked[s.g.arcs[a].to] = true
		}
		parts[i], sum = part, sum.plus(c)
	}
	return slices.Concat(parts...), sum
}

// leg is a shortest path over nodes that are not blocked; nil for none.
func (s *search) leg(from, to int32, blocked []bool, weight []cost) (path []int32, c cost) {
	dist, prev := make([]cost, s.g.n()), make([]int32, s.g.n())
	for v := range dist {
		dist[v] = infinite
	}
	dist[from] = zero
	heap := costHeap{{zero, from}}
	for len(heap) > 0 {
		top := heap.pop()
		v := top.node
		if dist[v].less(top.key) {
			continue
		}
		a, end := s.g.out(v)
		s.budget -= 1 + int(end-a)/16
		if v == to {
			for v != from {
				path = append(path, prev[v])
				v = s.g.arcs[prev[v]].from
			}
			slices.Reverse(path)
			return path, dist[to]
		}
		for ; a < end; a++ {
			w := s.g.arcs[a].to
			if weight[a] == infinite || blocked[w] && w != to {
				continue
			}
			if d := dist[v].plus(weight[a]); d.less(dist[w]) {
				dist[w], prev[w] = d, a
				heap.push(d, w)
			}
		}
	}
	return nil, infinite
}
