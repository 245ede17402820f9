package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mpbox/topology"
)

// lspState is an LSP that exists, or that this plan has set up.
type lspState struct {
	topology.LSP
	route *route // nil where unknown
	owned bool
	// usable: flows may be put on it. alive: flows that ride it may stay.
	usable, alive bool
	planned       bool
	// users counts the slots that are assigned to it.
	users int
}

// pairState is all that is known of one ingress and egress.
type pairState struct {
	Pair
	from, to int32
	lsps     []*lspState // sorted by preference
	// byDefault is what flows ride that no slot steers; its route may be assumed.
	byDefault    *lspState
	defaultRoute *route
	// carriers that this pair's slots may use, by route and template.
	carriers map[carrierKey]*carrier
	// inUse are the routes of LSPs that are there or planned: candidates for all.
	inUse []*route
}

// learn notes that an LSP takes a route, or will.
func (ps *pairState) learn(r *route) {
	if !slices.Contains(ps.inUse, r) {
		ps.inUse = append(ps.inUse, r)
	}
}

type carrierKey struct{ route, template int32 }

// carrier is a route as a template would have it carried: by an LSP that exists,
// or by one that would have to be signalled.
type carrier struct {
	pair     *pairState
	route    *route
	template int32
	existing []*lspState
	// fresh counts the slots that need a new LSP here; planned is that LSP once
	// it has a name.
	fresh   int
	planned *lspState
}

func (p *Planner) pair(q Pair) (*pairState, error) {
	if ps, ok := p.pairs[q]; ok {
		return ps, nil
	}
	from, ok := p.net.ted.NodeIndex(q.Ingress)
	if !ok {
		return nil, fmt.Errorf("node %q is not in the topology", q.Ingress)
	}
	to, ok := p.net.ted.NodeIndex(q.Egress)
	if !ok {
		return nil, fmt.Errorf("node %q is not in the topology", q.Egress)
	}
	if from == to {
		return nil, fmt.Errorf("ingress and egress are both %q", q.Ingress)
	}
	ps := &pairState{Pair: q, from: int32(from), to: int32(to), carriers: map[carrierKey]*carrier{}}
	p.pairs[q] = ps
	ps.lsps = append(ps.lsps, p.lspsOf[q]...)
	p.findDefault(ps)
	for _, l := range ps.lsps {
		if l.usable {
			ps.learn(l.route)
		}
	}
	p.sortByPreference(ps)
	return ps, nil
}

// findDefault learns what flows of a pair ride where no slot steers them.
func (p *Planner) findDefault(ps *pairState) {
	ps.byDefault, ps.defaultRoute = nil, nil
	if p.in.Default != nil {
		if name, ok := p.in.Default(ps.Pair); ok {
			if l := p.lsps[topology.LSPKey{Ingress: ps.Ingress, Name: name}]; l != nil && l.alive {
				ps.byDefault, ps.defaultRoute = l, l.route
				l.usable = l.route != nil // its flows need no steering
			}
			return
		}
	}
	ps.defaultRoute = p.memo.shortestByTE(ps.from, ps.to)
}

// sortByPreference puts the default LSP first (its flows need no steering), then
// owned ones, then others, each by name.
func (p *Planner) sortByPreference(ps *pairState) {
	slices.SortFunc(ps.lsps, func(a, b *lspState) int {
		rank := func(l *lspState) int {
			switch {
			case l == ps.byDefault:
				return 0
			case l.owned:
				return 1
			}
			return 2
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), compareNames(a.Name, b.Name))
	})
}

// compareKeys orders by name, as compareNames does, then by head end.
func compareKeys(a, b topology.LSPKey) int {
	return cmp.Or(compareNames(a.Name, b.Name), cmp.Compare(a.Ingress, b.Ingress))
}

// compareNames orders "…/2" before "…/10".
func compareNames(a, b string) int {
	if i, j := strings.LastIndexByte(a, '/'), strings.LastIndexByte(b, '/'); i == j && i >= 0 && a[:i] == b[:j] {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	}
	return strings.Compare(a, b)
}

// addLSP takes an LSP into the inventory.
func (p *Planner) addLSP(l topology.LSP) *lspState {
	s := &lspState{LSP: l, owned: p.in.Owner != "" && strings.HasPrefix(l.Name, p.in.Owner)}
	s.route = p.net.routeOf(&l)
	up := l.Oper == topology.OperUp || p.in.Pending[l.Key()]
	broken := s.route != nil && s.route.broken
	s.alive = (up || l.Oper == topology.OperUnknown) && !broken
	s.usable = up && !broken && s.route != nil && (s.owned || p.in.Reuse == nil || p.in.Reuse(l))
	p.lsps[l.Key()] = s
	q := Pair{l.Ingress, l.Egress}
	p.lspsOf[q] = append(p.lspsOf[q], s)
	return s
}

// carrier gives the carrier of a route of a pair under a template.
func (p *Planner) carrier(ps *pairState, r *route, template int32) *carrier {
	k := carrierKey{r.id, template}
	if c, ok := ps.carriers[k]; ok {
		return c
	}
	c := &carrier{pair: ps, route: r, template: template}
	for _, l := range ps.lsps {
		if l.route == r && p.serves(l, template) {
			c.existing = append(c.existing, l)
		}
	}
	ps.carriers[k] = c
	return c
}

// serves tells whether an LSP may be used where a template asks for a new one.
func (p *Planner) serves(l *lspState, template int32) bool {
	return l.usable && l.Bandwidth >= p.templates[template].Bandwidth
}

func (p *Planner) template(t topology.LSP) int32 {
	t = topology.LSP{
		Bandwidth: t.Bandwidth, SetupPriority: t.SetupPriority, HoldPriority: t.HoldPriority,
		IncludeAny: t.IncludeAny, IncludeAll: t.IncludeAll, ExcludeAny: t.ExcludeAny,
	}
	for i := range p.templates {
		if o := &p.templates[i]; o.Bandwidth == t.Bandwidth && o.SetupPriority == t.SetupPriority && o.HoldPriority == t.HoldPriority &&
			o.IncludeAny == t.IncludeAny && o.IncludeAll == t.IncludeAll && o.ExcludeAny == t.ExcludeAny {
			return int32(i)
		}
	}
	p.templates = append(p.templates, t)
	return int32(len(p.templates) - 1)
}

// use counts slots on or off an LSP, and keeps account of the bandwidth that an
// owned LSP without users will give back.
func (p *Planner) use(l *lspState, by int) {
	was := l.users
	l.users += by
	if l.owned && l.users == 0 {
		p.idle[l.Key()] = l
	} else {
		delete(p.idle, l.Key())
	}
	if !l.owned || l.planned || l.Bandwidth == 0 || l.route == nil || (was == 0) == (l.users == 0) {
		return
	}
	give := l.Bandwidth
	if l.users > 0 {
		give = -give
	}
	for _, a := range l.route.arcs {
		p.givenBack[a] += give
	}
}

// treeByTE gives the arc by which each node is reached from one; -1 for none.
func (n *network) treeByTE(from int32) []int32 {
	links := n.ted.Links()
	prev := make([]int32, len(n.out))
	dist := make([]int64, len(n.out))
	for i := range prev {
		prev[i], dist[i] = -1, unreachable
	}
	dist[from] = 0
	s := &n.tree
	s.start(n)
	s.push(pathItem{at: from})
	for len(s.heap) > 0 {
		it := s.items[s.pop()]
		if it.f > dist[it.at] {
			continue
		}
		for _, ai := range n.out[it.at] {
			to := n.arcs[ai].to
			if d := it.f + int64(links[ai].TEMetric); d < dist[to] {
				dist[to], prev[to] = d, ai
				s.push(pathItem{at: to, f: d, hops: it.hops + 1})
			}
		}
	}
	return prev
}
