package plan

import (
	"math"

	"mpbox/topology/disjoint"
)

// Bounds of path enumeration. Up to allPaths paths of a pair all are looked at:
// then what is found is optimal. Beyond, only the cheapest keepPaths are, and
// those that path search adds.
const (
	allPaths  = 300
	keepPaths = 24
	// maxPathPop bounds the partial paths looked at, in small and in large networks.
	maxPathPop, maxPathPopLarge = 6000, 1500
)

const unreachable = math.MaxInt64

// pathItem is a partial path in the best-first search: a chain of arcs.
type pathItem struct {
	g, f   int64
	arc    int32 // last arc; -1 at the start
	parent int32 // index into search.items; -1 at the start
	at     int32
	hops   int32
}

// search enumerates the loop-free paths of a pair in the order of cost (A* on
// partial paths, with the distance to the end as the bound).
type search struct {
	n     *network
	items []pathItem
	heap  []int32 // indexes into items
}

// start clears s for a search in n.
func (s *search) start(n *network) {
	s.n, s.items, s.heap = n, s.items[:0], s.heap[:0]
}

func (s *search) less(i, j int32) bool {
	a, b := &s.items[i], &s.items[j]
	if a.f != b.f {
		return a.f < b.f
	}
	if a.hops != b.hops {
		return a.hops < b.hops
	}
	return i < j
}

func (s *search) push(it pathItem) {
	s.items = append(s.items, it)
	s.heap = append(s.heap, int32(len(s.items)-1))
	for i := len(s.heap) - 1; i > 0; {
		p := (i - 1) / 2
		if !s.less(s.heap[i], s.heap[p]) {
			break
		}
		s.heap[i], s.heap[p] = s.heap[p], s.heap[i]
		i = p
	}
}

func (s *search) pop() int32 {
	top := s.heap[0]
	last := len(s.heap) - 1
	s.heap[0] = s.heap[last]
	s.heap = s.heap[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && s.less(s.heap[c+1], s.heap[c]) {
			c++
		}
		if !s.less(s.heap[c], s.heap[i]) {
			break
		}
		s.heap[i], s.heap[c] = s.heap[c], s.heap[i]
		i = c
	}
	return top
}

// visits tells whether a partial path passes a node.
func (s *search) visits(i int32, node int32) bool {
	for ; i >= 0; i = s.items[i].parent {
		if s.items[i].at == node {
			return true
		}
	}
	return false
}

// filter decides which arcs and inner nodes a path may use, and what counts as its
// cost. The zero value of its masks forbids nothing.
type filter struct {
	c      *disjoint.Constraints
	metric disjoint.Metric
	forbid []uint64 // route bits that must not be touched; may be nil
}

func (n *network) passes(f filter, ai int32) bool {
	a := &n.arcs[ai]
	if !n.allows(a, f.c) {
		return false
	}
	if f.c.Bandwidth > 0 && n.bandwidthFree(ai, f.c.Priority) < f.c.Bandwidth {
		return false
	}
	if f.forbid == nil {
		return true
	}
	if hasBit(f.forbid, int(a.link)) {
		return false
	}
	for _, s := range a.srlgs {
		if hasBit(f.forbid[n.srlgAt:], int(s)) {
			return false
		}
	}
	return true
}

// nodeMask gives the nodes that no path may pass. It holds until the next call.
func (n *network) nodeMask(f filter) []uint64 {
	if n.mask == nil {
		n.mask = make([]uint64, wordsFor(len(n.out)))
	}
	m := n.mask
	clear(m)
	if f.forbid != nil {
		copy(m, f.forbid[n.allAt:])
	}
	for _, name := range f.c.AvoidNodes {
		if i, ok := n.ted.NodeIndex(name); ok {
			setBit(m, i)
		}
	}
	return m
}

// distances gives the cost from each node to one, over arcs that f lets pass and
// inner nodes that are not masked. It holds until the next call.
func (n *network) distances(to int32, f filter, mask []uint64) []int64 {
	if n.dist == nil {
		n.dist = make([]int64, len(n.out))
	}
	dist := n.dist
	for i := range dist {
		dist[i] = unreachable
	}
	dist[to] = 0
	s := &n.tree
	s.start(n)
	s.push(pathItem{at: to})
	for len(s.heap) > 0 {
		it := s.items[s.pop()]
		if it.f > dist[it.at] || (it.at != to && hasBit(mask, int(it.at))) {
			continue
		}
		for _, ai := range n.in[it.at] {
			a := &n.arcs[ai]
			if d := it.f + a.cost[f.metric]; d < dist[a.from] && n.passes(f, ai) {
				dist[a.from] = d
				s.push(pathItem{at: a.from, f: d})
			}
		}
	}
	return dist
}

// paths gives up to limit cheapest paths of a pair that meet the constraints, and
// whether these are all there are.
func (n *network) paths(from, to int32, f filter, limit int) (found []*route, all bool) {
	mask := n.nodeMask(f)
	return n.pathsTowards(from, to, f, limit, mask, n.distances(to, f, mask))
}

func (n *network) pathsTowards(from, to int32, f filter, limit int, mask []uint64, dist []int64) (found []*route, all bool) {
	if from == to || dist[from] == unreachable {
		return nil, true
	}
	s := &n.walk
	s.start(n)
	s.push(pathItem{at: from, f: dist[from], arc: -1, parent: -1})
	var arcs []int32
	limitPop := maxPathPopLarge
	if n.small() {
		limitPop = maxPathPop
	}
	for pops := 0; len(s.heap) > 0; pops++ {
		if pops >= limitPop || len(found) >= limit {
			return found, false
		}
		i := s.pop()
		it := s.items[i]
		if it.at == to {
			arcs = arcs[:0]
			for j := i; s.items[j].arc >= 0; j = s.items[j].parent {
				arcs = append(arcs, s.items[j].arc)
			}
			for l, r := 0, len(arcs)-1; l < r; l, r = l+1, r-1 {
				arcs[l], arcs[r] = arcs[r], arcs[l]
			}
			if r := n.intern(from, arcs); n.pathFits(r, f.c) {
				found = append(found, r)
			}
			continue
		}
		if f.c.MaxHops > 0 && int(it.hops) >= f.c.MaxHops {
			continue
		}
		for _, ai := range n.out[it.at] {
			a := &n.arcs[ai]
			if dist[a.to] == unreachable || (a.to != to && hasBit(mask, int(a.to))) || !n.passes(f, ai) || s.visits(i, a.to) {
				continue
			}
			g := it.g + a.cost[f.metric]
			s.push(pathItem{g: g, f: g + dist[a.to], arc: ai, parent: i, at: a.to, hops: it.hops + 1})
		}
	}
	return found, true
}
