package disjoint

import (
	"fmt"
	"slices"
	"time"

	"mpbox/topology"
)

// Find answers a query on a snapshot. It is a pure function: equal questions
// have equal answers. Errors are of kind ErrTooFew, ErrStrict and ErrEffort, or
// name what is wrong with the query.
func Find(t *topology.TED, q Query) (Result, error) {
	s, err := newSearch(t, &q)
	if err != nil {
		return Result{}, err
	}
	if err := s.run(); err != nil {
		return Result{}, err
	}
	r := s.result(&q)
	if q.Strict && r.Achieved < q.Level {
		return Result{}, s.strictError(&q, &r)
	}
	return r, nil
}

// search is one query at work.
type search struct {
	g       *graph
	c       *Constraints
	pairs   []pair
	k       int
	level   Level
	require []int
	budget  int

	best  solution
	exact bool

	only method // for tests: each method on its own

	hops   map[int32][]int
	delays map[int32][]time.Duration
}

// method of the search, where it is not free to choose.
type method uint8

const (
	onlySets method = 1 + iota
	onlyBranch
	onlyConflicts
)

// solution is a set of paths; its cost is infinite while there is none.
type solution struct {
	paths [][]int32 // arcs, in the order of the pairs
	cost  cost
}

func newSearch(t *topology.TED, q *Query) (*search, error) {
	pairs, err := q.pairs(t)
	if err != nil {
		return nil, err
	}
	s := &search{c: &q.Constraints, pairs: pairs, level: q.Level, budget: q.Effort, hops: map[int32][]int{}, delays: map[int32][]time.Duration{}}
	if s.budget <= 0 {
		s.budget = DefaultEffort
	}
	for _, p := range pairs {
		s.k += p.n
		for _, name := range q.Constraints.AvoidNodes {
			if n, ok := t.NodeIndex(name); ok && (n == p.from || n == p.to) {
				return nil, fmt.Errorf("find paths: node %q is to be avoided, and is an end", name)
			}
		}
	}
	for _, name := range q.Constraints.RequireNodes {
		n, ok := t.NodeIndex(name)
		if !ok {
			return nil, fmt.Errorf("find paths: required node %q: it is not in the topology", name)
		}
		s.require = append(s.require, n)
	}
	s.best.cost = infinite
	s.g, err = newGraph(t, q.Metric, &q.Constraints, s.k)
	return s, err
}

// Where a pair has no more simple paths than many, these are listed and their
// sets searched; where it has no more than few, that comes first.
const few, many = 200, 2000

// run finds the best set: by one flow where that is enough, else by the methods
// that fit, one after the other, until one of them ends. Each has a share of the
// effort, and starts from the best set so far.
func (s *search) run() error {
	for _, p := range s.pairs {
		if s.hopsTo(int32(p.to))[p.from] < 0 {
			return s.tooFew(p, 0)
		}
	}
	if s.level == None && s.c.MaxDelaySpread == 0 {
		return s.shortest()
	}
	b := newBrancher(s)
	flow, solved := b.solved()
	if s.only == 0 && solved {
		s.exact = true
		return nil
	}
	branch := step{2, func() (bool, error) { return b.run(), nil }}
	sets := step{2, func() (bool, error) { return s.sets(many) }}
	meet := step{2, func() (bool, error) { return newConflicts(s, flow).run(), nil }}
	start := step{4, s.greedy}
	quick := step{8, func() (bool, error) { return s.sets(few) }}
	// The bounds of branch and bound are sharp in links and nodes; they know little
	// of SRLGs and nothing of the constraints on whole paths.
	steps := []step{start, branch, sets}
	switch {
	case s.level.srlgs() && !s.c.onPaths():
		steps = []step{quick, start, meet, branch, sets}
	case s.level.srlgs():
		steps = []step{quick, start, sets, meet, branch}
	case s.c.onPaths():
		steps = []step{quick, start, sets, branch}
	}
	switch s.only {
	case onlySets:
		steps = []step{sets}
	case onlyBranch:
		steps = []step{start, branch}
	case onlyConflicts:
		steps = []step{start, meet}
	}
	for i, st := range steps {
		if i == len(steps)-1 {
			st.part = 1
		}
		if done, err := s.spend(st); done || err != nil {
			s.exact = done && err == nil
			if err != nil {
				return err
			}
			break
		}
	}
	return s.unfound()
}

// step is a method with its part of what is left of the effort: one half, ….
type step struct {
	part int
	work func() (done bool, err error)
}

// spend lets a step use its part of the effort; what it leaves is for the others.
func (s *search) spend(st step) (done bool, err error) {
	rest := s.budget - s.budget/st.part
	s.budget -= rest
	done, err = st.work()
	s.budget = rest + max(0, s.budget)
	return done, err
}

// sets lists all paths where there are not more than limit of a pair, and searches
// their sets; done is false where there are more, or the effort was not enough.
func (s *search) sets(limit int) (done bool, err error) {
	var lists [][]candidate
	for _, p := range s.pairs {
		list, ok := s.enumerate(p, limit)
		if !ok {
			return false, nil
		}
		if len(list) < p.n {
			return true, s.tooFew(p, len(list))
		}
		lists = append(lists, list)
	}
	return s.choose(lists), nil
}

// shortest lists the shortest paths of each pair on its own.
func (s *search) shortest() error {
	weight := make([]cost, len(s.g.arcs))
	for a := range weight {
		weight[a] = cost{total: s.g.arcs[a].cost}
	}
	var all [][]int32
	s.exact = true
	for _, p := range s.pairs {
		var own [][]int32
		y := s.newYen(p.from, p.to, weight)
		for have := range p.n {
			path, none := s.nextAllowed(y, p, own, nil)
			if none {
				return s.tooFew(p, have)
			}
			if path == nil {
				s.exact = false
				path = s.via(p, weight, own, nil)
			}
			if path == nil {
				return fmt.Errorf("find paths: %w", ErrEffort)
			}
			own = append(own, path)
		}
		all = append(all, own...)
	}
	s.offer(all)
	return nil
}

// tooFew is the error for a pair that has fewer paths than asked for; have is how
// many there are, -1 where that is not known.
func (s *search) tooFew(p pair, have int) error {
	from, to := s.g.ted.Nodes()[p.from].Name, s.g.ted.Nodes()[p.to].Name
	limits := ""
	if s.c.limiting() {
		limits = " within the constraints"
	}
	switch have {
	case -1:
		return fmt.Errorf("find paths: from %s to %s: %w%s: less than %d", from, to, ErrTooFew, limits, p.n)
	case 0:
		return fmt.Errorf("find paths: from %s to %s: %w%s: there is no path", from, to, ErrTooFew, limits)
	}
	return fmt.Errorf("find paths: from %s to %s: %w%s: %d of %d", from, to, ErrTooFew, limits, have, p.n)
}

// unfound is the error where there is no solution.
func (s *search) unfound() error {
	switch {
	case s.best.cost != infinite:
		return nil
	case s.exact:
		return fmt.Errorf("find paths: %w: no set of %d paths meets the constraints together", ErrTooFew, s.k)
	}
	return fmt.Errorf("find paths: %w: no set of %d paths was found; ask for less or raise the effort", ErrEffort, s.k)
}

// result turns the best solution into what the caller gets.
func (s *search) result(q *Query) Result {
	r := Result{Requested: q.Level, Exact: s.exact, Paths: make([]Path, s.k)}
	links := make([][]int, s.k)
	i := 0
	for _, p := range s.pairs {
		cands := make([]candidate, p.n)
		for j := range cands {
			cands[j] = s.g.candidate(s.best.paths[i+j])
		}
		i += p.n
		slices.SortFunc(cands, func(a, b candidate) int { return a.compare(&b) })
		for j, c := range cands {
			path := Path{Links: make([]int, len(c.arcs)), Cost: c.cost}
			for h, a := range c.arcs {
				path.Links[h] = int(s.g.arcs[a].link)
			}
			r.Paths[p.slots[j]] = path
			links[p.slots[j]] = path.Links
			r.Cost += c.cost
		}
	}
	var has Level
	has, r.Shared = Score(s.g.ted, links)
	r.Achieved = capped(has, q.Level)
	r.SharedCost = sharedCost(s.g.ted, links, q.Metric)
	if !r.Exact {
		r.Note = "not proven to be the best: the search ended at its effort limit"
	}
	return r
}

// sharedCost is the sum over links of cost x (uses - 1); of a link that is used
// in both directions at different costs the dearest use is the one not counted.
func sharedCost(t *topology.TED, paths [][]int, m Metric) int64 {
	sum, dearest := int64(0), map[int]int64{}
	for _, p := range paths {
		for _, li := range p {
			c, r := linkCost(&t.Links()[li], m), risk(t, li)
			sum += c
			dearest[r] = max(dearest[r], c)
		}
	}
	for _, c := range dearest {
		sum -= c
	}
	return sum
}

func (s *search) strictError(q *Query, r *Result) error {
	how := ""
	if !r.Exact {
		how = " (within the effort limit)"
	}
	return fmt.Errorf("find paths: %w: %d paths from %v to %v are at best %s disjoint%s, not %s: they share nodes %v, links %v, SRLGs %v",
		ErrStrict, s.k, q.From, q.To, r.Achieved, how, q.Level, r.Shared.Nodes, r.Shared.Links, r.Shared.SRLGs)
}

// hopsTo is the least number of links from each node to one, -1 where there is
// no way.
func (s *search) hopsTo(to int32) []int {
	if h, ok := s.hops[to]; ok {
		return h
	}
	h := make([]int, s.g.n())
	for i := range h {
		h[i] = -1
	}
	h[to] = 0
	queue := []int32{to}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, a := range s.g.in[v] {
			if u := s.g.arcs[a].from; h[u] < 0 {
				h[u] = h[v] + 1
				queue = append(queue, u)
			}
		}
	}
	s.hops[to] = h
	return h
}

// delayTo is the least delay from each node to one.
func (s *search) delayTo(to int32) []time.Duration {
	if d, ok := s.delays[to]; ok {
		return d
	}
	const far = time.Duration(1) << 60
	d := make([]time.Duration, s.g.n())
	done := make([]bool, s.g.n())
	for i := range d {
		d[i] = far
	}
	d[to] = 0
	for {
		v := int32(-1)
		for i := range d {
			if !done[i] && d[i] < far && (v < 0 || d[i] < d[v]) {
				v = int32(i)
			}
		}
		if v < 0 {
			break
		}
		done[v] = true
		for _, a := range s.g.in[v] {
			arc := &s.g.arcs[a]
			d[arc.from] = min(d[arc.from], d[v]+arc.delay)
		}
	}
	s.delays[to] = d
	return d
}
