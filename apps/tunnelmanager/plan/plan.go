package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// Plan decides which LSPs there should be and which of them each slot rides. The
// objective, in this order: disjointness of every pair of each group, overload,
// number of changes (slots that move, LSPs to signal), path cost (each demand's in
// its own metric; sums in different metrics are not weighed). Equal inputs
// give equal plans. An error means that the input contradicts itself; a demand
// that cannot be met is no error but an Outcome with Unmet.
func Plan(in Input) (Result, error) {
	p, err := New(in)
	if err != nil {
		return Result{}, err
	}
	return p.Run(), nil
}

// Run plans all the demands, in the scope of the input. Outcomes come in its order.
func (p *Planner) Run() Result {
	all := p.order
	switch p.in.Scope {
	case Incremental:
		p.planFor(p.unsettled(all))
	case Redesign:
		work := slices.DeleteFunc(slices.Clone(all), func(d *demandState) bool { return d.Hold && !d.broken })
		p.planFor(work)
	}
	if p.in.Tidy && p.in.Scope != Evaluate {
		p.tidy()
	}
	res := p.result(all)
	place := make(map[string]int, len(p.in.Demands))
	for i := range p.in.Demands {
		place[p.in.Demands[i].ID] = i
	}
	slices.SortFunc(res.Demands, func(a, b Outcome) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	return res
}

// unsettled gives the demands that need planning: a slot lost its LSP, the pairs
// could be more disjoint, or share so much less that goodput grows.
func (p *Planner) unsettled(all []*demandState) []*demandState {
	var work []*demandState
	for _, d := range all {
		if d.broken || !d.Hold && !p.settled(d) {
			work = append(work, d)
		}
	}
	return work
}

func (p *Planner) settled(d *demandState) bool {
	for _, h := range d.halves {
		if h.before.pairs(score{}) == 0 {
			continue
		}
		p.bound(h.shape)
		switch s := h.shape; {
		case s.none || h.before.compare(s.best) <= 0:
		case h.before.pairs(s.best) > 0, p.sum(s.tuples[0].routes) > p.sum(h.stay.routes):
			return false
		}
	}
	return true
}

// planFor places demands one by one, the broken first, then those with the most
// connections, and then looks whether moving some relieves overloaded links.
func (p *Planner) planFor(work []*demandState) {
	slices.SortStableFunc(work, func(a, b *demandState) int {
		return cmp.Or(btoi(b.broken)-btoi(a.broken), cmp.Compare(b.Weight, a.Weight), cmp.Compare(b.Level, a.Level),
			cmp.Compare(len(b.Forward), len(a.Forward)), cmp.Compare(a.ID, b.ID))
	})
	for _, d := range work {
		p.place(d)
	}
	p.relieve(work)
}

// place chooses for both directions of a demand.
func (p *Planner) place(d *demandState) {
	for _, h := range d.halves {
		p.lift(h)
		p.put(h, p.choose(h))
	}
	p.refuseLess(d)
}

// choose gives the best candidate of a half that is lifted.
func (p *Planner) choose(h *half) *set {
	if len(h.order) == 0 || h.d.Level == disjoint.None && !h.d.broken {
		return h.stay
	}
	s := h.shape
	p.bound(s)
	h.limited = false
	if best := p.pick(h); best != nil && p.goodEnough(h, best) {
		return best
	}
	p.deepen(s)
	if best := p.pick(h); best != nil {
		return best
	}
	if best := p.makeRoom(h); best != nil {
		return best
	}
	h.limited = true
	if best := p.pickWithin(h); best != nil {
		return best
	}
	return h.stay
}

// goodEnough tells that looking at more candidates for a half that is lifted would
// hardly bring a better one: the best of them was looked at and no link is beyond
// capacity; nothing new has to be signalled, or nothing that exists is unknown.
func (p *Planner) goodEnough(h *half, best *set) bool {
	pr := p.price(h, best)
	if pr.over > 0 {
		return false
	}
	if h.shape.complete() {
		return true
	}
	return !p.net.small() && (best.stay || pr.changes <= len(best.carriers) && !slices.ContainsFunc(best.carriers, func(c *carrier) bool {
		return len(c.existing) == 0 && c.fresh == 0
	}))
}

// refuseLess takes back what was planned for a strict demand that cannot have
// what it asks for.
func (p *Planner) refuseLess(d *demandState) {
	if !d.Strict {
		return
	}
	for _, h := range d.halves {
		if p.net.rate(h.shape.goal, h.chosen.routes).worst > 0 {
			d.refused = true
		}
	}
	if d.refused {
		for _, h := range d.halves {
			p.lift(h)
			p.put(h, h.stay)
		}
	}
}

// result names new LSPs, and tells what came of each demand.
func (p *Planner) result(all []*demandState) Result {
	res := Result{Demands: make([]Outcome, 0, len(all)), Signal: []topology.LSP{}, Release: []topology.LSPKey{}, After: map[topology.LSPKey][]topology.LSPKey{}}
	var fresh []*lspState
	for _, d := range all {
		for _, h := range d.halves {
			for _, c := range h.chosen.carriers {
				if c.fresh > 0 && c.planned == nil {
					p.signal(c)
					fresh = append(fresh, c.planned)
					res.Signal = append(res.Signal, c.planned.LSP)
				}
			}
		}
	}
	for _, d := range all {
		res.Demands = append(res.Demands, p.outcome(d))
	}
	for id := range p.idle {
		if p.in.Scope == Evaluate {
			break
		}
		res.Release = append(res.Release, id)
	}
	slices.SortFunc(res.Release, compareKeys)
	p.waitFor(&res, fresh)
	return res
}

// signal gives a carrier without an LSP a new one.
func (p *Planner) signal(c *carrier) {
	l := p.templates[c.template]
	l.Ingress, l.Egress, l.AdminUp = c.pair.Ingress, c.pair.Egress, true
	l.ERO = p.net.ero(c.route)
	for n := 1; ; n++ {
		l.Name = p.in.Owner + l.Ingress + "-" + l.Egress + "/" + strconv.Itoa(n)
		if !p.taken[l.Name] {
			break
		}
	}
	p.taken[l.Name] = true
	c.planned = &lspState{LSP: l, route: c.route, owned: true, usable: true, alive: true, planned: true}
}

// waitFor finds which releases a new reservation has to wait for.
func (p *Planner) waitFor(res *Result, fresh []*lspState) {
	for _, l := range fresh {
		if l.Bandwidth == 0 {
			continue
		}
		for _, a := range l.route.arcs {
			if p.net.bandwidthFree(a, l.SetupPriority) >= p.reserved[a] {
				continue
			}
			for _, id := range res.Release {
				r := p.lsps[id]
				if r.alive && r.route != nil && r.Bandwidth > 0 && slices.Contains(r.route.arcs, a) && !slices.Contains(res.After[l.Key()], id) {
					res.After[l.Key()] = append(res.After[l.Key()], id)
				}
			}
		}
	}
}

// assignment gives the LSP names of a half, by slot of the demand.
func (h *half) assignment() []string {
	out := make([]string, len(h.order))
	if h.chosen.stay {
		for i, slot := range h.order {
			out[slot] = h.names[i]
		}
		return out
	}
	filled := make([]bool, len(h.order))
	var moved []int
	for i := range h.chosen.carriers {
		if j := h.keptOn(h.chosen, i); j >= 0 {
			out[h.order[j]], filled[j] = h.keeps[j].Name, true
		} else {
			moved = append(moved, i)
		}
	}
	for _, i := range moved {
		c := h.chosen.carriers[i]
		for j := range filled {
			if filled[j] || h.shape.pairs[j] != c.pair {
				continue
			}
			filled[j] = true
			if len(c.existing) > 0 {
				out[h.order[j]] = c.existing[0].Name
			} else {
				out[h.order[j]] = c.planned.Name
			}
			break
		}
	}
	return out
}

func (p *Planner) outcome(d *demandState) Outcome {
	o := Outcome{ID: d.ID, Requested: d.Level, Before: d.before, Gain: 1}
	var after [2]score
	for dir, h := range d.halves {
		after[dir] = p.net.rate(h.shape.goal, h.chosen.routes)
	}
	o.After = worse(d.Level, after[0].level(d.Level), after[1].level(d.Level))
	o.Assignment = Assignment{Forward: d.halves[0].assignment(), Reverse: d.halves[1].assignment()}
	o.Changed = changed(d.current.Forward, o.Assignment.Forward) + changed(d.current.Reverse, o.Assignment.Reverse)
	o.Gain = p.gain(d)
	o.Shared = p.net.shared(d.Level, d.halves[0].chosen.routes, d.halves[1].chosen.routes)
	if o.After != o.Requested {
		o.Unmet = p.unmet(d, after)
	}
	if l := d.halves[0].shape.noDelay; l != "" {
		if o.Unmet != "" {
			o.Unmet += "; "
		}
		o.Unmet += "the delay of link " + l + " is not known: path cost is the TE metric instead"
	}
	return o
}

func changed(was, is []string) int {
	n := 0
	for i, name := range is {
		old := ""
		if i < len(was) {
			old = was[i]
		}
		n += btoi(name != old)
	}
	return n
}

func (o Outcome) String() string {
	return fmt.Sprintf("%s: %s -> %s (asked for %s), %d changed", o.ID, o.Before, o.After, o.Requested, o.Changed)
}
