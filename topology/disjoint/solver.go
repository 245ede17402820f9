package disjoint

import (
	"errors"
	"slices"

	"mpbox/topology"
)

// Solver finds the cheapest pairs of link-disjoint paths of one snapshot, for
// many sources and targets: what a redesign of a whole network asks. It keeps
// the arrays of its searches and the shortest path tree of the last source, and
// allocates nothing after its first queries. One goroutine uses it at a time.
//
// Where a pair of nodes has no link-disjoint pair of paths it says so; Find then
// finds the pair of paths that shares least.
type Solver struct {
	g      *graph
	c      *csr
	marks  *landmarks
	forest *forest
	goal   *goal

	one, two []int
	order    []int32 // positions of a batch by source
	count    []int32
	back     []int32
}

// Pair is a pair of link-disjoint paths: indexes into TED.Links in order. The
// slices are the solver's and hold until its next query.
type Pair struct {
	One, Two []int
	Cost     int64
}

// NewSolver prepares a solver. Of the constraints only those on single links are
// known to it; others are refused.
func NewSolver(t *topology.TED, m Metric, c Constraints) (*Solver, error) {
	if c.onPaths() {
		return nil, errors.New("prepare solver: constraints on whole paths: ask Find")
	}
	g, err := newGraph(t, m, &c, 2)
	if err != nil {
		return nil, err
	}
	s := &Solver{g: g, c: newCSR(g)}
	s.marks = newLandmarks(s.c, landmarkNodes)
	s.forest = newForest(s.c)
	s.goal = newGoal(s.c, s.marks)
	s.count = make([]int32, g.n()+1)
	return s, nil
}

// Pair finds the cheapest pair for one source and target, node indexes of the
// TED; ok is false if there is none.
func (s *Solver) Pair(from, to int) (p Pair, ok bool) {
	if from == to {
		return Pair{}, false
	}
	return s.pair(s.c.node[from], s.c.node[to], s.forest.source == s.c.node[from])
}

// treeTargets is how many targets of one source make the tree to all of them
// cheaper than a search for each: measured on networks of 20 to 1,000 nodes.
const treeTargets = 5

// Each finds the pairs for many sources and targets, grouped by source, and
// calls visit for each with its position in the list.
func (s *Solver) Each(pairs [][2]int, visit func(i int, p Pair, ok bool)) {
	s.sort(pairs)
	for i := 0; i < len(s.order); {
		from := pairs[s.order[i]][0]
		j := i + 1
		for j < len(s.order) && pairs[s.order[j]][0] == from {
			j++
		}
		tree := j-i >= treeTargets
		for ; i < j; i++ {
			at := int(s.order[i])
			if to := pairs[at][1]; to != from {
				p, ok := s.pair(s.c.node[from], s.c.node[to], tree)
				visit(at, p, ok)
			} else {
				visit(at, Pair{}, false)
			}
		}
	}
}

// Forget drops what the solver knows of the last source. Answers do not change.
func (s *Solver) Forget() { s.forest.source = -1 }

// sort orders the positions of a batch by source: counting sort.
func (s *Solver) sort(pairs [][2]int) {
	clear(s.count)
	for _, p := range pairs {
		s.count[p[0]+1]++
	}
	for v := range len(s.count) - 1 {
		s.count[v+1] += s.count[v]
	}
	if cap(s.order) < len(pairs) {
		s.order = make([]int32, len(pairs))
	}
	s.order = s.order[:len(pairs)]
	for i, p := range pairs {
		s.order[s.count[p[0]]] = int32(i)
		s.count[p[0]]++
	}
}

func (s *Solver) pair(from, to int32, tree bool) (p Pair, ok bool) {
	if s.c.part[from] != s.c.part[to] {
		return Pair{}, false
	}
	if tree {
		if s.forest.source != from {
			s.forest.grow(from)
		}
		if !s.forest.reach(to) {
			return Pair{}, false
		}
		return s.links(s.forest.pair(to, s.back[:0])), true
	}
	if !s.goal.find(from, to) {
		return Pair{}, false
	}
	return s.links(s.goal.pair(from, to, s.back[:0])), true
}

// links turns both paths round and into links of the TED.
func (s *Solver) links(back []int32, n int, cost int64) Pair {
	s.back = back
	s.one = s.turn(s.one[:0], back[:n])
	s.two = s.turn(s.two[:0], back[n:])
	return Pair{One: s.one, Two: s.two, Cost: cost}
}

func (s *Solver) turn(to []int, back []int32) []int {
	to = slices.Grow(to, len(back))
	for i := len(back) - 1; i >= 0; i-- {
		to = append(to, int(s.g.arcs[s.c.out[back[i]].arc].link))
	}
	return to
}
