package disjoint

import (
	"slices"

	"mpbox/topology"
)

// Score tells how disjoint a set of paths is (each a list of indexes into
// TED.Links) and what is shared: links (either direction), SRLGs, and nodes that
// lie on two paths and inside at least one of them. Ends that paths have in
// common are not shared. A set of less than two paths is fully disjoint.
func Score(t *topology.TED, paths [][]int) (Level, Shared) {
	s := Shared{Nodes: []string{}, Links: []string{}, SRLGs: []uint32{}}
	nodes, links, srlgs := map[int]use{}, map[int]use{}, map[uint32]use{}
	for p, path := range paths {
		for i, li := range path {
			l := &t.Links()[li]
			touch(links, risk(t, li), p, false)
			for _, g := range l.SRLGs {
				touch(srlgs, g, p, false)
			}
			touch(nodes, l.From, p, i > 0)
			if i == len(path)-1 {
				touch(nodes, l.To, p, false)
			}
		}
	}
	for n, u := range nodes {
		if u.paths > 1 && u.inner > 0 {
			s.Nodes = append(s.Nodes, t.Nodes()[n].Name)
		}
	}
	for l, u := range links {
		if u.paths > 1 {
			s.Links = append(s.Links, t.Links()[l].Name)
		}
	}
	for g, u := range srlgs {
		if u.paths > 1 {
			s.SRLGs = append(s.SRLGs, g)
		}
	}
	slices.Sort(s.Nodes)
	slices.Sort(s.Links)
	slices.Sort(s.SRLGs)
	return levelOf(s), s
}

// use counts the paths on an element, and those for which it is an inner node.
type use struct{ paths, last, inner int }

func touch[K comparable](m map[K]use, k K, path int, inner bool) {
	u, ok := m[k]
	if !ok || u.last != path {
		u.paths++
		u.last = path
	}
	if inner {
		u.inner++
	}
	m[k] = u
}

// risk is one number for both directions of a link.
func risk(t *topology.TED, link int) int {
	if r := t.Links()[link].Reverse; r >= 0 {
		return min(link, r)
	}
	return link
}

func levelOf(s Shared) Level {
	switch {
	case len(s.Links) > 0:
		return None
	case len(s.Nodes) == 0 && len(s.SRLGs) == 0:
		return NodeSRLG
	case len(s.Nodes) == 0:
		return Node
	case len(s.SRLGs) == 0:
		return SRLG
	}
	return Link
}

func (l Level) nodes() bool { return l == Node || l == NodeSRLG }
func (l Level) srlgs() bool { return l == SRLG || l == NodeSRLG }

// capped is the best level that a set has and that does not exceed the requested.
func capped(has, requested Level) Level {
	nodes := has.nodes() && requested.nodes()
	srlgs := has.srlgs() && requested.srlgs()
	switch {
	case has == None || requested == None:
		return None
	case nodes && srlgs:
		return NodeSRLG
	case nodes:
		return Node
	case srlgs:
		return SRLG
	}
	return Link
}
