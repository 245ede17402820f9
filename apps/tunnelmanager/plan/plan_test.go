package plan

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

const owner = "mpbox/lab/"

func twoPath(t testing.TB) *topology.TED {
	return testNet(t, "pe1-p1 cap=20", "p1-pe2 cap=20", "pe1-p2 cap=20 cost=2", "p2-pe2 cap=20 cost=2")
}

// defaults makes Default name the LSP "default" + ingress + egress.
func defaults(p Pair) (string, bool) { return "default-" + p.Ingress + "-" + p.Egress, true }

func TestTwoPath(t *testing.T) {
	ted := twoPath(t)
	d := demand("d", 2, "pe1", "pe2")
	d.Level = disjoint.Node
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Default: defaults, Demands: []Demand{d},
		LSPs: []topology.LSP{lspOver(t, ted, "default-pe1-pe2", "pe1 p1 pe2"), lspOver(t, ted, "default-pe2-pe1", "pe2 p1 pe1")},
	}
	res := mustPlan(t, in)
	o := res.Demands[0]
	if o.Before != disjoint.None || o.After != disjoint.Node || o.Requested != disjoint.Node || o.Unmet != "" {
		t.Errorf("got %v", o)
	}
	if math.Abs(o.Gain-2) > 1e-9 {
		t.Errorf("gain %v, want 2: two equal paths where there was one", o.Gain)
	}
	want := Assignment{
		Forward: []string{"default-pe1-pe2", "mpbox/lab/pe1-pe2/1"},
		Reverse: []string{"default-pe2-pe1", "mpbox/lab/pe2-pe1/1"},
	}
	if !slices.Equal(o.Assignment.Forward, want.Forward) || !slices.Equal(o.Assignment.Reverse, want.Reverse) {
		t.Errorf("assignment %v, want %v: the default LSP is reused", o.Assignment, want)
	}
	if len(res.Signal) != 2 || nodesOf(t, ted, res.Signal[0]) != "pe1 p2 pe2" || nodesOf(t, ted, res.Signal[1]) != "pe2 p2 pe1" {
		t.Errorf("signalled\n%s", show(res))
	}
	for _, l := range res.Signal {
		if !l.AdminUp || len(l.ERO) != 2 || l.ERO[0].Loose {
			t.Errorf("LSP %+v: want administratively up with two strict hops", l)
		}
	}

	t.Run("again changes nothing", func(t *testing.T) {
		for _, scope := range []Scope{Evaluate, Incremental, Redesign} {
			next := apply(in, res)
			next.Scope = scope
			again := mustPlan(t, next)
			if o := again.Demands[0]; o.Changed != 0 || len(again.Signal)+len(again.Release) > 0 || o.Before != disjoint.Node || o.After != disjoint.Node || o.Gain != 1 {
				t.Errorf("scope %d: %s", scope, show(again))
			}
		}
	})
	t.Run("a demand that ends frees its LSPs", func(t *testing.T) {
		next := apply(in, res)
		next.Demands = nil
		again := mustPlan(t, next)
		if !slices.Equal(again.Release, []topology.LSPKey{{Ingress: "pe1", Name: "mpbox/lab/pe1-pe2/1"}, {Ingress: "pe2", Name: "mpbox/lab/pe2-pe1/1"}}) {
			t.Errorf("release %v: want both owned LSPs, never the default", again.Release)
		}
	})
	t.Run("evaluate only scores", func(t *testing.T) {
		e := in
		e.Scope = Evaluate
		res := mustPlan(t, e)
		o := res.Demands[0]
		if o.After != disjoint.None || len(res.Signal) != 0 || !strings.Contains(o.Unmet, "node can be had by planning") || !strings.Contains(o.Unmet, "slots 1 and 2 share") {
			t.Error(show(res))
		}
	})
}

func TestFourPath(t *testing.T) {
	ted := testNet(t, "pe1-a cap=20", "a-pe2 cap=20", "pe1-b cap=20", "b-pe2 cap=20", "pe1-c cap=20", "c-pe2 cap=20", "pe1-d cap=20", "d-pe2 cap=20")
	for _, withDefault := range []bool{true, false} {
		d := demand("d", 4, "pe1", "pe2")
		d.Level = disjoint.Node
		in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}}
		if withDefault {
			in.Default = defaults
			in.LSPs = []topology.LSP{lspOver(t, ted, "default-pe1-pe2", "pe1 b pe2"), lspOver(t, ted, "default-pe2-pe1", "pe2 b pe1")}
		}
		res := mustPlan(t, in)
		o := res.Demands[0]
		if o.After != disjoint.Node || math.Abs(o.Gain-4) > 1e-9 {
			t.Error(show(res))
		}
		for _, names := range [][]string{o.Assignment.Forward, o.Assignment.Reverse} {
			routes := routesOf(t, in, res, names)
			slices.Sort(routes)
			if len(slices.Compact(routes)) != 4 || routes[0] == "" {
				t.Errorf("routes %v: want four", routes)
			}
		}
		if want := map[bool]int{true: 6, false: 8}[withDefault]; len(res.Signal) != want {
			t.Errorf("%d LSPs signalled, want %d", len(res.Signal), want)
		}
	}
}

// The default LSP takes the shortest path, and no other path is disjoint from it.
func TestTrap(t *testing.T) {
	ted := testNet(t, "s-a", "a-b", "b-t", "s-c cost=3", "c-b cost=3", "a-d cost=3", "d-t cost=3")
	d := demand("d", 2, "s", "t")
	d.Level = disjoint.NodeSRLG
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Default: defaults, Demands: []Demand{d},
		LSPs: []topology.LSP{lspOver(t, ted, "default-s-t", "s a b t"), lspOver(t, ted, "default-t-s", "t b a s")},
	}
	res := mustPlan(t, in)
	o := res.Demands[0]
	if o.After != disjoint.NodeSRLG {
		t.Fatal(show(res))
	}
	for dir, names := range [][]string{o.Assignment.Forward, o.Assignment.Reverse} {
		routes := routesOf(t, in, res, names)
		slices.Sort(routes)
		want := [][]string{{"s a d t", "s c b t"}, {"t b c s", "t d a s"}}[dir]
		if !slices.Equal(routes, want) {
			t.Errorf("routes %v, want %v", routes, want)
		}
	}
}

// Two subflows enter at two PEs; both default LSPs cross p1.
func TestDualHomed(t *testing.T) {
	ted := testNet(t, "pe1-p1", "pe2-p1", "p1-pe3", "pe2-p2 cost=5", "p2-pe3 cost=5", "pe1-p2 cost=9")
	d := Demand{ID: "d", Level: disjoint.Node, Forward: pairs("pe1>pe3", "pe2>pe3"), Reverse: pairs("pe3>pe1", "pe3>pe2")}
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Default: defaults, Demands: []Demand{d},
		LSPs: []topology.LSP{
			lspOver(t, ted, "default-pe1-pe3", "pe1 p1 pe3"), lspOver(t, ted, "default-pe2-pe3", "pe2 p1 pe3"),
			lspOver(t, ted, "default-pe3-pe1", "pe3 p1 pe1"), lspOver(t, ted, "default-pe3-pe2", "pe3 p1 pe2"),
		},
	}
	res := mustPlan(t, in)
	o := res.Demands[0]
	if o.Before != disjoint.None || o.After != disjoint.Node || len(res.Signal) != 2 {
		t.Fatal(show(res))
	}
	if got := routesOf(t, in, res, o.Assignment.Forward); !slices.Equal(got, []string{"pe1 p1 pe3", "pe2 p2 pe3"}) {
		t.Errorf("forward %v", got)
	}
	if got := routesOf(t, in, res, o.Assignment.Reverse); !slices.Equal(got, []string{"pe3 p1 pe1", "pe3 p2 pe2"}) {
		t.Errorf("reverse %v", got)
	}
}

func TestSharedSRLG(t *testing.T) {
	ted := testNet(t, "pe1-a srlg=7", "a-pe2", "pe1-b srlg=7", "b-pe2", "pe1-c cost=9", "c-pe2 cost=9")
	d := demand("d", 2, "pe1", "pe2")
	d.Level = disjoint.NodeSRLG
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}}
	res := mustPlan(t, in)
	o := res.Demands[0]
	if o.After != disjoint.NodeSRLG {
		t.Fatal(show(res))
	}
	if got := routesOf(t, in, res, o.Assignment.Forward); !slices.Contains(got, "pe1 c pe2") {
		t.Errorf("forward %v: want one way outside risk group 7", got)
	}
}

func TestUnmetSaysWhatWouldCure(t *testing.T) {
	for _, tt := range []struct {
		name  string
		links []string
		level disjoint.Level
		n     int
		after disjoint.Level
		want  []string
	}{
		{"bridge", []string{"s-a", "a-b", "b-c", "a-d", "d-c", "c-t"}, disjoint.Link, 2, disjoint.None, []string{"slots 1 and 2 share links", "would cure it"}},
		{"three on one path", []string{"s-a", "a-t"}, disjoint.Link, 3, disjoint.None, []string{"share links", "would help, but more are needed"}},
		{"common node", []string{"s-a", "s-b", "a-m", "b-m", "m-c", "m-d", "c-t", "d-t"}, disjoint.Node, 2, disjoint.Link, []string{"share node m", "a link between a and ", "would cure it"}},
		{"risk group", []string{"s-a srlg=7", "s-b srlg=7", "a-t", "b-t"}, disjoint.NodeSRLG, 2, disjoint.Node, []string{"share SRLG 7", "another link between s and", "outside these risk groups would cure it"}},
		{"no path", []string{"s-a", "b-t"}, disjoint.Link, 2, disjoint.None, []string{"there is no path from s to t within the constraints"}},
		{"one path", []string{"s-a", "a-t"}, disjoint.Link, 2, disjoint.None, []string{"share links", "a link between s and t would cure it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := demand("d", tt.n, "s", "t")
			d.Level = tt.level
			res := mustPlan(t, Input{Scope: Incremental, Owner: owner, TED: testNet(t, tt.links...), Demands: []Demand{d}})
			o := res.Demands[0]
			if o.After != tt.after {
				t.Errorf("after %s, want %s", o.After, tt.after)
			}
			for _, w := range tt.want {
				if !strings.Contains(o.Unmet, w) {
					t.Errorf("unmet %q: want %q in it", o.Unmet, w)
				}
			}
		})
	}
}

func TestStrictRefuses(t *testing.T) {
	ted := testNet(t, "s-a", "s-b", "a-m", "b-m", "m-c", "m-d", "c-t", "d-t")
	d := demand("d", 2, "s", "t")
	d.Level = disjoint.Node
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}}
	if res := mustPlan(t, in); res.Demands[0].After != disjoint.Link || len(res.Signal) == 0 {
		t.Errorf("not strict: %s", show(res))
	}
	in.Demands[0].Strict = true
	res := mustPlan(t, in)
	o := res.Demands[0]
	if o.After != disjoint.None || len(res.Signal) != 0 || o.Changed != 0 || !strings.HasPrefix(o.Unmet, "strict, so nothing is changed: ") {
		t.Error(show(res))
	}
}

func TestLSPsThatAreDownAreNotUsed(t *testing.T) {
	ted := twoPath(t)
	d := demand("d", 2, "pe1", "pe2")
	d.Level = disjoint.Node
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}}
	first := mustPlan(t, in)
	next := apply(in, first)
	for i := range next.LSPs {
		if next.LSPs[i].Name == owner+"pe1-pe2/2" {
			next.LSPs[i].Oper, next.LSPs[i].RRO = topology.OperDown, nil
		}
	}
	res := mustPlan(t, next)
	o := res.Demands[0]
	if slices.Contains(o.Assignment.Forward, owner+"pe1-pe2/2") || o.After != disjoint.Node || o.Changed != 1 {
		t.Errorf("one slot of the forward direction should move: %s", show(res))
	}
	if len(res.Signal) != 1 || res.Signal[0].Name != owner+"pe1-pe2/3" || !slices.Contains(res.Release, topology.LSPKey{Ingress: "pe1", Name: owner + "pe1-pe2/2"}) {
		t.Errorf("want a new LSP 3 and the release of 2: %s", show(res))
	}
	// Signalled and not up yet is another matter.
	next.Pending = map[topology.LSPKey]bool{{Ingress: "pe1", Name: owner + "pe1-pe2/2"}: true}
	if res := mustPlan(t, next); len(res.Signal) != 0 || res.Demands[0].Changed != 0 {
		t.Errorf("pending LSP is not waited for: %s", show(res))
	}
	// A link of its route is down in the TED: the head end just has not seen it yet.
	next = apply(in, first)
	next.TED = testNet(t, "pe1-p1 cap=20", "p1-pe2 cap=20", "pe1-p2 cap=20 cost=2 down", "p2-pe2 cap=20 cost=2")
	res = mustPlan(t, next)
	for _, name := range res.Demands[0].Assignment.Forward {
		if name == owner+"pe1-pe2/2" {
			t.Errorf("an LSP over a dead link is kept: %s", show(res))
		}
	}
}

func TestForeignLSPsAreReused(t *testing.T) {
	ted := twoPath(t)
	d := demand("d", 2, "pe1", "pe2")
	d.Level = disjoint.Node
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d},
		LSPs: []topology.LSP{lspOver(t, ted, "operators", "pe1 p2 pe2"), lspOver(t, ted, owner+"pe1-pe2/1", "pe1 p1 pe2")},
	}
	res := mustPlan(t, in)
	fwd := slices.Sorted(slices.Values(res.Demands[0].Assignment.Forward))
	if !slices.Equal(fwd, []string{owner + "pe1-pe2/1", "operators"}) {
		t.Error(show(res))
	}
	in.Reuse = func(topology.LSP) bool { return false }
	res = mustPlan(t, in)
	if slices.Contains(res.Demands[0].Assignment.Forward, "operators") {
		t.Errorf("Reuse is ignored: %s", show(res))
	}
	// The route of an LSP that neither record nor intent tells is no proof.
	in.Reuse = nil
	in.LSPs[0].RRO = nil
	res = mustPlan(t, in)
	if slices.Contains(res.Demands[0].Assignment.Forward, "operators") {
		t.Errorf("an LSP of unknown route is used: %s", show(res))
	}
}

func TestLimits(t *testing.T) {
	ted := testNet(t, "pe1-a", "a-pe2", "pe1-b", "b-pe2", "pe1-c", "c-pe2")
	d := demand("d", 3, "pe1", "pe2")
	d.Level = disjoint.Node
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}, Default: defaults, MaxNewLSPs: 3,
		LSPs: []topology.LSP{lspOver(t, ted, "default-pe1-pe2", "pe1 a pe2"), lspOver(t, ted, "default-pe2-pe1", "pe2 a pe1")},
	}
	res := mustPlan(t, in)
	if len(res.Signal) != 3 || !strings.Contains(res.Demands[0].Unmet, "at most 3 in one plan") {
		t.Error(show(res))
	}
	res = mustPlan(t, apply(in, res))
	if len(res.Signal) != 1 || res.Demands[0].After != disjoint.Node || res.Demands[0].Unmet != "" {
		t.Errorf("the next plan should finish: %s", show(res))
	}
	in.MaxNewLSPs = 0
	in.MaxPerPair = func(Pair) int { return 1 }
	res = mustPlan(t, in)
	if len(res.Signal) != 2 || res.Demands[0].After != disjoint.None {
		t.Errorf("MaxPerPair: %s", show(res))
	}
}

func TestHold(t *testing.T) {
	ted := twoPath(t)
	d := demand("d", 2, "pe1", "pe2")
	d.Level, d.Hold = disjoint.Node, true
	for _, scope := range []Scope{Incremental, Redesign} {
		res := mustPlan(t, Input{Scope: scope, Owner: owner, TED: ted, Demands: []Demand{d}})
		if res.Demands[0].Changed != 0 || len(res.Signal) != 0 || !strings.HasPrefix(res.Demands[0].Unmet, "held as it is for now") {
			t.Error(show(res))
		}
	}
}

func TestMoreSlotsThanPaths(t *testing.T) {
	ted := twoPath(t)
	d := demand("d", 5, "pe1", "pe2")
	d.Level = disjoint.Node
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}}
	res := mustPlan(t, in)
	o := res.Demands[0]
	if o.After != disjoint.None || math.Abs(o.Gain-2) > 1e-9 || len(res.Signal) != 4 {
		t.Error(show(res))
	}
	count := map[string]int{}
	for _, r := range routesOf(t, in, res, o.Assignment.Forward) {
		count[r]++
	}
	if count["pe1 p1 pe2"] < 2 || count["pe1 p2 pe2"] < 2 {
		t.Errorf("%v: want 3 and 2 on the two paths", count)
	}
}

func TestBadInput(t *testing.T) {
	ted := twoPath(t)
	good := demand("d", 2, "pe1", "pe2")
	for name, in := range map[string]Input{
		"no topology":      {},
		"unknown node":     {TED: ted, Demands: []Demand{demand("d", 2, "pe1", "pe9")}},
		"same PE":          {TED: ted, Demands: []Demand{demand("d", 2, "pe1", "pe1")}},
		"twice":            {TED: ted, Demands: []Demand{good, good}},
		"no ID":            {TED: ted, Demands: []Demand{{}}},
		"LSP twice":        {TED: ted, LSPs: []topology.LSP{{Name: "x"}, {Name: "x"}}},
		"negative traffic": {TED: ted, Demands: []Demand{{ID: "d", Bandwidth: -1}}},
	} {
		if _, err := Plan(in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// MPTCP suffers when its paths differ much in delay: an LSP that is there is not
// reused when it is too slow for its partner.
func TestDelaySpread(t *testing.T) {
	ted := testNet(t, "s-a ms=5", "a-t ms=5", "s-b ms=25 cost=1", "b-t ms=25", "s-c ms=6 cost=4", "c-t ms=6 cost=4")
	d := demand("d", 2, "s", "t")
	d.Level, d.Reverse = disjoint.Node, nil
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d},
		LSPs: []topology.LSP{lspOver(t, ted, owner+"s-t/1", "s a t"), lspOver(t, ted, owner+"s-t/2", "s b t")},
	}
	routes := func() []string {
		res := mustPlan(t, in)
		return slices.Sorted(slices.Values(routesOf(t, in, res, res.Demands[0].Assignment.Forward)))
	}
	if got := routes(); !slices.Equal(got, []string{"s a t", "s b t"}) {
		t.Errorf("without a bound the LSPs that are there are used: %v", got)
	}
	in.Demands[0].Constraints.MaxDelaySpread = 5 * time.Millisecond
	if got := routes(); !slices.Equal(got, []string{"s a t", "s c t"}) {
		t.Errorf("%v: want the two whose delays are near", got)
	}
}

// The way from a leads through b, where the other subflow enters: only a way round
// b for the first would help.
func TestCureForDualHomed(t *testing.T) {
	d := Demand{ID: "d", Level: disjoint.Node, Forward: pairs("a>t", "b>t")}
	res := mustPlan(t, Input{Scope: Incremental, Owner: owner, TED: testNet(t, "a-b", "b-x", "x-t"), Demands: []Demand{d}})
	if o := res.Demands[0]; !strings.Contains(o.Unmet, "a link between a and t would cure it") {
		t.Errorf("unmet %q", o.Unmet)
	}
}

// Fewest shared nodes is not the best level: sharing the link s-a costs one node,
// two ways without a common link share two.
func TestLadderIsGoneDown(t *testing.T) {
	links := []string{"s-a", "a-p cost=5", "a-q cost=5", "p-t cost=5", "q-t cost=5", "a-t name=a-t cost=50", "s-x cost=3", "s-y cost=3", "x-m cost=3", "y-m cost=3", "m-x2 cost=3", "m-y2 cost=3", "x2-n cost=3", "y2-n cost=3", "n-u cost=3", "n-v cost=3", "u-t cost=3", "v-t cost=3", "a-m down"}
	for i := range 30 { // too large for all paths to be candidates
		links = append(links, "s-z"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	ted := testNet(t, links...)
	d := demand("d", 3, "s", "t")
	d.Level = disjoint.Node
	res := mustPlan(t, Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}})
	if o := res.Demands[0]; o.After != disjoint.Link {
		t.Errorf("%s: three link-disjoint ways are there", show(res))
	}
}
