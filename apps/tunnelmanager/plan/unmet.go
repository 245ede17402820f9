package plan

import (
	"fmt"
	"strings"

	"mpbox/topology/disjoint"
)

// unmet tells why a demand is less disjoint than it asked for, what is shared, and
// which link would cure it.
func (p *Planner) unmet(d *demandState, after [2]score) string {
	var text string
	shared, cures := [2]string{}, [2]string{}
	for dir, h := range d.halves {
		if after[dir].worst > 0 {
			shared[dir], cures[dir] = p.unmetHalf(h, after[dir])
		}
	}
	for dir, name := range [2]string{"forward", "reverse"} {
		switch {
		case shared[dir] == "":
			continue
		case shared[0] == shared[1] && dir == 1:
			continue // the same in both directions, and so is the cure
		case shared[0] == shared[1]:
			name = "both directions"
		}
		if text != "" {
			text += "; "
		}
		text += name + ": " + shared[dir]
		if cures[dir] != "" {
			text += "; " + cures[dir]
		}
	}
	switch {
	case d.refused:
		text = "strict, so nothing is changed: " + text
	case d.Hold && !d.broken:
		text = "held as it is for now: " + text
	}
	return text
}

// unmetHalf tells what is shared in one direction, and what would cure it.
func (p *Planner) unmetHalf(h *half, got score) (shared, cure string) {
	level := h.d.Level
	routes := h.chosen.routes
	for i, r := range routes {
		if r == nil {
			pair := h.shape.pairs[i]
			if p.bound(h.shape); h.shape.none {
				return fmt.Sprintf("there is no path from %s to %s within the constraints", pair.Ingress, pair.Egress), ""
			}
			return fmt.Sprintf("the route of slot %d from %s to %s is not known", h.order[i]+1, pair.Ingress, pair.Egress), ""
		}
	}
	shared = p.sharedBy(h, routes)
	p.bound(h.shape)
	if !h.shape.none && h.shape.best.pairs(got) < 0 && !h.d.refused {
		cure = h.shape.best.level(level).String() + " can be had"
		if h.shape.best.worst == got.worst {
			cure = "fewer slots can share"
		}
		switch {
		case p.in.Scope == Evaluate:
			cure += " by planning"
		case h.d.Hold:
			cure += " when it is no longer held"
		default:
			cure += " once more LSPs may be signalled: " + p.limits(h.d)
		}
		return shared, cure
	}
	if !h.shape.none {
		routes = h.shape.tuples[0].routes // what the cure starts from
	}
	if cure = p.cure(h.shape, routes); cure == "" && !plain(&h.shape.cons) {
		cure = "the policy's constraints may rule out what would help"
	}
	return shared, cure
}

// limits names the limits that are in force.
func (p *Planner) limits(d *demandState) string {
	var l []string
	if d.NoNew || len(p.avoid) > 0 {
		l = append(l, "some did not come up and are not tried again yet")
	}
	if p.in.MaxNewLSPs > 0 {
		l = append(l, fmt.Sprintf("at most %d in one plan", p.in.MaxNewLSPs))
	}
	if p.in.MaxPerPair != nil {
		l = append(l, "the PE's limit of LSPs to one egress")
	}
	for _, t := range p.templates {
		if t.Bandwidth > 0 {
			l = append(l, "the bandwidth that is not reserved")
			break
		}
	}
	return strings.Join(l, ", ")
}

// sharedBy names the pair of slots that shares most, and what.
func (p *Planner) sharedBy(h *half, routes []*route) string {
	most, a, b := 0, 0, 0
	for i := range routes {
		for j := range i {
			if d := p.net.deficit(h.d.Level, routes[j], routes[i]); d > most {
				most, a, b = d, j, i
			}
		}
	}
	sh := p.net.shared(h.d.Level, []*route{routes[a], routes[b]})
	first, second := h.order[a]+1, h.order[b]+1
	if first > second {
		first, second = second, first
	}
	return fmt.Sprintf("slots %d and %d share %s", first, second, listShared(sh))
}

func listShared(sh disjoint.Shared) string {
	var l []string
	add := func(what string, names []string) {
		if len(names) > 1 {
			what += "s"
		}
		if len(names) > 0 {
			l = append(l, what+" "+strings.Join(names, ", "))
		}
	}
	add("link", sh.Links)
	add("node", sh.Nodes)
	var groups []string
	for _, g := range sh.SRLGs {
		groups = append(groups, fmt.Sprint(g))
	}
	add("SRLG", groups)
	return strings.Join(l, " and ")
}

// cure names a link that would make the group as disjoint as asked for: one that
// leads a route round all that it shares with the others. "" where no one link
// does.
func (p *Planner) cure(s *shape, routes []*route) string {
	bestSpan, bestSum := 0, 0
	var from, to int32 = -1, -1
	for i, r := range routes {
		lo, hi, ok := p.net.sharedSpan(s.level, routes, i)
		if !ok {
			continue
		}
		others := 0
		for a := range routes {
			for b := range a {
				if a != i && b != i {
					others += p.net.deficit(s.level, routes[a], routes[b])
				}
			}
		}
		if span := hi - lo; from < 0 || others < bestSum || others == bestSum && span < bestSpan {
			bestSpan, bestSum = span, others
			from, to = r.from, r.to
			if lo > 0 {
				from = p.net.arcs[r.arcs[lo]].from
			}
			if hi < len(r.arcs) {
				to = p.net.arcs[r.arcs[hi]].from
			}
		}
	}
	if from < 0 {
		return ""
	}
	text := fmt.Sprintf("a link between %s and %s", p.net.nodeName(from), p.net.nodeName(to))
	for _, a := range p.net.out[from] {
		if p.net.arcs[a].to == to {
			text = fmt.Sprintf("another link between %s and %s", p.net.nodeName(from), p.net.nodeName(to))
		}
	}
	if s.level == disjoint.SRLG || s.level == disjoint.NodeSRLG {
		text += " outside these risk groups"
	}
	if bestSum > 0 {
		return text + " would help, but more are needed"
	}
	return text + " would cure it"
}

// sharedSpan gives the part of route i, from its lo-th to its hi-th node, that
// holds all that it shares with the others. Not ok when an end of it is shared,
// or nothing is.
func (n *network) sharedSpan(level disjoint.Level, routes []*route, i int) (lo, hi int, ok bool) {
	r := routes[i]
	others := slicesWithout(routes, i)
	bad := n.forbid(level, others)
	inner := make([]uint64, n.allAt-n.nodeAt)
	for _, o := range others {
		for w := range inner {
			inner[w] |= o.bits[n.nodeAt+w]
		}
	}
	lo, hi = len(r.arcs), 0
	mark := func(from, to int) { lo, hi = min(lo, from), max(hi, to) }
	for j, ai := range r.arcs {
		a := &n.arcs[ai]
		if hasBit(bad, int(a.link)) {
			mark(j, j+1)
		}
		for _, s := range a.srlgs {
			if hasBit(bad[n.srlgAt:], int(s)) {
				mark(j, j+1)
			}
		}
		if j > 0 && hasBit(bad[n.allAt:], int(a.from)) {
			mark(j-1, j+1)
		}
	}
	if level == disjoint.Node || level == disjoint.NodeSRLG {
		if hasBit(inner, int(r.from)) || hasBit(inner, int(r.to)) {
			return 0, 0, false
		}
	}
	return lo, hi, lo < hi
}

func slicesWithout(routes []*route, i int) []*route {
	out := make([]*route, 0, len(routes))
	out = append(out, routes[:i]...)
	return append(out, routes[i+1:]...)
}
