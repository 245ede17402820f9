package disjoint

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mpbox/topology"
)

// ring makes a ring of n nodes with chords between near ones, as carriers' networks are.
func ring(t *testing.T, n int) *topology.TED {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 3))
	var b topology.Builder
	for i := range n {
		b.AddNode(topology.Node{Name: fmt.Sprintf("n%d", i)})
	}
	add := func(u, v int) {
		l := topology.Link{From: u, To: v, TEMetric: uint32(1 + r.IntN(9)), SRLGs: []uint32{uint32(r.IntN(n))}}
		back := l
		back.From, back.To = v, u
		b.AddPair(l, back)
	}
	for i := range n {
		add(i, (i+1)%n)
		add(i, (i+2+r.IntN(n/4))%n)
	}
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

// Nodes to be passed that lie off the cheap paths: there are too many of these to go
// through them one by one, and the search ends within its effort all the same.
func TestRequiredNodesOnALargeNetwork(t *testing.T) {
	ted := ring(t, 60)
	for _, c := range []struct {
		k       int
		level   Level
		require []string
	}{{1, None, []string{"n55"}}, {2, None, []string{"n55"}}, {2, Link, []string{"n45", "n15"}}, {2, NodeSRLG, []string{"n50"}}, {3, Node, []string{"n40"}}} {
		q := Query{From: []string{"n0"}, To: []string{"n30"}, K: c.k, Level: c.level, Effort: 200_000, Constraints: Constraints{RequireNodes: c.require}}
		r, err := Find(ted, q)
		if err != nil {
			t.Errorf("%d paths over %v: %v", c.k, c.require, err)
			continue
		}
		for _, p := range r.Paths {
			passed := map[string]int{}
			for _, l := range p.Links {
				passed[ted.Nodes()[ted.Links()[l].To].Name]++
			}
			for name, n := range passed {
				if n > 1 {
					t.Errorf("%d paths over %v: one passes %s %d times", c.k, c.require, name, n)
				}
			}
			if slices.ContainsFunc(c.require, func(name string) bool { return passed[name] != 1 }) {
				t.Errorf("%d paths over %v: one is over %v", c.k, c.require, passed)
			}
		}
	}
}

// A question that nothing answers ends too.
func TestImpossibleRequirementEnds(t *testing.T) {
	ted := ring(t, 60)
	_, err := Find(ted, Query{From: []string{"n0"}, To: []string{"n30"}, K: 2, Level: NodeSRLG, Effort: 100_000,
		Constraints: Constraints{RequireNodes: []string{"n55"}, MaxHops: 4}})
	if err == nil {
		t.Error("found")
	}
}

func TestTooManyPathsAreRefused(t *testing.T) {
	if _, err := Find(ring(t, 8), Query{From: []string{"n0"}, To: []string{"n4"}, K: MaxPaths + 1}); err == nil {
		t.Error("found")
	}
}
