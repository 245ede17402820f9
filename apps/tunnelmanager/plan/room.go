package plan

import (
	"cmp"
	"slices"
)

// Bounds of the search for room.
const (
	roomSets  = 24 // candidate sets that room is sought for
	roomMoves = 4  // halves that may have to move for one of them
)

// makeRoom looks for a candidate that only lacks bandwidth which owned LSPs have
// reserved, and moves these where their demands lose nothing. Moves go one deep:
// who makes room is not made room for. nil where there is no such candidate; the
// half is lifted.
func (p *Planner) makeRoom(h *half) *set {
	if p.templates[h.shape.template].Bandwidth == 0 || h.shape.none {
		return nil
	}
	all := p.candidates(h.shape)
	for _, st := range all[:min(len(all), roomSets)] {
		lacking := p.lacking(st)
		if len(lacking) == 0 {
			continue
		}
		if undo, ok := p.vacate(h, lacking); ok && p.feasible(h, st) {
			return st
		} else if undo != nil {
			undo()
		}
	}
	return nil
}

// lacking gives the arcs on which a set's new LSPs find too little bandwidth.
func (p *Planner) lacking(st *set) []int32 {
	want := map[int32]float64{}
	for i, c := range st.carriers {
		if len(c.existing) > 0 || c.fresh > 0 || slices.Contains(st.carriers[:i], c) {
			continue
		}
		for _, a := range c.route.arcs {
			want[a] += p.templates[c.template].Bandwidth
		}
	}
	var out []int32
	for a, bw := range want {
		if p.free(a, p.templates[st.carriers[0].template].SetupPriority) < bw {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}

// free is the bandwidth that a plan may still reserve on an arc.
func (p *Planner) free(a int32, priority uint8) float64 {
	return p.net.bandwidthFree(a, priority) + p.givenBack[a] - p.reserved[a]
}

// vacate moves others' LSPs off the arcs, one on each. undo takes all of it back;
// it is nil where nothing was moved.
func (p *Planner) vacate(h *half, arcs []int32) (undo func(), ok bool) {
	type moved struct {
		h   *half
		was *set
	}
	var moves []moved
	undo = func() {
		for i := len(moves) - 1; i >= 0; i-- {
			p.lift(moves[i].h)
			p.put(moves[i].h, moves[i].was)
		}
	}
	for _, a := range arcs {
		done := false
		for _, riders := range p.reservedBy(h, a) {
			if len(moves)+len(riders) > roomMoves {
				continue
			}
			before := len(moves)
			for _, r := range riders {
				to := p.avoiding(r, arcs)
				if to == nil {
					break
				}
				moves = append(moves, moved{r, r.chosen})
				p.lift(r)
				p.put(r, to)
			}
			if done = len(moves) == before+len(riders); done {
				break
			}
			for len(moves) > before {
				m := moves[len(moves)-1]
				p.lift(m.h)
				p.put(m.h, m.was)
				moves = moves[:len(moves)-1]
			}
		}
		if !done {
			return undo, false
		}
	}
	return undo, true
}

// reservedBy gives, for each owned LSP that reserves on an arc, the halves that
// ride it; those with the fewest first, none that must stay.
func (p *Planner) reservedBy(but *half, a int32) [][]*half {
	byCarrier := map[*carrier][]*half{}
	fixed := map[*carrier]bool{}
	for _, d := range p.order {
		for _, h := range d.halves {
			if h == but || !h.in {
				continue
			}
			for i, r := range h.chosen.routes {
				if r == nil || !slices.Contains(r.arcs, a) {
					continue
				}
				if h.chosen.stay && h.names[i] == "" {
					continue
				}
				c := p.carrier(h.shape.pairs[i], r, h.shape.template)
				if p.templates[c.template].Bandwidth == 0 {
					continue
				}
				if !slices.Contains(byCarrier[c], h) {
					byCarrier[c] = append(byCarrier[c], h)
				}
				fixed[c] = fixed[c] || d.Hold || d.refused || d == but.d
			}
		}
	}
	out := make([][]*half, 0, len(byCarrier))
	for c, hs := range byCarrier {
		if !fixed[c] {
			out = append(out, hs)
		}
	}
	slices.SortFunc(out, func(x, y []*half) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x[0].d.ID, y[0].d.ID), cmp.Compare(x[0].dir, y[0].dir))
	})
	return out
}

// avoiding gives another choice of a half that reserves nothing new on the arcs, is
// as disjoint as what it has, and can be set up while that still stands; nil where
// there is none.
func (p *Planner) avoiding(h *half, arcs []int32) *set {
	p.deepen(h.shape)
	if h.shape.none || h.shape.best.compare(p.net.rate(h.shape.goal, h.chosen.routes)) > 0 {
		return nil
	}
	var best *set
	var least price
	for _, st := range p.candidates(h.shape) {
		clear := !slices.ContainsFunc(st.arcs, func(u arcUse) bool { return slices.Contains(arcs, u.arc) })
		if !clear || !p.feasible(h, st) {
			continue
		}
		if pr := p.price(h, st); best == nil || pr.less(least) {
			best, least = st, pr
		}
	}
	return best
}
