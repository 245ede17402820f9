package disjoint

import (
	"slices"
	"time"
)

// candidate is one path that may be part of the set.
type candidate struct {
	arcs  []int32
	cost  int64
	delay time.Duration
}

func (g *graph) candidate(arcs []int32) candidate {
	c := candidate{arcs: arcs}
	for _, a := range arcs {
		c.cost += g.arcs[a].cost
		c.delay += g.arcs[a].delay
	}
	return c
}

// compare orders candidates by cost, then by length, then by arcs.
func (c *candidate) compare(d *candidate) int {
	switch {
	case c.cost != d.cost && c.cost < d.cost:
		return -1
	case c.cost != d.cost:
		return 1
	case len(c.arcs) != len(d.arcs):
		return len(c.arcs) - len(d.arcs)
	}
	return slices.Compare(c.arcs, d.arcs)
}

// enumerate lists all simple paths of a pair that meet the constraints, sorted.
// It gives up (ok is false) when there are more than limit, or when the budget
// of steps is used up.
func (s *search) enumerate(p pair, limit int) (list []candidate, ok bool) {
	to := int32(p.to)
	onPath := make([]bool, s.g.n())
	var path []int32
	var delay time.Duration
	var walk func(v int32) bool
	walk = func(v int32) bool {
		if s.budget--; s.budget < 0 {
			return false
		}
		if v == to {
			if s.passes(p, path) {
				list = append(list, s.g.candidate(slices.Clone(path)))
			}
			return len(list) <= limit
		}
		if s.c.MaxHops > 0 && len(path)+s.hopsTo(to)[v] > s.c.MaxHops ||
			s.c.MaxDelay > 0 && delay+s.delayTo(to)[v] > s.c.MaxDelay {
			return true
		}
		onPath[v] = true
		defer func() { onPath[v] = false }()
		for a, end := s.g.out(v); a < end; a++ {
			arc := &s.g.arcs[a]
			if onPath[arc.to] || s.hopsTo(to)[arc.to] < 0 {
				continue
			}
			path = append(path, a)
			delay += arc.delay
			ok := walk(arc.to)
			path = path[:len(path)-1]
			delay -= arc.delay
			if !ok {
				return false
			}
		}
		return true
	}
	if s.hopsTo(to)[p.from] < 0 {
		return nil, true
	}
	ok = walk(int32(p.from))
	slices.SortFunc(list, func(a, b candidate) int { return a.compare(&b) })
	return list, ok
}

// passes tells whether a complete path meets the constraints on single paths.
func (s *search) passes(p pair, path []int32) bool {
	var delay time.Duration
	for _, a := range path {
		delay += s.g.arcs[a].delay
	}
	if s.c.MaxHops > 0 && len(path) > s.c.MaxHops || s.c.MaxDelay > 0 && delay > s.c.MaxDelay {
		return false
	}
	for _, r := range s.require {
		if r != p.from && r != p.to && !slices.ContainsFunc(path, func(a int32) bool { return int(s.g.arcs[a].to) == r }) {
			return false
		}
	}
	return true
}

// choose finds the best set of candidates, as many of each class as its pair
// asks for, by depth-first branch and bound. What a path adds to a set never
// falls when the set grows (extra uses only become more), so that the sum of the
// smallest additions to the set so far bounds every completion from below.
//
// It improves s.best and reports whether the search was complete.
func (s *search) choose(lists [][]candidate) bool {
	c := &chooser{search: s, lists: lists, tally: newTally(s)}
	for i, p := range s.pairs {
		for range p.n {
			c.class = append(c.class, i)
		}
	}
	c.picked = make([]int, len(c.class))
	return c.descend(0, zero)
}

type chooser struct {
	*search
	lists  [][]candidate
	tally  *tally
	class  []int // class of each position in the set
	picked []int // index in its class's list of each position
}

// addition is what one more candidate would add to the set.
type addition struct {
	index int
	cost  cost
}

func (c *chooser) descend(depth int, so cost) bool {
	if depth == len(c.class) {
		if so.less(c.best.cost) {
			c.record(so)
		}
		return true
	}
	class := c.class[depth]
	from := 0
	if depth > 0 && c.class[depth-1] == class {
		from = c.picked[depth-1] + 1
	}
	adds := make([]addition, 0, len(c.lists[class])-from)
	for i := from; i < len(c.lists[class]); i++ {
		adds = append(adds, addition{i, c.tally.marginal(c.lists[class][i].arcs)})
	}
	c.budget -= len(adds)
	bound := c.boundOthers(depth)
	if c.budget < 0 {
		return false
	}
	r := 1 // positions still to fill from this class
	for depth+r < len(c.class) && c.class[depth+r] == class {
		r++
	}
	// Positions are filled in the order of the list, so a first pick at i is
	// completed from those after i: bound by the r-1 smallest of these.
	least := make([]cost, 0, r)
	rest := make([]cost, len(adds)) // sum of the r-1 smallest additions after i
	for i := len(adds) - 1; i >= 0; i-- {
		rest[i] = infinite
		if len(least) >= r-1 {
			rest[i] = zero
			for _, l := range least[:r-1] {
				rest[i] = rest[i].plus(l)
			}
		}
		at, _ := slices.BinarySearchFunc(least, adds[i].cost, func(a, b cost) int {
			if a.less(b) {
				return -1
			}
			return 1
		})
		if at < r {
			least = slices.Insert(least, at, adds[i].cost)
			least = least[:min(len(least), r)]
		}
	}
	order := make([]int, len(adds))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		a, b := adds[x].cost.plus(rest[x]), adds[y].cost.plus(rest[y])
		if a.less(b) {
			return -1
		} else if b.less(a) {
			return 1
		}
		return 0
	})
	for _, i := range order {
		if rest[i] == infinite || !so.plus(adds[i].cost).plus(rest[i]).plus(bound).less(c.best.cost) {
			break // sorted by this bound
		}
		cand := &c.lists[class][adds[i].index]
		if !c.near(depth, cand) {
			continue
		}
		c.picked[depth] = adds[i].index
		c.tally.add(cand.arcs)
		ok := c.descend(depth+1, so.plus(adds[i].cost))
		c.tally.remove(cand.arcs)
		if !ok {
			return false
		}
	}
	return true
}

// boundOthers is a lower bound of what the classes after the one at depth add.
func (c *chooser) boundOthers(depth int) cost {
	sum := zero
	class := c.class[depth]
	for i := class + 1; i < len(c.lists); i++ {
		n := c.pairs[i].n
		if len(c.lists[i]) < n {
			return infinite
		}
		c.budget -= len(c.lists[i])
		least := make([]cost, 0, n+1)
		for j := range c.lists[i] {
			m := c.tally.marginal(c.lists[i][j].arcs)
			at, _ := slices.BinarySearchFunc(least, m, func(a, b cost) int {
				if a.less(b) {
					return -1
				}
				return 1
			})
			if at < n {
				least = slices.Insert(least, at, m)
				least = least[:min(len(least), n)]
			}
		}
		for _, l := range least {
			sum = sum.plus(l)
		}
	}
	return sum
}

// near tells whether a candidate's delay is within the allowed spread of those
// picked before.
func (c *chooser) near(depth int, cand *candidate) bool {
	if c.c.MaxDelaySpread <= 0 {
		return true
	}
	for d := range depth {
		o := &c.lists[c.class[d]][c.picked[d]]
		if (o.delay - cand.delay).Abs() > c.c.MaxDelaySpread {
			return false
		}
	}
	return true
}

func (c *chooser) record(so cost) {
	c.best.cost = so
	c.best.paths = c.best.paths[:0]
	for d, class := range c.class {
		c.best.paths = append(c.best.paths, c.lists[class][c.picked[d]].arcs)
	}
}
