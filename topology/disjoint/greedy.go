package disjoint

import "time"

// greedy picks one path after the other, each the one that adds least to the set
// so far. It gives branch and bound something to beat, and an answer where that
// ends at its limit. In SRLGs it counts every link of a group, not the group
// once: that is an upper bound.
//
// It is never done, but certain when a pair has fewer paths than asked for.
func (s *search) greedy() (done bool, err error) {
	t := newTally(s)
	var paths [][]int32
	for _, p := range s.pairs {
		var own [][]int32
		weight := make([]cost, len(s.g.arcs))
		for range p.n {
			for a := range weight {
				weight[a] = t.weight(int32(a), p)
			}
			path, all := s.via(p, weight, own, paths), false
			if path == nil {
				path, all = s.nextAllowed(s.newYen(p.from, p.to, weight), p, own, paths)
			}
			if all {
				return true, s.tooFew(p, -1)
			}
			if path == nil {
				return false, nil
			}
			own = append(own, path)
			paths = append(paths, path)
			t.add(path)
		}
	}
	s.offer(paths)
	return false, nil
}

// weight is what a path of a pair pays at most for an arc and for the node that
// it enters by it.
func (t *tally) weight(a int32, p pair) cost {
	arc := &t.g.arcs[a]
	c := cost{share: t.extraUse(a), total: arc.cost}
	if int(arc.to) == p.from || int(arc.from) == p.to {
		return infinite
	}
	if v := arc.to; t.nodes && int(v) != p.to && (t.inner[v] > 0 || t.end[v]) {
		c.risk++
	}
	if t.srlgs {
		for _, g := range t.g.srlgs[a] {
			if t.groups[g] > 0 {
				c.risk++
			}
		}
	}
	return c
}

// nextAllowed takes paths from a generator until one is new and meets the
// constraints; all tells that there are no more.
func (s *search) nextAllowed(y *yen, p pair, own, set [][]int32) (path []int32, all bool) {
	for s.budget > 0 {
		path, _, ok := y.next()
		if !ok {
			// None is left because of the paths picked before only if the spread
			// forbade one: another choice may have allowed more.
			return nil, s.c.MaxDelaySpread == 0
		}
		if s.passes(p, path) && !contains(own, path) && s.near(path, set) {
			return path, false
		}
	}
	return nil, false
}

func contains(set [][]int32, path []int32) bool {
	for _, p := range set {
		if comparePaths(p, path) == 0 {
			return true
		}
	}
	return false
}

// near tells whether a path's delay differs from none of the set's by more than
// the allowed spread.
func (s *search) near(path []int32, set [][]int32) bool {
	if s.c.MaxDelaySpread <= 0 {
		return true
	}
	d := s.delayOf(path)
	for _, p := range set {
		if (d - s.delayOf(p)).Abs() > s.c.MaxDelaySpread {
			return false
		}
	}
	return true
}

func (s *search) delayOf(path []int32) time.Duration {
	var d time.Duration
	for _, a := range path {
		d += s.g.arcs[a].delay
	}
	return d
}

// offer takes a set of paths, in the order of the pairs, as the best if it is.
func (s *search) offer(paths [][]int32) cost {
	c := s.costOf(paths)
	if c.less(s.best.cost) {
		s.best.cost = c
		s.best.paths = append([][]int32(nil), paths...)
	}
	return c
}
