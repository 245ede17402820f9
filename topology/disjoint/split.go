package disjoint

import "slices"

// parts takes a flow apart into paths.
type parts struct {
	s      *search
	left   []int32 // units of the flow not yet taken
	visit  []int32 // stamp by node, on the current path
	stamp  int32
	tries  int
	groups []group
	bound  cost
	paths  [][]int32 // complete, in the order of slots
	slots  []int     // group of each path
	got    split
}

// split is the best set of paths that a flow was taken apart into.
type split struct {
	found    bool
	cost     cost
	conflict uint64 // groups whose paths meet others in an SRLG
}

func newParts(s *search) *parts {
	return &parts{s: s, left: make([]int32, len(s.g.arcs)), visit: make([]int32, s.g.n())}
}

// splitTries bounds the search for the best way to take a flow apart, in arcs.
// It finds another set than the first only where paths cross; a set that is
// missed is found further down the tree.
const splitTries = 400

// split takes the flow apart into paths that continue the groups, are simple,
// distinct and allowed, and offers each set found as the best. It stops at the
// first set that costs no more than the bound.
func (p *parts) split(f *flow, groups []group, bound cost) split {
	copy(p.left, f.arcs)
	p.tries = splitTries * (p.s.k + 1)
	p.groups, p.bound, p.got = groups, bound, split{}
	p.paths, p.slots = p.paths[:0], p.slots[:0]
	for i := range groups {
		for range groups[i].n {
			p.slots = append(p.slots, i)
		}
	}
	p.unit(0)
	return p.got
}

// unit completes the paths from one slot on; it reports true to stop.
func (p *parts) unit(slot int) bool {
	if slot == len(p.slots) {
		return p.complete()
	}
	g := &p.groups[p.slots[slot]]
	if pr := p.s.pairs[g.pair]; int(g.end) == pr.to {
		if !p.s.passes(pr, g.arcs) || !p.s.near(g.arcs, p.paths) {
			return false
		}
		p.paths = append(p.paths, g.arcs)
		stop := p.unit(slot + 1)
		p.paths = p.paths[:slot]
		return stop
	}
	p.mark(g, g.arcs)
	return p.walk(slot, g, slices.Clone(g.arcs), g.end)
}

func (p *parts) walk(slot int, g *group, way []int32, at int32) bool {
	pr := p.s.pairs[g.pair]
	if int(at) == pr.to {
		// Equal units take paths in increasing order: no set is tried twice, and
		// the paths are distinct.
		if slot > 0 && p.slots[slot-1] == p.slots[slot] && comparePaths(p.paths[slot-1], way) >= 0 ||
			!p.s.passes(pr, way) || !p.s.near(way, p.paths) {
			return false
		}
		p.paths = append(p.paths, slices.Clone(way))
		stop := p.unit(slot + 1)
		p.paths = p.paths[:slot]
		// The visited marks of this walk were overwritten further down.
		p.mark(g, way)
		return stop
	}
	for a, end := p.s.g.out(at); a < end; a++ {
		to := p.s.g.arcs[a].to
		if p.left[a] == 0 || p.visit[to] == p.stamp {
			continue
		}
		if p.tries--; p.tries < 0 {
			return true
		}
		p.left[a]--
		p.visit[to] = p.stamp
		stop := p.walk(slot, g, append(way, a), to)
		p.left[a]++
		p.visit[to] = 0
		if stop {
			return true
		}
	}
	return false
}

// mark makes the nodes of a way those of the current path.
func (p *parts) mark(g *group, way []int32) {
	p.stamp++
	p.visit[p.s.pairs[g.pair].from] = p.stamp
	for _, a := range way {
		p.visit[p.s.g.arcs[a].to] = p.stamp
	}
}

func (p *parts) complete() bool {
	// Slots are in the order of groups, solutions in that of pairs.
	paths := make([][]int32, 0, len(p.paths))
	for i := range p.s.pairs {
		for s, gi := range p.slots {
			if p.groups[gi].pair == i {
				paths = append(paths, p.paths[s])
			}
		}
	}
	c := p.s.offer(paths)
	if !p.got.found || c.less(p.got.cost) {
		p.got.found, p.got.cost = true, c
		p.got.conflict = p.conflicts()
	}
	return !p.bound.less(c)
}

func (p *parts) conflicts() uint64 {
	if !p.s.level.srlgs() {
		return 0
	}
	by := map[int32]uint64{}
	for s, gi := range p.slots {
		for _, a := range p.paths[s] {
			for _, g := range p.s.g.srlgs[a] {
				by[g] |= 1 << min(gi, 63)
			}
		}
	}
	var all uint64
	for _, groups := range by {
		if groups&(groups-1) != 0 {
			all |= groups
		}
	}
	return all
}
