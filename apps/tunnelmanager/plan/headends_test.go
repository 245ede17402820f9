package plan

import (
	"slices"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// "tunnel-te1" is on every router: a slot rides the one of its own ingress, one of
// them being down says nothing of the other, and no new LSP gets a name that is in
// use anywhere.
func TestOneNameOnTwoHeadEnds(t *testing.T) {
	ted := twoPath(t)
	d := demand("d", 2, "pe1", "pe2")
	d.Level = disjoint.Node
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d},
		Default: func(Pair) (string, bool) { return "tunnel-te1", true },
		LSPs: []topology.LSP{
			lspOver(t, ted, "tunnel-te1", "pe1 p1 pe2"), lspOver(t, ted, "tunnel-te1", "pe2 p2 pe1"),
			lspOver(t, ted, owner+"pe1-pe2/1", "p1 pe2"),
		},
	}
	res := mustPlan(t, in)
	o := res.Demands[0]
	if o.After != disjoint.Node || !slices.Equal(o.Assignment.Forward, []string{"tunnel-te1", owner + "pe1-pe2/2"}) ||
		!slices.Equal(o.Assignment.Reverse, []string{"tunnel-te1", owner + "pe2-pe1/1"}) {
		t.Fatalf("%s", show(res))
	}
	if len(res.Signal) != 2 || nodesOf(t, ted, res.Signal[0]) != "pe1 p2 pe2" || nodesOf(t, ted, res.Signal[1]) != "pe2 p1 pe1" {
		t.Errorf("%s", show(res))
	}
	if want := (topology.LSPKey{Ingress: "p1", Name: owner + "pe1-pe2/1"}); !slices.Equal(res.Release, []topology.LSPKey{want}) {
		t.Errorf("release %v, want %v", res.Release, want)
	}
	next := apply(in, res)
	for i := range next.LSPs {
		if l := &next.LSPs[i]; l.Key() == (topology.LSPKey{Ingress: "pe2", Name: "tunnel-te1"}) {
			l.Oper, l.RRO = topology.OperDown, nil
		}
	}
	after := mustPlan(t, next).Demands[0]
	if !slices.Equal(after.Assignment.Forward, o.Assignment.Forward) || slices.Contains(after.Assignment.Reverse, "tunnel-te1") {
		t.Errorf("pe2 lost its LSP: forward %v, reverse %v", after.Assignment.Forward, after.Assignment.Reverse)
	}
	for _, s := range Steps(next, mustPlan(t, next)) {
		if s.PE != "pe2" {
			t.Errorf("%+v on a PE where nothing failed", s)
		}
	}
}
