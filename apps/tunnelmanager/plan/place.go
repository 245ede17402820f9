package plan

import (
	"slices"

	"mpbox/topology"
)

// Place plans for one more demand, as Plan with the incremental scope does for a
// new one, in a time that does not depend on how many there are. The result tells
// of this demand and of those that make room for it. The planner then goes on as
// if the result had been carried out.
func (p *Planner) Place(d Demand, current Assignment) (Result, error) {
	clear(p.touched)
	for _, names := range [2][]string{current.Forward, current.Reverse} {
		for _, name := range names {
			p.taken[name] = true
		}
	}
	ds, err := p.take(&d, current)
	if err != nil {
		return Result{}, err
	}
	p.quick, p.effort = true, quickEffort
	p.in.Scope = Incremental
	p.planFor(p.unsettled([]*demandState{ds}))
	all := make([]*demandState, 0, len(p.touched))
	for t := range p.touched {
		if t == ds || t.halves[0].chosen != t.halves[0].stay || t.halves[1].chosen != t.halves[1].stay {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *demandState) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	res := p.result(all)
	if err := p.commit(all, &res); err != nil {
		return Result{}, err
	}
	return res, nil
}

// Remove forgets a demand and gives the owned LSPs that have no users now.
func (p *Planner) Remove(id string) []topology.LSPKey {
	d, ok := p.demands[id]
	if ok {
		for _, h := range d.halves {
			p.lift(h)
		}
		delete(p.demands, id)
		p.order = slices.DeleteFunc(p.order, func(o *demandState) bool { return o == d })
	}
	out := make([]topology.LSPKey, 0, len(p.idle))
	for idle := range p.idle {
		out = append(out, idle)
	}
	slices.SortFunc(out, compareKeys)
	return out
}

// Forget takes an owned LSP that has been released out of the inventory.
func (p *Planner) Forget(id topology.LSPKey) {
	l := p.idle[id]
	if l == nil {
		return
	}
	delete(p.idle, id)
	delete(p.lsps, id)
	sameName := false
	for other := range p.lsps {
		sameName = sameName || other.Name == id.Name
	}
	if !sameName {
		delete(p.taken, id.Name)
	}
	q := Pair{l.Ingress, l.Egress}
	is := func(o *lspState) bool { return o == l }
	p.lspsOf[q] = slices.DeleteFunc(p.lspsOf[q], is)
	if ps := p.pairs[q]; ps != nil {
		ps.lsps = slices.DeleteFunc(ps.lsps, is)
		for _, c := range ps.carriers {
			c.existing = slices.DeleteFunc(c.existing, is)
		}
	}
}

// commit makes the new LSPs part of the inventory and what was chosen what is.
func (p *Planner) commit(all []*demandState, res *Result) error {
	for _, d := range all {
		for _, h := range d.halves {
			for _, c := range h.chosen.carriers {
				if c.planned != nil {
					p.adopt(c)
				}
			}
		}
	}
	for i, d := range all {
		d.current = res.Demands[i].Assignment
		d.broken = false
		for dir, h := range d.halves {
			p.lift(h)
			slots := [2][]Pair{d.Forward, d.Reverse}[dir]
			fresh, err := p.newHalf(d, dir, slots, h.shape.cons, h.shape.template)
			if err != nil {
				return err
			}
			d.halves[dir] = fresh
			p.put(fresh, fresh.stay)
		}
		d.before = worse(d.Level, d.halves[0].before.level(d.Level), d.halves[1].before.level(d.Level))
	}
	return nil
}

// adopt makes a planned LSP one that exists.
func (p *Planner) adopt(c *carrier) {
	l, ps := c.planned, c.pair
	l.planned, l.users = false, c.fresh
	p.newLSPs--
	p.newOf[ps.Pair]--
	p.total.changes--
	c.planned, c.fresh, c.existing = nil, 0, append(c.existing, l)
	p.lsps[l.Key()] = l
	p.lspsOf[ps.Pair] = append(p.lspsOf[ps.Pair], l)
	ps.lsps = append(ps.lsps, l)
	p.sortByPreference(ps)
	for _, o := range ps.carriers {
		if o != c && o.route == c.route && o.fresh == 0 && p.serves(l, o.template) {
			o.existing = append(o.existing, l)
		}
	}
}
