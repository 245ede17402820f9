package plan

import (
	"cmp"
	"slices"

	"mpbox/topology/disjoint"
)

// tidy gives up LSPs that can be spared: the halves that ride one move onto others
// that are in use anyway, as disjoint as before and without more overload. After
// many comings and goings the LSPs are then about as few as a fresh design has.
func (p *Planner) tidy() {
	for _, ps := range p.pairsByName() {
		for p.spareOne(ps) {
		}
	}
}

func (p *Planner) pairsByName() []*pairState {
	all := make([]*pairState, 0, len(p.pairs))
	for _, ps := range p.pairs {
		all = append(all, ps)
	}
	slices.SortFunc(all, func(a, b *pairState) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return all
}

// inService gives the carriers of a pair that have an owned LSP with users, or
// will have, those with the fewest users first, of these the dearest by TE metric.
func (p *Planner) inService(ps *pairState) []*carrier {
	users := func(c *carrier) int {
		n := c.fresh
		for _, l := range c.existing {
			n += l.users
		}
		return n
	}
	byTE := byCost(disjoint.MetricTE)
	var out []*carrier
	for _, c := range ps.carriers {
		owned := c.fresh > 0 || slices.ContainsFunc(c.existing, func(l *lspState) bool { return l.owned && l.users > 0 })
		if owned {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *carrier) int {
		return cmp.Or(cmp.Compare(users(a), users(b)), byTE(b.route, a.route), cmp.Compare(a.template, b.template))
	})
	return out
}

// spareOne gives up one carrier of a pair, if one can be.
func (p *Planner) spareOne(ps *pairState) bool {
	p.nameRides(ps)
	for _, c := range p.inService(ps) {
		if p.spare(c) {
			return true
		}
	}
	return false
}

// nameRides makes carriers of the routes that a pair's slots ride by assignment, so
// that LSPs kept from before are among the candidates.
func (p *Planner) nameRides(ps *pairState) {
	for _, l := range ps.lsps {
		if l.usable && l.users > 0 {
			for t := range p.templates {
				if p.serves(l, int32(t)) {
					p.carrier(ps, l.route, int32(t))
				}
			}
		}
	}
}

// ridesOn tells whether a half has a slot on a route of a pair.
func (h *half) ridesOn(c *carrier) bool {
	for i, r := range h.chosen.routes {
		if r == c.route && h.shape.pairs[i] == c.pair && (!h.chosen.stay || h.names[i] != "") {
			return true
		}
	}
	return false
}

func (p *Planner) spare(c *carrier) bool {
	var riders []*half
	for _, d := range p.order {
		for _, h := range d.halves {
			if !h.ridesOn(c) {
				continue
			}
			if d.Hold || d.refused {
				return false
			}
			riders = append(riders, h)
		}
	}
	if len(riders) == 0 {
		return false
	}
	over := p.total.over
	was := make([]*set, len(riders))
	done := 0
	for i, h := range riders {
		was[i] = h.chosen
		p.lift(h)
		to := p.without(h, c)
		if to == nil {
			p.put(h, was[i])
			break
		}
		p.put(h, to)
		done++
	}
	if done == len(riders) && p.total.over <= over {
		return true
	}
	for i := range done {
		p.lift(riders[i])
		p.put(riders[i], was[i])
	}
	return false
}

// without gives the cheapest set of LSPs in use that does without a carrier and is
// as disjoint as what a half has; nil where there is none. The half is lifted.
func (p *Planner) without(h *half, c *carrier) *set {
	s := h.shape
	b := builder{n: p.net, s: s, limit: maxSetsLarge, steps: setSteps / 20, best: p.net.rate(s.goal, h.chosen.routes)}
	for i, ps := range s.pairs {
		if i > 0 && s.pairs[i-1] == ps {
			b.pools = append(b.pools, b.pools[i-1])
			continue
		}
		p.nameRides(ps)
		var pool []*route
		for _, o := range ps.carriers {
			if o.route == c.route && ps == c.pair || o.template != s.template || !p.net.pathFits(o.route, &s.cons) {
				continue
			}
			if o.fresh > 0 || slices.Contains(h.chosen.routes, o.route) || slices.ContainsFunc(o.existing, func(l *lspState) bool { return l.users > 0 || !l.owned }) {
				pool = append(pool, o.route)
			}
		}
		slices.SortFunc(pool, byCost(s.metric))
		b.pools = append(b.pools, slices.Compact(pool))
	}
	for i := range b.pools {
		n := 0
		for j := range s.pairs {
			n += btoi(s.pairs[j] == s.pairs[i])
		}
		if len(b.pools[i]) < n {
			return nil
		}
	}
	b.run()
	var best *set
	var least price
	for _, t := range b.got {
		st := p.newSet(s, t.routes)
		if pr := p.price(h, st); best == nil || pr.less(least) {
			best, least = st, pr
		}
	}
	return best
}
