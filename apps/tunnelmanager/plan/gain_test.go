package plan

import (
	"math"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

func TestGain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		links []string
		n     int
		want  float64
	}{
		{"two equal paths", []string{"s-a cap=20", "a-t cap=20", "s-b cap=20 cost=2", "b-t cap=20 cost=2"}, 2, 2},
		{"the other one is slower", []string{"s-a cap=20", "a-t cap=20", "s-b cap=20 cost=2", "b-t cap=5 cost=2"}, 2, 1.25},
		{"a common last link", []string{"s-a cap=20", "a-m cap=20", "s-b cap=20 cost=2", "b-m cap=20 cost=2", "m-t cap=30"}, 2, 1.5},
		{"capacity unknown: groups that share no link", []string{"s-a cap=20", "a-t", "s-b", "b-t"}, 2, 2},
		{"three slots on two paths", []string{"s-a cap=20", "a-t cap=20", "s-b cap=20", "b-t cap=20"}, 3, 2},
		{"one path", []string{"s-a cap=20", "a-t cap=20"}, 2, 1},
	} {
		d := demand("d", tt.n, "s", "t")
		d.Level = disjoint.Link
		res := mustPlan(t, Input{Scope: Incremental, Owner: owner, TED: testNet(t, tt.links...), Demands: []Demand{d}})
		if got := res.Demands[0].Gain; math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: gain %v, want %v", tt.name, got, tt.want)
		}
	}
}

// max-min: the flow that is bottlenecked elsewhere leaves its share to the other.
func TestFill(t *testing.T) {
	ted := testNet(t, "s-m cap=30", "m-t cap=30", "m-u cap=5")
	n := compile(ted)
	r := func(nodes string) *route {
		l := lspOver(t, ted, "x", nodes)
		return n.routeOf(&l)
	}
	if got := n.fill([]*route{r("s m t"), r("s m u")}); got != 30e6 {
		t.Errorf("%v, want 25 + 5 Mbit/s", got)
	}
	if got := n.fill([]*route{r("s m t"), r("s m t")}); got != 30e6 {
		t.Errorf("%v, want 15 + 15 Mbit/s", got)
	}
}

// Demands that came one after the other ride more LSPs than are needed once one
// has gone; tidying moves the rest onto fewer.
func TestTidy(t *testing.T) {
	ted := testNet(t, "s-a cap=10", "a-t cap=10", "s-b cap=10 cost=2", "b-t cap=10 cost=2", "s-c cap=10 cost=3", "c-t cap=10 cost=3")
	name := func(i string) string { return owner + "s-t/" + i }
	one, two := demand("one", 2, "s", "t"), demand("two", 2, "s", "t")
	one.Level, two.Level = disjoint.Node, disjoint.Node
	one.Reverse, two.Reverse = nil, nil
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{one, two},
		LSPs:    []topology.LSP{lspOver(t, ted, name("1"), "s a t"), lspOver(t, ted, name("2"), "s b t"), lspOver(t, ted, name("3"), "s c t")},
		Current: map[string]Assignment{"one": {Forward: []string{name("1"), name("2")}}, "two": {Forward: []string{name("1"), name("3")}}},
	}
	if res := mustPlan(t, in); len(res.Release) != 0 {
		t.Errorf("an incremental plan tidies unasked: %s", show(res))
	}
	in.Tidy = true
	res := mustPlan(t, in)
	if len(res.Release) != 1 || len(res.Signal) != 0 || res.Demands[0].After != disjoint.Node || res.Demands[1].After != disjoint.Node {
		t.Errorf("want one LSP less: %s", show(res))
	}
	checkSteps(t, in, res, Steps(in, res))

	t.Run("not at the price of overload", func(t *testing.T) {
		busy := in
		busy.Demands = []Demand{one, two}
		busy.Demands[0].Bandwidth, busy.Demands[1].Bandwidth = 6e6, 3e6
		// Both on two LSPs would put 9 of 10 Mbit/s on each: that is fine.
		if res := mustPlan(t, busy); len(res.Release) != 1 {
			t.Error(show(res))
		}
		busy.Demands[1].Bandwidth = 4.5e6
		busy.Current = map[string]Assignment{"one": {Forward: []string{name("1"), name("2")}}, "two": {Forward: []string{name("3"), ""}}}
		busy.Default = func(Pair) (string, bool) { return name("3"), true }
		if res := mustPlan(t, busy); res.Demands[1].After != disjoint.Node {
			t.Error(show(res))
		}
	})
	t.Run("held demands stay", func(t *testing.T) {
		held := in
		held.Demands = []Demand{one, two}
		held.Demands[0].Hold, held.Demands[1].Hold = true, true
		if res := mustPlan(t, held); len(res.Release) != 0 || res.Demands[0].Changed+res.Demands[1].Changed != 0 {
			t.Error(show(res))
		}
	})
}

// Overload comes before changes: a link that cannot carry both demands is left by
// one of them, and by no more.
func TestOverload(t *testing.T) {
	ted := testNet(t, "s-a cap=10", "a-t cap=10", "s-b cap=10 cost=2", "b-t cap=10 cost=2", "s-c cap=10 cost=3", "c-t cap=10 cost=3", "s-d cap=10 cost=4", "d-t cap=10 cost=4")
	one, two := demand("one", 2, "s", "t"), demand("two", 2, "s", "t")
	for _, d := range []*Demand{&one, &two} {
		d.Level, d.Bandwidth, d.Reverse = disjoint.Node, 8e6, nil
	}
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{one}}
	in = apply(in, mustPlan(t, in))
	in.Demands = append(in.Demands, two)
	res := mustPlan(t, in)
	if res.Demands[0].Changed != 0 {
		t.Errorf("the first demand is moved without need: %s", show(res))
	}
	got := append(routesOf(t, in, res, res.Demands[0].Assignment.Forward), routesOf(t, in, res, res.Demands[1].Assignment.Forward)...)
	seen := map[string]bool{}
	for _, r := range got {
		if seen[r] {
			t.Errorf("8 + 8 Mbit/s on a path of 10: %v", got)
		}
		seen[r] = true
	}
	// The same where the second can only go where the first is: that one moves.
	in.Demands[1].Constraints.MaxDelay = 0
	in.Demands[1].Constraints.AvoidNodes = []string{"c", "d"}
	res = mustPlan(t, in)
	for _, r := range routesOf(t, in, res, res.Demands[0].Assignment.Forward) {
		if r != "s c t" && r != "s d t" {
			t.Errorf("the first demand stays on %s, where the second has to be", r)
		}
	}
	// A little overload is no reason to move what is in force.
	in.Demands[1].Bandwidth = 2.2e6
	if res = mustPlan(t, in); res.Demands[0].Changed != 0 {
		t.Errorf("the first demand is moved for a little overload: %s", show(res))
	}
}
