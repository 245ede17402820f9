package lab

import "slices"

// Disjointness levels, as in mpbox's words, from nothing to most.
var levels = []string{"none", "link", "srlg", "node", "node-srlg"}

// disjointness tells how disjoint routes are, judged by the topology file alone:
// the lab's own opinion, to hold against mpbox's. A route is the links it uses;
// first and last routers do not count as shared. most is the level asked for:
// what is better than that counts as that.
func (l *Lab) disjointness(routes [][]string, most string) string {
	shareLink, shareNode, shareRisk := false, false, false
	for i, a := range routes {
		for _, b := range routes[:i] {
			shareLink = shareLink || intersect(a, b)
			shareNode = shareNode || intersect(l.innerNodes(a), l.innerNodes(b))
			shareRisk = shareRisk || intersect(l.risks(a), l.risks(b))
		}
	}
	var level string
	switch {
	case shareLink:
		level = "none"
	case !shareNode && !shareRisk:
		level = "node-srlg"
	case !shareNode:
		level = "node"
	case !shareRisk:
		level = "srlg"
	default:
		level = "link"
	}
	return capLevel(level, most)
}

// capLevel gives the best level that is asked for and reached: node-srlg contains
// node and srlg, each contains link; node does not contain srlg.
func capLevel(level, most string) string {
	contains := map[string][]string{
		"node-srlg": levels, "node": {"none", "link", "node"}, "srlg": {"none", "link", "srlg"},
		"link": {"none", "link"}, "none": {"none"},
	}
	best := "none"
	for _, v := range levels {
		if slices.Contains(contains[level], v) && slices.Contains(contains[most], v) {
			best = v
		}
	}
	return best
}

// worse gives the lower of two levels.
func worse(a, b string) string {
	return levels[min(slices.Index(levels, a), slices.Index(levels, b))]
}

func intersect[T comparable](a, b []T) bool {
	return slices.ContainsFunc(a, func(v T) bool { return slices.Contains(b, v) })
}

// innerNodes are the routers that two of the links meet at.
func (l *Lab) innerNodes(links []string) (inner []string) {
	ends := map[string]int{}
	for _, k := range l.Links {
		if slices.Contains(links, k.Name) {
			ends[k.A.Node]++
			ends[k.B.Node]++
		}
	}
	for n, count := range ends {
		if count > 1 {
			inner = append(inner, n)
		}
	}
	return inner
}

func (l *Lab) risks(links []string) (srlgs []uint32) {
	for _, k := range l.Links {
		if slices.Contains(links, k.Name) {
			srlgs = append(srlgs, k.SRLGs...)
		}
	}
	return srlgs
}
