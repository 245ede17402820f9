package plan

import (
	"slices"
	"strings"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

func TestExplain(t *testing.T) {
	ted := twoPath(t)
	d := demand("d", 2, "pe1", "pe2")
	d.Level = disjoint.Node
	in := Input{
		Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d, demand("other", 2, "pe1", "pe2")},
		Default: func(p Pair) (string, bool) { return "default", p.Ingress == "pe1" },
		LSPs:    []topology.LSP{lspOver(t, ted, "default", "pe1 p1 pe2"), lspOver(t, ted, owner+"pe1-pe2/1", "pe1 p2 pe2")},
		Current: map[string]Assignment{"d": {Forward: []string{"", owner + "pe1-pe2/1"}}},
	}
	e, err := Explain(in, "d")
	if err != nil {
		t.Fatal(err)
	}
	if e.Requested != disjoint.Node || e.Achieved != disjoint.None || e.Possible != disjoint.Node {
		t.Errorf("%+v", e)
	}
	if len(e.Slots) != 4 || len(e.Pairs) != 1 || e.Pairs[0].Direction != "reverse" || !slices.Equal(e.Pairs[0].Shared.Nodes, []string{"p1"}) {
		t.Fatalf("%+v", e)
	}
	a, b, r := e.Slots[0], e.Slots[1], e.Slots[2]
	if a.LSP != "default" || a.Steered || a.Assumed || !slices.Equal(a.Nodes, []string{"pe1", "p1", "pe2"}) || !slices.Equal(a.Links, []string{"pe1-p1", "p1-pe2"}) || a.Capacity != 20e6 || a.Cost != 2 {
		t.Errorf("slot on the default LSP: %+v", a)
	}
	if b.LSP != owner+"pe1-pe2/1" || !b.Steered || b.Cost != 4 {
		t.Errorf("steered slot: %+v", b)
	}
	if r.LSP != "" || !r.Assumed || !slices.Equal(r.Nodes, []string{"pe2", "p1", "pe1"}) {
		t.Errorf("slot of unknown LSP: %+v", r)
	}
	if !strings.Contains(e.Why, "reverse: slots 1 and 2 share links p1-pe2, pe1-p1 and node p1; node can be had by planning") {
		t.Errorf("why: %q", e.Why)
	}
	if _, err := Explain(in, "nobody"); err == nil {
		t.Error("no error for an unknown demand")
	}
}
