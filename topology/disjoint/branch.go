package disjoint

import (
	"container/heap"
	"slices"
)

// group is a number of units of one pair that have come the same way so far.
type group struct {
	pair int
	n    int
	arcs []int32 // the way
	end  int32
}

// bnode is a node of the search tree: the sets of paths that begin as its groups
// say. Groups of one pair always differ in their way, and none is the beginning
// of another, so that paths of different groups are distinct.
type bnode struct {
	bound  cost
	groups []group
	branch int // the group to extend
	seq    int
}

type bqueue []*bnode

func (q bqueue) Len() int { return len(q) }
func (q bqueue) Less(i, j int) bool {
	if q[i].bound != q[j].bound {
		return q[i].bound.less(q[j].bound)
	}
	return q[i].seq > q[j].seq // deeper first
}
func (q bqueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *bqueue) Push(x any)   { *q = append(*q, x.(*bnode)) }
func (q *bqueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return x
}

// brancher searches the sets of paths best first. A node's bound is the cost of
// what its groups have in common already plus that of the cheapest flow that
// completes them. Where the flow falls apart into distinct, allowed paths that
// cost no more, the node is solved; else one of its groups is extended by a link
// in every possible way.
type brancher struct {
	*search
	f     *flow
	tally *tally
	queue bqueue
	seq   int

	onWay  []int32 // stamp by node: on the way of the group looked at
	poison []int32 // by arc: groups of units for which it would add an SRLG risk
	stamp  int32
	parts  *parts
}

func newBrancher(s *search) *brancher {
	return &brancher{
		search: s, f: newFlow(s), tally: newTally(s), parts: newParts(s),
		onWay: make([]int32, s.g.n()), poison: make([]int32, len(s.g.arcs)),
	}
}

// solved gives the cost of the cheapest flow, and tells whether that alone gives
// the best set.
func (b *brancher) solved() (bound cost, ok bool) {
	bound, ok = b.relax(b.root())
	if !ok {
		return zero, false
	}
	got := b.parts.split(b.f, b.root(), bound)
	return bound, got.found && !bound.less(got.cost)
}

// run improves s.best and reports whether it proved it the best.
func (b *brancher) run() bool {
	b.push(b.root())
	for len(b.queue) > 0 {
		n := heap.Pop(&b.queue).(*bnode)
		if !n.bound.less(b.best.cost) {
			return true
		}
		b.extend(n)
		if b.budget < 0 {
			return false
		}
	}
	return true
}

func (s *search) root() []group {
	var gs []group
	for i, p := range s.pairs {
		gs = append(gs, group{pair: i, n: p.n, end: int32(p.from)})
	}
	return gs
}

// extend pushes the children of a node: all ways in which the units of one group
// may spread over the links out of the node that it has reached.
func (b *brancher) extend(n *bnode) {
	g := &n.groups[n.branch]
	p := b.pairs[g.pair]
	b.stamp++
	b.markWay(g)
	var arcs []int32
	for a, end := b.g.out(g.end); a < end; a++ {
		to := b.g.arcs[a].to
		if b.onWay[to] != b.stamp && b.hopsTo(int32(p.to))[to] >= 0 {
			arcs = append(arcs, a)
		}
	}
	rest := slices.Delete(slices.Clone(n.groups), n.branch, n.branch+1)
	var spread func(i, left int, groups []group)
	spread = func(i, left int, groups []group) {
		if b.budget < 0 {
			return
		}
		if left == 0 {
			b.push(groups)
			return
		}
		if i == len(arcs) {
			return
		}
		to := b.g.arcs[arcs[i]].to
		most := left
		if int(to) == p.to { // two that end the same way would be one path
			most = 1
		}
		for m := most; m >= 1; m-- {
			child := group{pair: g.pair, n: m, end: to, arcs: append(slices.Clip(g.arcs), arcs[i])}
			spread(i+1, left-m, append(slices.Clip(groups), child))
		}
		spread(i+1, left, groups)
	}
	spread(0, g.n, rest)
}

// markWay stamps the nodes of a group's way, its end included.
func (b *brancher) markWay(g *group) {
	b.onWay[b.pairs[g.pair].from] = b.stamp
	for _, a := range g.arcs {
		b.onWay[b.g.arcs[a].to] = b.stamp
	}
}

func (b *brancher) finished(g *group) bool { return int(g.end) == b.pairs[g.pair].to }

// push bounds a node, takes its solution if the flow gives one, and queues it
// unless it is solved or cannot beat the best.
func (b *brancher) push(groups []group) {
	bound, ok := b.relax(groups)
	if !ok || !bound.less(b.best.cost) {
		return
	}
	got := b.parts.split(b.f, groups, bound)
	if got.found && !bound.less(got.cost) {
		return // solved
	}
	branch := b.choose(groups, got)
	if branch < 0 {
		return
	}
	b.seq++
	heap.Push(&b.queue, &bnode{bound: bound, groups: groups, branch: branch, seq: b.seq})
}

// choose picks the group to extend: first those whose units still go together,
// then the one that has come the shortest way, of those that meet another in an
// SRLG if any do.
func (b *brancher) choose(groups []group, got split) int {
	best, rank := -1, 0
	for i := range groups {
		g := &groups[i]
		if b.finished(g) {
			continue
		}
		r := 1 + 1000*g.n - len(g.arcs)
		if g.n > 1 {
			r += 1 << 24
		} else if got.found && got.conflict&(1<<min(i, 63)) != 0 {
			r += 1 << 22
		}
		if best < 0 || r > rank {
			best, rank = i, r
		}
	}
	return best
}

// relax sets the flow up for what is open and gives a lower bound; ok is false if
// there is no completion, or none that beats the best.
func (b *brancher) relax(groups []group) (bound cost, ok bool) {
	b.budget -= 5
	fixed := zero
	for i := range groups {
		g := &groups[i]
		for range g.n {
			fixed = fixed.plus(b.tally.marginal(g.arcs))
			b.tally.add(g.arcs)
		}
	}
	defer func() {
		for i := range groups {
			for range groups[i].n {
				b.tally.remove(groups[i].arcs)
			}
		}
	}()
	// The tally counts inner nodes of complete paths only: the last node of an
	// unfinished way is one too.
	for i := range groups {
		g := &groups[i]
		if b.finished(g) || len(g.arcs) == 0 {
			continue
		}
		for range g.n {
			if b.tally.nodes && (b.tally.inner[g.end] > 0 || b.tally.end[g.end]) {
				fixed.risk++
			}
			b.tally.inner[g.end]++
		}
	}
	defer func() {
		for i := range groups {
			if g := &groups[i]; !b.finished(g) && len(g.arcs) > 0 {
				b.tally.inner[g.end] -= int32(g.n)
			}
		}
	}()
	if !fixed.less(b.best.cost) {
		return zero, false
	}
	f := b.f
	f.reset()
	open := b.open(groups)
	if open < 0 {
		return zero, false
	}
	for v := range f.nodeUsed {
		f.nodeUsed[v] = b.tally.inner[v] > 0 || b.tally.end[v]
		f.blocked[v] = f.blocked[v] || b.passedByAll(int32(v))
	}
	if b.tally.links {
		for i := range groups {
			for _, a := range groups[i].arcs {
				f.used[a] = b.tally.extraUse(a)
				if t := b.g.twin[a]; t >= 0 {
					f.used[t] = b.tally.extraUse(t)
				}
			}
		}
	}
	if b.tally.srlgs {
		more, ok := b.srlgRisk(groups, open, fixed)
		if !ok {
			return zero, false
		}
		fixed.risk += more
	}
	if open == 0 {
		return fixed, true
	}
	c, ok := f.send(b.best.cost.minus(fixed))
	if !ok {
		return zero, false
	}
	return fixed.plus(c), true
}

// passedByAll tells that a node is an end of all pairs.
func (b *brancher) passedByAll(v int32) bool {
	source, target := true, true
	for _, p := range b.pairs {
		source = source && p.from == int(v)
		target = target && p.to == int(v)
	}
	return source || target
}

// open gives supply and demand to the flow for what is unfinished, blocks the
// nodes that all of it has passed, and counts its groups; -1 if one of them can
// no longer meet the constraints.
func (b *brancher) open(groups []group) int {
	open := 0
	for i := range groups {
		g := &groups[i]
		if b.finished(g) {
			continue
		}
		open++
		to := b.pairs[g.pair].to
		b.f.supply[g.end] += int32(g.n)
		b.f.demand[to] += int32(g.n)
		if b.c.MaxHops > 0 && len(g.arcs)+b.hopsTo(int32(to))[g.end] > b.c.MaxHops {
			return -1
		}
		if b.c.MaxDelay > 0 && b.delayOf(g.arcs)+b.delayTo(int32(to))[g.end] > b.c.MaxDelay {
			return -1
		}
	}
	if open == 0 {
		return 0
	}
	passed := make(map[int32]int)
	for i := range groups {
		g := &groups[i]
		if b.finished(g) {
			continue
		}
		passed[int32(b.pairs[g.pair].from)]++
		for _, a := range g.arcs {
			passed[b.g.arcs[a].to]++
		}
	}
	for v, n := range passed {
		if n == open {
			b.f.blocked[v] = true
		}
	}
	return open
}

// srlgRisk bounds from below what the unfinished groups will add in SRLGs: a unit
// that has no way left around the SRLGs of the others adds one. When the best
// allows no more risk, what would add it for all of the open groups is closed.
func (b *brancher) srlgRisk(groups []group, open int, fixed cost) (more int64, ok bool) {
	if open == 0 {
		return 0, true
	}
	clear(b.poison)
	own := make([]bool, len(b.g.srlgIDs))
	for i := range groups {
		g := &groups[i]
		if b.finished(g) {
			continue
		}
		clear(own)
		for _, a := range g.arcs {
			for _, s := range b.g.srlgs[a] {
				own[s] = true
			}
		}
		bad := func(a int32) bool {
			return slices.ContainsFunc(b.g.srlgs[a], func(s int32) bool { return !own[s] && b.tally.groups[s] > 0 })
		}
		if !b.reaches(g, bad) {
			more += int64(g.n)
		}
	}
	if best := b.best.cost.risk; fixed.risk+more > best {
		return 0, false
	} else if fixed.risk+more == best {
		for a, n := range b.poison {
			if int(n) == open && more == 0 {
				b.f.dead[a] = true
			}
		}
	}
	return more, true
}

// reaches tells whether a group can reach its target without bad arcs, and counts
// these in b.poison.
func (b *brancher) reaches(g *group, bad func(int32) bool) bool {
	for a := range b.poison {
		if bad(int32(a)) {
			b.poison[a]++
		}
	}
	b.stamp++
	b.markWay(g)
	to := int32(b.pairs[g.pair].to)
	queue := []int32{g.end}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		b.budget--
		if v == to {
			return true
		}
		for a, end := b.g.out(v); a < end; a++ {
			if w := b.g.arcs[a].to; b.onWay[w] != b.stamp && !bad(a) {
				b.onWay[w] = b.stamp
				queue = append(queue, w)
			}
		}
	}
	return false
}
