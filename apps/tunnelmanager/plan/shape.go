package plan

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"mpbox/topology/disjoint"
)

// shape is what halves (one direction of a demand) with the same question have in
// common: the pairs, the level, the metric, what paths may be used. Candidate sets are
// found once for each shape.
type shape struct {
	key   string
	pairs []*pairState // one for each slot; equal pairs side by side
	goal
	cons     disjoint.Constraints
	template int32
	// noDelay names a link whose unknown delay is why the metric is not delay, as
	// was asked for.
	noDelay string

	// depth: 0 nothing yet, 1 path search alone, 2 all candidates.
	depth int
	// knows are the routes that the candidates were made of.
	knows map[*route]bool
	// best is the best score there is, none that there is no candidate at all.
	// exact: there is none better, and no candidate that has it is missing.
	best  score
	none  bool
	exact bool
	// tuples are the candidates that have the best score, the cheapest first; sets
	// the same, made when they are asked for. found is what path search gave.
	tuples []tuple
	sets   []*set
	found  []*route
	seeds  []pathList // found, and what was found on the way
	// extra are routes that a search for less loaded ones added, by slot.
	extra [][]*route
}

// set is one candidate for a half: a carrier for each slot of the shape.
type set struct {
	carriers []*carrier
	routes   []*route // nil where unknown (only where flows stay as they are)
	cost     int64
	arcs     []arcUse
	// stay: the half is left as it is; no carriers.
	stay bool
}

type arcUse struct {
	arc  int32
	uses int32
}

// Bounds of the search for candidate sets.
const (
	maxSetsSmall, maxSetsLarge = 2000, 48
	setSteps                   = 400_000
	// smallNodes and smallArcs: networks in which all paths are candidates.
	smallNodes, smallArcs = 16, 70
)

func (n *network) small() bool { return len(n.out) <= smallNodes && len(n.arcs) <= smallArcs }

func shapeKey(pairs []*pairState, by goal, c *disjoint.Constraints, template int32) string {
	k := make([]byte, 0, 16+8*len(pairs))
	k = append(k, byte(by.level), byte(by.metric), byte(template))
	for _, p := range pairs {
		k = binary.AppendUvarint(k, uint64(p.from))
		k = binary.AppendUvarint(k, uint64(p.to))
	}
	if !plain(c) {
		k = fmt.Appendf(k, " %+v", *c)
	}
	return string(k)
}

// plain tells that constraints forbid nothing.
func plain(c *disjoint.Constraints) bool {
	return c.IncludeAny == 0 && c.IncludeAll == 0 && c.ExcludeAny == 0 && c.Bandwidth == 0 && c.MaxHops == 0 &&
		c.MaxDelay == 0 && c.MaxDelaySpread == 0 && len(c.AvoidNodes) == 0 && len(c.RequireNodes) == 0
}

func (p *Planner) shapeOf(pairs []*pairState, by goal, c disjoint.Constraints, template int32) *shape {
	key := shapeKey(pairs, by, &c, template)
	if s, ok := p.shapes[key]; ok {
		return s
	}
	s := &shape{key: key, pairs: pairs, goal: by, cons: c, template: template}
	if by.metric == disjoint.MetricDelay {
		if s.noDelay = p.net.withoutDelay(filter{c: &s.cons}); s.noDelay != "" {
			s.metric = disjoint.MetricTE
		}
	}
	p.shapes[key] = s
	return s
}

// newSet makes a set of routes, one for each slot of the shape.
func (p *Planner) newSet(s *shape, routes []*route) *set {
	st := &set{routes: slices.Clone(routes), carriers: make([]*carrier, len(routes))}
	for i, r := range routes {
		st.carriers[i] = p.carrier(s.pairs[i], r, s.template)
	}
	st.count(s.metric)
	return st
}

// count fills in cost and arc uses.
func (st *set) count(m disjoint.Metric) {
	st.cost = 0
	for _, r := range st.routes {
		if r == nil {
			continue
		}
		st.cost += r.cost[m]
		for _, a := range r.arcs {
			i := slices.IndexFunc(st.arcs, func(u arcUse) bool { return u.arc == a })
			if i < 0 {
				st.arcs = append(st.arcs, arcUse{a, 1})
			} else {
				st.arcs[i].uses++
			}
		}
	}
}

// search asks path search for the one set that shares least and costs least.
func (p *Planner) search(s *shape) {
	if s.depth >= 1 {
		return
	}
	s.depth = 1
	s.seeds = p.memo.search(s, p.effort)
	if len(s.seeds) == 0 {
		s.none = true
		return
	}
	s.found, s.exact = s.seeds[0].routes, s.seeds[0].sure
	s.best = p.net.rate(s.goal, s.found)
	s.tuples = []tuple{{s.found, costOf(s.found, s.metric)}}
}

func costOf(routes []*route, m disjoint.Metric) int64 {
	c := int64(0)
	for _, r := range routes {
		c += r.cost[m]
	}
	return c
}

// candidates gives the sets with the best score.
func (p *Planner) candidates(s *shape) []*set {
	if s.sets == nil {
		s.sets = make([]*set, len(s.tuples))
		for i, t := range s.tuples {
			s.sets[i] = p.newSet(s, t.routes)
		}
	}
	return s.sets
}

// bound makes sure that s.best is the best score there is, as far as it can be
// known.
func (p *Planner) bound(s *shape) {
	p.search(s)
	if s.found == nil || s.best != (score{}) {
		p.deepen(s)
	}
}

// complete tells whether the candidates know each route that is in use.
func (s *shape) complete() bool {
	for _, ps := range s.pairs {
		for _, r := range ps.inUse {
			if !s.knows[r] && (s.depth == 2 || s.found == nil || !slices.Contains(s.found, r)) {
				return false
			}
		}
	}
	return true
}

// deepen finds all candidate sets, and finds them anew when LSPs with routes that
// were not known have come in.
func (p *Planner) deepen(s *shape) {
	if s.depth == 2 && s.complete() {
		return
	}
	p.search(s)
	s.depth = 2
	key := p.deepKey(s)
	l, ok := p.memo.deep[key]
	if !ok || key == "" {
		l = p.enumerate(s)
		if key != "" {
			p.memo.deep[key] = l
		}
	}
	s.tuples, s.best, s.exact, s.knows, s.sets = l.tuples, l.best, l.exact, l.knows, nil
	s.none = len(s.tuples) == 0
}

// deepKey names all that the candidates of a shape depend on.
func (p *Planner) deepKey(s *shape) string {
	if s.extra != nil {
		return ""
	}
	b := binary.AppendUvarint([]byte(s.key), uint64(p.effort))
	var ids []int32
	for i, ps := range s.pairs {
		if i > 0 && s.pairs[i-1] == ps {
			continue
		}
		ids = ids[:0]
		for _, r := range ps.inUse {
			ids = append(ids, r.id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			b = binary.AppendUvarint(b, uint64(id)+1)
		}
		b = append(b, 0)
	}
	return string(b)
}

func (p *Planner) enumerate(s *shape) deepList {
	b := builder{n: p.net, s: s, limit: maxSetsLarge, steps: setSteps, best: score{worst: math.MaxInt}}
	if p.net.small() {
		b.limit = maxSetsSmall
	}
	var all bool
	b.pools, all = p.pools(s)
	knows := map[*route]bool{}
	for _, pool := range b.pools {
		for _, r := range pool {
			knows[r] = true
		}
	}
	if s.found != nil {
		b.best = p.net.rate(s.goal, s.found)
	}
	b.run()
	slices.SortStableFunc(b.got, func(x, y tuple) int { return cmp.Compare(x.cost, y.cost) })
	if s.found != nil && p.net.rate(s.goal, s.found) == b.best &&
		!slices.ContainsFunc(b.got, func(t tuple) bool { return slices.Equal(t.routes, s.found) }) {
		b.got = append([]tuple{{s.found, costOf(s.found, s.metric)}}, b.got...)
	}
	return deepList{tuples: b.got, best: b.best, exact: all && b.steps > 0, knows: knows}
}

// pools gives the candidate routes of each slot, the cheapest first, and whether
// these are all there are.
func (p *Planner) pools(s *shape) (pools [][]*route, all bool) {
	pools = make([][]*route, len(s.pairs))
	all = true
	for i, ps := range s.pairs {
		if i > 0 && s.pairs[i-1] == ps {
			pools[i] = pools[i-1]
			continue
		}
		cheap, complete := p.memo.cheapest(s, ps)
		all = all && complete
		pool := slices.Clone(cheap)
		has := make(map[*route]bool, len(pool))
		for _, r := range pool {
			has[r] = true
		}
		add := func(r *route) {
			if r != nil && !has[r] {
				has[r] = true
				pool = append(pool, r)
			}
		}
		for _, r := range ps.inUse {
			if p.net.pathFits(r, &s.cons) {
				add(r)
			}
		}
		if !complete {
			for j := i; j < len(s.pairs) && s.pairs[j] == ps; j++ {
				for _, l := range s.seeds {
					add(l.routes[j])
				}
				if s.extra != nil {
					for _, r := range s.extra[j] {
						add(r)
					}
				}
			}
			for _, r := range p.complements(s, i) {
				add(r)
			}
		}
		slices.SortFunc(pool, byCost(s.metric))
		pools[i] = pool
	}
	return pools, all
}

// complements gives for slot i the cheapest route beside each LSP that another
// slot of the group could keep, and beside all but one of what was found: without
// these, keeping an LSP that is there could look worse than it is.
func (p *Planner) complements(s *shape, i int) []*route {
	most := 12
	if p.quick {
		most = 4
	}
	var beside [][]*route
	for j, ps := range s.pairs {
		if j > 0 && s.pairs[j-1] == ps {
			continue
		}
		n := 0
		for _, r := range ps.inUse {
			if n < most {
				n++
				beside = append(beside, []*route{r})
			}
		}
		if n > 1 && len(s.pairs) > 2 {
			beside = append(beside, p.kept(s))
		}
	}
	if s.found != nil {
		for j := range s.found {
			others := slices.Delete(slices.Clone(s.found), j, j+1)
			beside = append(beside, others)
		}
	}
	var out []*route
	for _, rs := range beside {
		out = append(out, p.memo.besides(s, s.pairs[i], rs)...)
	}
	return out
}

// kept gives a largest group of LSPs of the shape's pairs that do not get in each
// other's way, by greed.
func (p *Planner) kept(s *shape) []*route {
	var out []*route
	for i, ps := range s.pairs {
		if i > 0 && s.pairs[i-1] == ps {
			continue
		}
		for _, r := range ps.inUse {
			if len(out) >= len(s.pairs)-1 {
				break
			}
			if !slices.ContainsFunc(out, func(o *route) bool { return p.net.deficit(s.level, o, r) > 0 }) {
				out = append(out, r)
			}
		}
	}
	return out
}

// forbid gives the bits that a route must not touch to be disjoint from others.
func (n *network) forbid(level disjoint.Level, others []*route) []uint64 {
	bits := make([]uint64, n.words)
	for _, r := range others {
		for w, x := range r.bits {
			switch {
			case w < n.srlgAt:
				bits[w] |= x
			case w < n.nodeAt:
				if level == disjoint.SRLG || level == disjoint.NodeSRLG {
					bits[w] |= x
				}
			case level == disjoint.Node || level == disjoint.NodeSRLG:
				bits[w] |= x
			}
		}
	}
	return bits
}

// builder enumerates the sets of routes with the best score by depth first search:
// a partial set that scores worse than the best is given up, for a score never
// gets better when a route is added.
type builder struct {
	n     *network
	s     *shape
	pools [][]*route
	limit int
	steps int
	best  score
	got   []tuple
	// dearest is the highest cost worth keeping once limit sets are known.
	dearest int64
	repeat  bool // routes may repeat: the network has too few
	fits    func([]*route) bool
	rest    []int64
	used    [][]uint64
	group   []*route
}

type tuple struct {
	routes []*route
	cost   int64
}

func (b *builder) run() {
	k := len(b.pools)
	b.rest = make([]int64, k+1)
	for i := k - 1; i >= 0; i-- {
		if len(b.pools[i]) == 0 {
			return
		}
		b.rest[i] = b.rest[i+1] + b.pools[i][0].cost[b.s.metric]
	}
	for i := 0; i < k; {
		j := i
		for j < k && b.s.pairs[j] == b.s.pairs[i] {
			j++
		}
		b.repeat = b.repeat || len(b.pools[i]) < j-i
		i = j
	}
	b.used = make([][]uint64, k+1)
	for i := range b.used {
		b.used[i] = make([]uint64, b.n.words)
	}
	b.group = make([]*route, 0, k)
	b.dearest = math.MaxInt64
	b.add(0, 0, score{}, 0)
	b.trim()
}

func (b *builder) add(slot, from int, s score, cost int64) {
	if slot == len(b.pools) {
		if b.fits != nil && !b.fits(b.group) {
			return
		}
		if c := s.compare(b.best); c < 0 {
			b.best, b.got, b.dearest = s, b.got[:0], math.MaxInt64
		}
		b.got = append(b.got, tuple{slices.Clone(b.group), cost})
		if len(b.got) >= 2*b.limit {
			b.trim()
		}
		return
	}
	for j := from; j < len(b.pools[slot]); j++ {
		if b.steps--; b.steps < 0 {
			return
		}
		r := b.pools[slot][j]
		cost := cost + r.cost[b.s.metric]
		if b.best == (score{}) && cost+b.rest[slot+1] >= b.dearest {
			return // the rest of the pool is dearer still
		}
		ns := b.n.extend(s, b.s.goal, b.group, b.used[slot], r)
		if ns.compare(b.best) > 0 || !b.spreadFits(r) {
			continue
		}
		for w, x := range r.bits {
			b.used[slot+1][w] = b.used[slot][w] | x
		}
		b.group = append(b.group, r)
		next := 0
		if slot+1 < len(b.pools) && b.s.pairs[slot+1] == b.s.pairs[slot] {
			next = j + 1
			if b.repeat {
				next = j
			}
		}
		b.add(slot+1, next, ns, cost)
		b.group = b.group[:slot]
	}
}

// spreadFits tells whether one more route keeps the delays near enough.
func (b *builder) spreadFits(r *route) bool {
	limit := b.s.cons.MaxDelaySpread
	if limit == 0 {
		return true
	}
	for _, o := range b.group {
		if (o.delay - r.delay).Abs() > limit {
			return false
		}
	}
	return true
}

// trim keeps the cheapest sets.
func (b *builder) trim() {
	if len(b.got) <= b.limit {
		return
	}
	slices.SortStableFunc(b.got, func(x, y tuple) int { return cmp.Compare(x.cost, y.cost) })
	b.got = b.got[:b.limit]
	b.dearest = b.got[b.limit-1].cost
}
