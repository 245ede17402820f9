package disjoint

// tally counts how often the paths of a set use each link, inner node and SRLG,
// and tells what one more path would add to the set's cost.
type tally struct {
	g            *graph
	nodes, srlgs bool    // whether these count as risks
	links        bool    // whether extra uses of links count
	arcs         []int32 // uses by arc
	inner        []int32 // uses by inner node
	groups       []int32 // uses by SRLG
	end          []bool  // ends of any pair: passing one shares it
	seen         []int32 // stamp by SRLG: a path uses it once
	stamp        int32
}

func newTally(s *search) *tally {
	t := &tally{
		g: s.g, nodes: s.level.nodes(), srlgs: s.level.srlgs(), links: s.level != None,
		arcs: make([]int32, len(s.g.arcs)), inner: make([]int32, s.g.n()), end: make([]bool, s.g.n()),
		groups: make([]int32, len(s.g.srlgIDs)), seen: make([]int32, len(s.g.srlgIDs)),
	}
	for _, p := range s.pairs {
		t.end[p.from], t.end[p.to] = true, true
	}
	return t
}

// marginal is what a path adds to the cost of the set.
func (t *tally) marginal(path []int32) cost {
	var c cost
	t.stamp++
	for i, a := range path {
		c.total += t.g.arcs[a].cost
		c.share += t.extraUse(a)
		if t.nodes && i > 0 {
			if v := t.g.arcs[a].from; t.inner[v] > 0 || t.end[v] {
				c.risk++
			}
		}
		if t.srlgs {
			for _, g := range t.g.srlgs[a] {
				if t.seen[g] != t.stamp {
					t.seen[g] = t.stamp
					if t.groups[g] > 0 {
						c.risk++
					}
				}
			}
		}
	}
	return c
}

// extraUse is what one more use of an arc adds to the share of its link: the sum
// of all uses' costs less the dearest one (directions may differ in cost).
func (t *tally) extraUse(a int32) int64 {
	if !t.links {
		return 0
	}
	var most int64 = -1
	if t.arcs[a] > 0 {
		most = t.g.arcs[a].share
	}
	if b := t.g.twin[a]; b >= 0 && t.arcs[b] > 0 {
		most = max(most, t.g.arcs[b].share)
	}
	return max(0, min(most, t.g.arcs[a].share))
}

func (t *tally) add(path []int32)    { t.count(path, 1) }
func (t *tally) remove(path []int32) { t.count(path, -1) }

func (t *tally) count(path []int32, by int32) {
	t.stamp++
	for i, a := range path {
		t.arcs[a] += by
		if i > 0 {
			t.inner[t.g.arcs[a].from] += by
		}
		for _, g := range t.g.srlgs[a] {
			if t.seen[g] != t.stamp {
				t.seen[g] = t.stamp
				t.groups[g] += by
			}
		}
	}
}

// costOf is the cost of a whole set.
func (s *search) costOf(paths [][]int32) cost {
	t := newTally(s)
	sum := zero
	for _, p := range paths {
		sum = sum.plus(t.marginal(p))
		t.add(p)
	}
	return sum
}
