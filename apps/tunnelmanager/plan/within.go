package plan

import (
	"math"
	"slices"
)

// pickWithin looks for the best set that keeps the limits on new LSPs and on
// reservations, when no set with the best score does. nil where nothing is better
// than what there is.
func (p *Planner) pickWithin(h *half) *set {
	s := h.shape
	pools, _ := p.pools(s)
	for i := range pools {
		if i > 0 && s.pairs[i] == s.pairs[i-1] {
			pools[i] = pools[i-1]
			continue
		}
		pools[i] = slices.DeleteFunc(pools[i], func(r *route) bool {
			one := &set{carriers: []*carrier{p.carrier(s.pairs[i], r, s.template)}}
			return !p.feasible(h, one)
		})
	}
	b := builder{n: p.net, s: s, pools: pools, limit: maxSetsLarge, steps: setSteps / 4, best: score{worst: math.MaxInt}}
	b.repeat = true // better some of the slots apart than none
	b.fits = func(routes []*route) bool { return p.feasible(h, p.newSet(s, routes)) }
	if !h.d.broken {
		b.best = h.before
	}
	b.run()
	var best *set
	var least price
	if !h.d.broken || h.before.pairs(b.best) <= 0 {
		best, least = h.stay, p.price(h, h.stay)
	}
	if best != nil && h.before.compare(b.best) > 0 {
		best = nil
	}
	for _, t := range b.got {
		st := p.newSet(s, t.routes)
		if pr := p.price(h, st); best == nil || pr.less(least) {
			best, least = st, pr
		}
	}
	return best
}
