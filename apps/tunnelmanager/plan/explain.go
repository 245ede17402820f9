package plan

import (
	"fmt"
	"time"

	"mpbox/topology/disjoint"
)

// Explanation tells what a demand's flows ride now, how disjoint that is, and why
// it is not better.
type Explanation struct {
	ID string
	// Requested and Achieved level, of the worse direction; Possible is what could
	// be had now.
	Requested, Achieved, Possible disjoint.Level
	Slots                         []SlotExplanation
	// Pairs are the pairs of slots that are less disjoint than requested.
	Pairs []PairExplanation
	// Why is why Achieved is not Requested, and what would cure it; "" when it is.
	Why string
}

// SlotExplanation is one slot in one direction.
type SlotExplanation struct {
	// Direction is "forward" or "reverse", Slot counts from 0.
	Direction string
	Slot      int
	Pair
	// LSP that the flows ride: assigned to them, or else the PE's default (Steered
	// false). "" where none is known.
	LSP     string
	Steered bool
	// Assumed: no LSP is known; the route is the shortest by TE metric.
	Assumed bool
	// Nodes and Links of the route; empty where it is not known.
	Nodes, Links []string
	// Cost in the input's metric; Delay and Capacity (bit/s) where all the links
	// tell it, else 0.
	Cost     int64
	Delay    time.Duration
	Capacity float64
}

// PairExplanation is what two slots of one direction share.
type PairExplanation struct {
	Direction string
	A, B      int
	Level     disjoint.Level
	Shared    disjoint.Shared
}

// Explain tells about the demand of that ID as it is assigned now. It is a pure
// function; nothing is planned.
func Explain(in Input, id string) (Explanation, error) {
	in.Scope = Evaluate
	var one []Demand
	for _, d := range in.Demands {
		if d.ID == id {
			one = append(one, d)
		}
	}
	if len(one) == 0 {
		return Explanation{}, fmt.Errorf("explain demand: there is none with ID %q", id)
	}
	in.Demands = one
	in.Current = map[string]Assignment{id: in.Current[id]}
	p, err := New(in)
	if err != nil {
		return Explanation{}, err
	}
	d := p.demands[id]
	e := Explanation{ID: id, Requested: d.Level, Achieved: d.before, Possible: d.Level}
	var scores [2]score
	for dir, h := range d.halves {
		name := [2]string{"forward", "reverse"}[dir]
		scores[dir] = h.before
		best := h.before
		if best.worst > 0 {
			p.bound(h.shape)
			if !h.shape.none && h.shape.best.pairs(best) < 0 {
				best = h.shape.best
			}
		}
		e.Possible = worse(d.Level, e.Possible, best.level(d.Level))
		at := make([]int, len(h.order)) // place in the half, by slot
		for i, slot := range h.order {
			at[slot] = i
		}
		for slot, i := range at {
			e.Slots = append(e.Slots, p.explainSlot(h, name, slot, i))
		}
		for b := range at {
			for a := range b {
				ra, rb := h.stay.routes[at[a]], h.stay.routes[at[b]]
				if n := p.net.deficit(d.Level, ra, rb); n > 0 {
					e.Pairs = append(e.Pairs, PairExplanation{
						Direction: name, A: a, B: b, Level: ladder(d.Level)[n],
						Shared: p.net.shared(d.Level, []*route{ra, rb}),
					})
				}
			}
		}
	}
	if e.Achieved != e.Requested {
		e.Why = p.unmet(d, scores)
	}
	return e, nil
}

func (p *Planner) explainSlot(h *half, direction string, slot, i int) SlotExplanation {
	ps := h.shape.pairs[i]
	s := SlotExplanation{Direction: direction, Slot: slot, Pair: ps.Pair, Nodes: []string{}, Links: []string{}}
	if l := h.rides[i]; l != nil {
		s.LSP, s.Steered = l.Name, h.names[i] != ""
	} else {
		s.Assumed = ps.defaultAssumed
	}
	r := h.stay.routes[i]
	if r == nil {
		return s
	}
	s.Nodes = append(s.Nodes, p.net.nodeName(r.from))
	s.Cost, s.Delay = r.cost, r.delay
	least := int64(-1)
	for _, ai := range r.arcs {
		a := &p.net.arcs[ai]
		s.Nodes = append(s.Nodes, p.net.nodeName(a.to))
		s.Links = append(s.Links, p.net.links[a.link].name)
		if a.delay == 0 {
			s.Delay = 0
		}
		if least < 0 || a.capacity < least {
			least = a.capacity
		}
	}
	s.Capacity = float64(max(0, least))
	return s
}
