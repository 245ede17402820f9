package plan

import (
	"math/rand/v2"
	"slices"
)

// Work bounds of the search for less overload, in candidate sets priced. They are
// no time limits, so that equal inputs give equal plans.
const (
	relieveEvals = 1_000_000 // while links are overloaded
	someEvals    = 100_000   // the same, in an incremental plan
	tidyEvals    = 150_000   // only for fewer changes and cheaper paths
	quietRounds  = 400       // rounds without success after which it ends
	restarts     = 30        // kicks without success after which it ends
	detours      = 200       // halves for which ways round overloaded links are sought
	// The same for one demand at a time.
	quickEvals, quickHalves, quickSearches, quickEffort = 2_500, 40, 1, 500
)

// relieve looks for a better choice of all the halves together, after each was
// given its best alone: less overload, fewer changes, cheaper paths. Disjointness
// is not touched, for all candidates of a half have the best there is.
//
// It is a large neighbourhood search: take out a few halves that meet on a link,
// put them back in another order, keep what is no worse. Small networks, where
// all paths are candidates, come out optimal or next to it; the tests compare
// with an ILP solver.
func (p *Planner) relieve(work []*demandState) {
	ns := neighbourhood{p: p, rnd: rand.New(rand.NewPCG(2, 1))}
	ns.collect(work)
	if len(ns.halves) == 0 {
		return
	}
	if p.net.small() && !p.quick && (p.in.Scope == Redesign || p.over > 0) {
		for _, h := range ns.halves {
			p.deepen(h.shape)
		}
	}
	ns.oneByOne(4)
	switch {
	case p.over > 0 && p.quick:
		ns.run(quickEvals)
	case p.over > 0 && p.in.Scope == Incremental:
		p.widen(&ns)
		ns.run(someEvals)
	case p.over > 0:
		p.widen(&ns)
		ns.run(relieveEvals)
		ns.restart(relieveEvals)
	case p.net.small() && p.in.Scope == Redesign:
		ns.run(tidyEvals)
		ns.restart(tidyEvals)
	}
	ns.sendBack()
}

// sendBack takes back what brings too little: a demand that has all it asks for is
// moved for others' sake only where that relieves links of half its traffic.
func (ns *neighbourhood) sendBack() {
	for _, h := range ns.guests {
		if h.chosen == h.stay {
			continue
		}
		was := h.chosen
		ns.p.lift(h)
		if ns.p.feasible(h, h.stay) && ns.p.price(h, h.stay).over-ns.p.price(h, was).over < h.bw/2 {
			was = h.stay
		}
		ns.p.put(h, was)
	}
}

type neighbourhood struct {
	p      *Planner
	rnd    *rand.Rand
	halves []*half
	guests []*half // those that are not planned for themselves
	byPair map[*pairState][]*half
	// onArc are the halves that rode each arc when it was made, age rounds ago.
	onArc [][]*half
	age   int
}

// index makes the lists that groups are taken from.
func (ns *neighbourhood) index() {
	if ns.byPair == nil {
		ns.byPair = map[*pairState][]*half{}
		for _, h := range ns.halves {
			for i, q := range h.shape.pairs {
				if i == 0 || h.shape.pairs[i-1] != q {
					ns.byPair[q] = append(ns.byPair[q], h)
				}
			}
		}
	}
	if ns.age--; ns.age > 0 {
		return
	}
	ns.age = 100 + len(ns.halves)
	ns.onArc = make([][]*half, len(ns.p.net.arcs))
	for _, h := range ns.halves {
		if h.bw > 0 {
			for _, u := range h.chosen.arcs {
				ns.onArc[u.arc] = append(ns.onArc[u.arc], h)
			}
		}
	}
}

// collect finds the halves that may be moved: those that are planned for, and, as
// far as these load links beyond capacity, those that meet them there.
func (ns *neighbourhood) collect(work []*demandState) {
	p := ns.p
	planned := map[*demandState]bool{}
	hot := map[int32]bool{}
	for _, d := range work {
		planned[d] = true
		for _, h := range d.halves {
			ns.take(h)
			for _, u := range h.chosen.arcs {
				if h.bw > 0 && p.overloaded(u.arc) {
					hot[u.arc] = true
				}
			}
		}
	}
	if p.in.Scope != Incremental || len(hot) == 0 {
		return
	}
	searches, first := 0, ns.rnd.IntN(len(p.order))
	for i := range p.order {
		d := p.order[(first+i)%len(p.order)]
		if p.quick && len(ns.halves) >= quickHalves {
			break
		}
		if planned[d] || d.Hold || d.Bandwidth == 0 {
			continue
		}
		for _, h := range d.halves {
			if slices.ContainsFunc(h.chosen.arcs, func(u arcUse) bool { return hot[u.arc] }) {
				if p.quick && h.shape.depth == 0 && searches >= quickSearches {
					continue
				}
				searches += btoi(h.shape.depth == 0)
				p.bound(h.shape)
				if p.net.rate(h.shape.goal, h.chosen.routes).compare(h.shape.best) <= 0 {
					ns.take(h)
					ns.guests = append(ns.guests, h)
				}
			}
		}
	}
}

func (ns *neighbourhood) take(h *half) {
	if len(h.order) > 0 && !h.d.refused && h.shape.depth > 0 && !h.shape.none && !h.limited {
		ns.halves = append(ns.halves, h)
	}
}

func (p *Planner) overloaded(a int32) bool {
	c := p.net.arcs[a].capacity
	return c >= 0 && p.load[a] > c
}

// oneByOne gives each half its best choice anew, until nothing changes.
func (ns *neighbourhood) oneByOne(rounds int) {
	for range rounds {
		better := false
		for _, h := range ns.halves {
			was, before := h.chosen, ns.p.total
			ns.p.lift(h)
			if s := ns.p.pick(h); s != nil {
				ns.p.put(h, s)
			} else {
				ns.p.put(h, was)
			}
			if ns.p.total.less(before) {
				better = true
			}
		}
		if !better {
			return
		}
	}
}

// widen gives the halves that load links beyond capacity all their candidates, and
// in large networks also ways round these links.
func (p *Planner) widen(ns *neighbourhood) {
	forbid := make([]uint64, p.net.words)
	for a := range p.net.arcs {
		if p.overloaded(int32(a)) {
			setBit(forbid, int(p.net.arcs[a].link))
		}
	}
	n := 0
	done := map[*shape]bool{}
	for _, h := range ns.halves {
		s := h.shape
		if done[s] || !slices.ContainsFunc(h.chosen.arcs, func(u arcUse) bool { return p.overloaded(u.arc) }) {
			continue
		}
		done[s] = true
		if n++; !p.net.small() && n <= detours {
			s.extra = make([][]*route, len(s.pairs))
			for i, ps := range s.pairs {
				if i > 0 && s.pairs[i-1] == ps {
					continue
				}
				s.extra[i], _ = p.net.paths(ps.from, ps.to, filter{c: &s.cons, metric: s.metric, forbid: forbid}, 4)
			}
			s.depth = min(s.depth, 1)
		}
		p.deepen(s)
	}
}

// restart leaves the optimum that was found, which may be one of many, by choosing
// for some halves at random, and keeps what comes out better. Only where the
// network is small enough that this pays.
func (ns *neighbourhood) restart(evals int) {
	p := ns.p
	if !p.net.small() || len(ns.halves) < 2 {
		return
	}
	best := p.total
	was := make([]*set, len(ns.halves))
	keep := func() {
		for i, h := range ns.halves {
			was[i] = h.chosen
		}
	}
	keep()
	limit := p.evals + evals
	for kicks := 0; kicks < restarts && p.evals < limit; kicks++ {
		ns.kick()
		ns.oneByOne(2)
		ns.run(limit - p.evals)
		if p.total.less(best) {
			best, kicks = p.total, -1
			keep()
			continue
		}
		for _, h := range ns.halves {
			p.lift(h)
		}
		for i, h := range ns.halves {
			p.put(h, was[i])
		}
	}
}

// kick chooses at random for some halves.
func (ns *neighbourhood) kick() {
	for range 2 + len(ns.halves)/3 {
		h := ns.halves[ns.rnd.IntN(len(ns.halves))]
		was := h.chosen
		ns.p.lift(h)
		ns.p.put(h, ns.any(h, was))
	}
}

func (ns *neighbourhood) run(evals int) {
	p := ns.p
	if len(ns.halves) < 2 {
		return
	}
	limit := p.evals + evals
	quiet := quietRounds + 10*len(ns.halves)
	if p.quick {
		quiet = 50 + len(ns.halves)
	}
	for rounds := 0; rounds < quiet && p.evals < limit; rounds++ {
		group := ns.pickGroup()
		before := p.total
		was := make([]*set, len(group))
		for i, h := range group {
			was[i] = h.chosen
			p.lift(h)
		}
		ok := true
		for n, i := range ns.rnd.Perm(len(group)) {
			s := p.pick(group[i])
			if n == 0 && ns.rnd.IntN(2) == 0 { // the others then answer to a choice that is not its best
				s = ns.any(group[i], s)
			}
			if s == nil {
				ok = false
				s = was[i]
			}
			p.put(group[i], s)
		}
		switch {
		case ok && p.total.less(before):
			rounds = -1
		case !ok || p.total != before:
			for _, h := range group {
				p.lift(h)
			}
			for i, h := range group {
				p.put(h, was[i])
			}
		}
	}
}

// any gives some candidate of a half that keeps the limits, or s.
func (ns *neighbourhood) any(h *half, s *set) *set {
	if h.before.compare(h.shape.best) < 0 {
		return s // it stays, see pick
	}
	all := ns.p.candidates(h.shape)
	c := all[ns.rnd.IntN(len(all))]
	if !ns.p.feasible(h, c) {
		return s
	}
	return c
}

// pickGroup gives two to five halves, mostly such that meet on an overloaded link
// or between the same PEs.
func (ns *neighbourhood) pickGroup() []*half {
	p := ns.p
	size := 2 + ns.rnd.IntN(4)
	var group []*half
	add := func(h *half) {
		if len(group) < size && !slices.Contains(group, h) {
			group = append(group, h)
		}
	}
	ns.index()
	switch way := ns.rnd.IntN(3); {
	case way == 0:
		first := ns.halves[ns.rnd.IntN(len(ns.halves))]
		add(first)
		on := ns.byPair[first.shape.pairs[ns.rnd.IntN(len(first.shape.pairs))]]
		for range 2 * size {
			add(on[ns.rnd.IntN(len(on))])
		}
	case p.over > 0:
		if a := ns.hotArc(); a >= 0 && len(ns.onArc[a]) > 0 {
			on := ns.onArc[a]
			for range 1 + ns.rnd.IntN(3) {
				add(on[ns.rnd.IntN(len(on))])
			}
		}
	}
	for range 3 {
		add(ns.halves[ns.rnd.IntN(len(ns.halves))])
	}
	return group
}

// hotArc gives some overloaded arc; -1 where there is none.
func (ns *neighbourhood) hotArc() int32 {
	n, at := 0, int32(-1)
	for a := range ns.p.net.arcs {
		if ns.p.overloaded(int32(a)) {
			if n++; ns.rnd.IntN(n) == 0 {
				at = int32(a)
			}
		}
	}
	return at
}
