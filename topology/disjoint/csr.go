package disjoint

import "slices"

// csr is a directed graph as arrays (compressed sparse rows), made for many
// searches. Nodes are renumbered so that neighbours lie near each other in
// memory. What no pair of disjoint paths can use is left out.
type csr struct {
	first []int32 // arcs out of v are out[first[v]:first[v+1]]
	out   []csrArc
	inAt  []int32 // likewise in[inAt[v]:inAt[v+1]]
	in    []csrIn
	tail  []int32 // node that an arc leaves
	node  []int32 // graph node -> csr node
	part  []int32 // csr node -> 2-edge-connected component
	even  bool    // every arc has a twin of equal cost
}

type csrArc struct {
	to   int32
	arc  int32 // index in graph.arcs
	cost int64
}

type csrIn struct {
	from int32
	at   int32 // index in out
}

// newCSR leaves out the bridges of the graph: of two paths that share no link
// neither crosses a bridge, for it would have to come back by it or the other
// would have to use it too.
func newCSR(g *graph) *csr {
	n := g.n()
	bridge := bridges(g)
	c := &csr{first: make([]int32, n+1), inAt: make([]int32, n+1), node: make([]int32, n), part: make([]int32, n), even: true}
	order := make([]int32, 0, n) // breadth first, component by component
	for v := range c.node {
		c.node[v] = -1
	}
	for root := range n {
		if c.node[root] >= 0 {
			continue
		}
		part := int32(len(order))
		c.node[root] = int32(len(order))
		order = append(order, int32(root))
		for i := int(part); i < len(order); i++ {
			c.part[i] = part
			g.incident(order[i], func(a, to int32) {
				if !bridge[g.arcs[a].risk] && c.node[to] < 0 {
					c.node[to] = int32(len(order))
					order = append(order, to)
				}
			})
		}
	}
	for i, v := range order {
		for a, end := g.out(v); a < end; a++ {
			arc := &g.arcs[a]
			if bridge[arc.risk] {
				continue
			}
			c.out = append(c.out, csrArc{c.node[arc.to], a, arc.cost})
			c.tail = append(c.tail, int32(i))
			if t := g.twin[a]; t < 0 || g.arcs[t].cost != arc.cost {
				c.even = false
			}
		}
		c.first[i+1] = int32(len(c.out))
	}
	for i := range c.out {
		c.inAt[c.out[i].to+1]++
	}
	for v := range n {
		c.inAt[v+1] += c.inAt[v]
	}
	c.in = make([]csrIn, len(c.out))
	fill := slices.Clone(c.inAt)
	for i := range c.out {
		to := c.out[i].to
		c.in[fill[to]] = csrIn{c.tail[i], int32(i)}
		fill[to]++
	}
	return c
}

// incident visits the arcs at a node, those that leave it and those that enter.
func (g *graph) incident(v int32, visit func(arc, other int32)) {
	for a, end := g.out(v); a < end; a++ {
		visit(a, g.arcs[a].to)
	}
	for _, a := range g.in[v] {
		visit(a, g.arcs[a].from)
	}
}

// bridges finds, by depth-first search with low points (Tarjan 1974), the links
// without which the graph, its directions left aside, falls apart.
func bridges(g *graph) []bool {
	n := g.n()
	bridge := make([]bool, g.risks)
	pre, low := make([]int32, n), make([]int32, n)
	type frame struct {
		v    int32
		by   int32 // risk by which v was reached
		arcs []int32
	}
	count := int32(0)
	var stack []frame
	enter := func(v, by int32) {
		count++
		pre[v], low[v] = count, count
		f := frame{v: v, by: by}
		g.incident(v, func(a, _ int32) { f.arcs = append(f.arcs, a) })
		stack = append(stack, f)
	}
	for root := range n {
		if pre[root] != 0 {
			continue
		}
		enter(int32(root), -1)
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if len(f.arcs) == 0 {
				v, by := f.v, f.by
				stack = stack[:len(stack)-1]
				if len(stack) > 0 {
					up := stack[len(stack)-1].v
					low[up] = min(low[up], low[v])
					bridge[by] = bridge[by] || low[v] == pre[v]
				}
				continue
			}
			a := &g.arcs[f.arcs[0]]
			f.arcs = f.arcs[1:]
			to := a.to + a.from - f.v
			switch {
			case a.risk == f.by:
			case pre[to] == 0:
				enter(to, a.risk)
			default:
				low[f.v] = min(low[f.v], pre[to])
			}
		}
	}
	return bridge
}
