package plan

import (
	"cmp"
	"math/bits"
	"slices"

	"mpbox/topology/disjoint"
)

// ladders are, for each level that can be asked for, the levels to fall back to,
// best first. The place on the ladder is a pair's deficit.
var ladders = [...][]disjoint.Level{
	disjoint.None:     {disjoint.None},
	disjoint.Link:     {disjoint.Link, disjoint.None},
	disjoint.SRLG:     {disjoint.SRLG, disjoint.Link, disjoint.None},
	disjoint.Node:     {disjoint.Node, disjoint.Link, disjoint.None},
	disjoint.NodeSRLG: {disjoint.NodeSRLG, disjoint.Node, disjoint.SRLG, disjoint.Link, disjoint.None},
}

func ladder(requested disjoint.Level) []disjoint.Level {
	return ladders[min(int(requested), len(ladders)-1)]
}

// deficit tells how far two routes are from the requested level. An unknown route
// (nil) may share everything.
func (n *network) deficit(requested disjoint.Level, a, b *route) int {
	steps := len(ladder(requested)) - 1
	if steps == 0 {
		return 0
	}
	if a == nil || b == nil {
		return steps
	}
	link, srlg, node := n.conflict(a, b)
	if link {
		return steps
	}
	switch requested {
	case disjoint.Node:
		return btoi(node)
	case disjoint.SRLG:
		return btoi(srlg)
	case disjoint.NodeSRLG:
		return btoi(srlg) + 2*btoi(node)
	default:
		return 0
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// goal is what a group of routes is scored by: the level that is asked for, and the
// metric that shared links are counted in.
type goal struct {
	level  disjoint.Level
	metric disjoint.Metric
}

// score says how disjoint a group is; smaller is better, compared in the order of
// the fields.
type score struct {
	// worst is the deficit of the worst pair: the level that is reported. sum is
	// that of all pairs.
	worst, sum int
	// risks counts the uses beyond the first of SRLGs and inner nodes, where the
	// level asks for these; linkCost the same of links, times their cost.
	risks    int
	linkCost int64
}

func (s score) compare(o score) int {
	return cmp.Or(s.pairs(o), cmp.Compare(s.risks, o.risks), cmp.Compare(s.linkCost, o.linkCost))
}

// pairs compares the levels of the pairs alone.
func (s score) pairs(o score) int {
	return cmp.Or(cmp.Compare(s.worst, o.worst), cmp.Compare(s.sum, o.sum))
}

// level is the level of the worst pair.
func (s score) level(requested disjoint.Level) disjoint.Level {
	return ladder(requested)[s.worst]
}

// extend gives the score of a group with one more route. used are the bits of
// all routes so far; the caller adds r's.
func (n *network) extend(s score, by goal, group []*route, used []uint64, r *route) score {
	for _, o := range group {
		d := n.deficit(by.level, o, r)
		s.worst = max(s.worst, d)
		s.sum += d
	}
	if r == nil || by.level == disjoint.None {
		return s
	}
	for w, x := range r.bits[:n.srlgAt] {
		for x &= used[w]; x != 0; x &= x - 1 {
			s.linkCost += n.links[w*64+bits.TrailingZeros64(x)].cost[by.metric]
		}
	}
	if by.level == disjoint.SRLG || by.level == disjoint.NodeSRLG {
		for w := n.srlgAt; w < n.nodeAt; w++ {
			s.risks += bits.OnesCount64(r.bits[w] & used[w])
		}
	}
	if by.level == disjoint.Node || by.level == disjoint.NodeSRLG {
		for w := range n.words - n.allAt {
			inner, all := n.nodeAt+w, n.allAt+w
			s.risks += bits.OnesCount64(r.bits[inner]&used[all] | r.bits[all]&used[inner])
		}
	}
	return s
}

// rate scores a whole group.
func (n *network) rate(by goal, group []*route) score {
	var s score
	used := make([]uint64, n.words)
	for i, r := range group {
		s = n.extend(s, by, group[:i], used, r)
		if r != nil {
			for w, x := range r.bits {
				used[w] |= x
			}
		}
	}
	return s
}

// shared lists what two or more routes of the groups have in common, as far as
// the level asks about it.
func (n *network) shared(requested disjoint.Level, groups ...[]*route) disjoint.Shared {
	both := make([]uint64, n.words)
	nodes := both[n.nodeAt:n.allAt]
	for _, g := range groups {
		used := make([]uint64, n.words)
		for _, r := range g {
			if r == nil {
				continue
			}
			for w := range nodes {
				inner, all := n.nodeAt+w, n.allAt+w
				nodes[w] |= r.bits[inner]&used[all] | r.bits[all]&used[inner]
			}
			for w, x := range r.bits {
				if w < n.nodeAt {
					both[w] |= used[w] & x
				}
				used[w] |= x
			}
		}
	}
	sh := disjoint.Shared{Nodes: []string{}, Links: []string{}, SRLGs: []uint32{}}
	if requested == disjoint.None {
		return sh
	}
	eachBit(both[:n.srlgAt], func(i int) { sh.Links = append(sh.Links, n.links[i].name) })
	if requested == disjoint.SRLG || requested == disjoint.NodeSRLG {
		eachBit(both[n.srlgAt:n.nodeAt], func(i int) { sh.SRLGs = append(sh.SRLGs, n.srlgs[i]) })
	}
	if requested == disjoint.Node || requested == disjoint.NodeSRLG {
		eachBit(nodes, func(i int) { sh.Nodes = append(sh.Nodes, n.nodeName(int32(i))) })
	}
	slices.Sort(sh.Nodes)
	slices.Sort(sh.Links)
	slices.Sort(sh.SRLGs)
	return sh
}

// worse gives the lower of two levels on the ladder of the requested one.
func worse(requested, a, b disjoint.Level) disjoint.Level {
	l := ladder(requested)
	if slices.Index(l, a) > slices.Index(l, b) {
		return a
	}
	return b
}
