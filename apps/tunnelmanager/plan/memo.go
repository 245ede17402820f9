package plan

import (
	"encoding/binary"
	"slices"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// Memo keeps what planning found out about a TED, for the next plan on the same
// snapshot: the compiled network, paths, candidate sets. It makes plans faster and
// never different. Its zero value is ready; one goroutine uses it at a time.
type Memo struct {
	ted *topology.TED

	net     *network
	solvers [len(costs{})]*disjoint.Solver // by metric
	trees   map[int32][]int32
	cheap   map[cheapKey]pathList
	beside  map[string][]*route
	found   map[string][]pathList // these two by what names a shape, its metric too
	deep    map[string]deepList

	// need is how many entries the first plan made; 0 before it is over.
	need int
}

type cheapKey struct {
	from, to int32
	metric   disjoint.Metric
}

// pathList are routes, and whether these are all, or the best, there is.
type pathList struct {
	routes []*route
	sure   bool
}

// deepList is what the search for all candidate sets gave.
type deepList struct {
	tuples []tuple
	best   score
	exact  bool
	knows  map[*route]bool
}

// memoSlack entries, and twice what the first plan needed, are kept: what changes of
// demands leave behind is thrown away, but never what the next plan asks for again.
// An entry takes about 1 KB.
const memoSlack = 20_000

func (m *Memo) size() int {
	return len(m.trees) + len(m.cheap) + len(m.beside) + len(m.found) + len(m.deep)
}

// reset makes the memo ready for a plan: empty, if it is of something else or has
// grown too large.
func (m *Memo) reset(ted *topology.TED) {
	if m.need == 0 {
		m.need = m.size()
	}
	if m.ted == ted && m.size() <= 2*m.need+memoSlack {
		return
	}
	*m = Memo{
		ted: ted, net: compile(ted),
		trees: map[int32][]int32{}, cheap: map[cheapKey]pathList{}, beside: map[string][]*route{},
		found: map[string][]pathList{}, deep: map[string]deepList{},
	}
}

// cheapest gives the cheapest paths of a shape's pair.
func (m *Memo) cheapest(s *shape, ps *pairState) ([]*route, bool) {
	f := filter{c: &s.cons, metric: s.metric}
	limit := keepPaths
	if m.net.small() {
		limit = allPaths
	}
	if !plain(f.c) {
		return m.net.paths(ps.from, ps.to, f, limit)
	}
	key := cheapKey{ps.from, ps.to, s.metric}
	if l, ok := m.cheap[key]; ok {
		return l.routes, l.sure
	}
	var l pathList
	l.routes, l.sure = m.net.paths(ps.from, ps.to, f, limit)
	m.cheap[key] = l
	return l.routes, l.sure
}

// besides gives the two cheapest routes of a shape's pair that keep clear of others.
func (m *Memo) besides(s *shape, ps *pairState, others []*route) []*route {
	key := ""
	if plain(&s.cons) {
		b := make([]byte, 0, 32)
		b = append(b, byte(s.level), byte(s.metric))
		b = binary.AppendUvarint(b, uint64(ps.from))
		b = binary.AppendUvarint(b, uint64(ps.to))
		for _, r := range others {
			b = binary.AppendUvarint(b, uint64(r.id))
		}
		key = string(b)
		if found, ok := m.beside[key]; ok {
			return found
		}
	}
	f := filter{c: &s.cons, metric: s.metric, forbid: m.net.forbid(s.level, others)}
	mask := m.net.nodeMask(f)
	found, _ := m.net.pathsTowards(ps.from, ps.to, f, 2, mask, m.net.distances(ps.to, f, mask))
	if key != "" {
		m.beside[key] = found
	}
	return found
}

// search asks path search for the routes of a shape that share least and cost
// least. Where these do not meet the level, the level's ladder is gone down: fewer
// shared nodes may have been bought with a shared link. The set with the best score
// comes first; none where there is no set.
func (m *Memo) search(s *shape, effort int) []pathList {
	key := string(binary.AppendUvarint([]byte(s.key), uint64(effort)))
	if l, ok := m.found[key]; ok {
		return l
	}
	var found []pathList
	if routes := m.cheapestPair(s); routes != nil {
		found = []pathList{{routes, true}}
	} else {
		for _, level := range ladder(s.level) {
			l := m.find(s, level, effort)
			if l.routes == nil || level == disjoint.None && len(found) > 0 {
				break
			}
			found = append(found, l)
			if m.net.rate(goal{level, s.metric}, l.routes).worst == 0 {
				break
			}
		}
		slices.SortStableFunc(found, func(a, b pathList) int {
			return m.net.rate(s.goal, a.routes).compare(m.net.rate(s.goal, b.routes))
		})
	}
	m.found[key] = found
	return found
}

func (m *Memo) find(s *shape, level disjoint.Level, effort int) pathList {
	q := disjoint.Query{Level: level, Metric: s.metric, Constraints: s.cons, K: len(s.pairs), Effort: effort}
	for _, ps := range s.pairs {
		q.From, q.To = append(q.From, ps.Ingress), append(q.To, ps.Egress)
	}
	res, err := disjoint.Find(m.ted, q)
	if err != nil {
		return pathList{}
	}
	routes := make([]*route, len(res.Paths))
	for i, path := range res.Paths {
		routes[i] = m.net.internLinks(s.pairs[i].from, path.Links)
	}
	return pathList{routes, res.Exact}
}

// cheapestPair gives the cheapest pair of link-disjoint paths where it is all that
// is asked for: no other pair can be cheaper and meet the level. nil where it is
// not, or where the question is another.
func (m *Memo) cheapestPair(s *shape) []*route {
	if len(s.pairs) != 2 || s.pairs[0] != s.pairs[1] || s.level == disjoint.None || !plain(&s.cons) {
		return nil
	}
	if m.solvers[s.metric] == nil {
		var err error
		if m.solvers[s.metric], err = disjoint.NewSolver(m.ted, s.metric, disjoint.Constraints{}); err != nil {
			return nil
		}
	}
	ps := s.pairs[0]
	pair, ok := m.solvers[s.metric].Pair(int(ps.from), int(ps.to))
	if !ok {
		return nil
	}
	routes := []*route{m.net.internLinks(ps.from, pair.One), m.net.internLinks(ps.from, pair.Two)}
	if m.net.rate(s.goal, routes) != (score{}) || !m.net.simple(routes[0]) || !m.net.simple(routes[1]) {
		return nil
	}
	slices.SortFunc(routes, byCost(s.metric))
	return routes
}

func (n *network) internLinks(from int32, links []int) *route {
	arcs := make([]int32, len(links))
	for i, l := range links {
		arcs[i] = int32(l)
	}
	return n.intern(from, arcs)
}

// shortestByTE gives the shortest path by TE metric: what a PE's own routing is
// taken to use where nobody tells. nil where there is none.
func (m *Memo) shortestByTE(from, to int32) *route {
	prev := m.trees[from]
	if prev == nil {
		prev = m.net.treeByTE(from)
		m.trees[from] = prev
	}
	var arcs []int32
	for at := to; at != from; {
		a := prev[at]
		if a < 0 {
			return nil
		}
		arcs = append(arcs, a)
		at = m.net.arcs[a].from
	}
	slices.Reverse(arcs)
	return m.net.intern(from, arcs)
}
