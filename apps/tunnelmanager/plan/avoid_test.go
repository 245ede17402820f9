package plan

import (
	"slices"
	"strings"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// A path on which an LSP did not come up is left out, for LSPs that reserve as much;
// a demand that is to have no new LSPs rides those that are there.
func TestAvoid(t *testing.T) {
	for _, links := range [][]string{
		{"a-x", "x-b", "a-y cost=2", "y-b cost=2", "a-z cost=3", "z-b cost=3"},
		{"a-x", "x-b", "a-y cost=2", "y-b cost=2", "a-z cost=3", "z-b cost=3", // no small network
			"b-l1", "l1-l2", "l2-l3", "l3-l4", "l4-l5", "l5-l6", "l6-l7", "l7-l8", "l8-l9", "l9-m1", "m1-m2", "m2-m3", "m3-m4", "m4-m5"},
	} {
		ted := testNet(t, links...)
		d := demand("d", 2, "a", "b")
		d.Level = disjoint.Node
		d.Reverse = nil
		in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}, LSPs: []topology.LSP{lspOver(t, ted, "igp", "a x b")},
			Default: func(Pair) (string, bool) { return "igp", true }}
		failed := lspOver(t, ted, owner+"a-b/1", "a y b")
		failed.ERO, failed.RRO = failed.RRO, nil
		failed.Oper = topology.OperDown
		plan := func(change func(*Input)) Result {
			q := in
			q.Demands = slices.Clone(in.Demands)
			change(&q)
			return mustPlan(t, q)
		}
		route := func(r Result) string {
			if len(r.Signal) != 1 {
				return show(r)
			}
			return nodesOf(t, ted, r.Signal[0])
		}
		if got := route(plan(func(*Input) {})); got != "a y b" {
			t.Errorf("nothing failed: %s", got)
		}
		if got := route(plan(func(q *Input) { q.Avoid = []topology.LSP{failed} })); got != "a z b" {
			t.Errorf("y is avoided: %s", got)
		}
		if got := route(plan(func(q *Input) { q.Avoid = []topology.LSP{failed}; q.Avoid[0].Bandwidth = 1e6 })); got != "a y b" {
			t.Errorf("one that reserves nothing, where one that does failed: %s", got)
		}
		both := []topology.LSP{failed, lspOver(t, ted, owner+"a-b/2", "a z b")}
		both[1].ERO, both[1].RRO = both[1].RRO, nil
		r := plan(func(q *Input) { q.Avoid = both })
		if o := r.Demands[0]; len(r.Signal) != 0 || o.After != disjoint.None || !strings.Contains(o.Unmet, "did not come up") {
			t.Errorf("all is avoided: %s", show(r))
		}
		r = plan(func(q *Input) { q.Demands[0].NoNew = true })
		if o := r.Demands[0]; len(r.Signal) != 0 || o.After != disjoint.None || !strings.Contains(o.Unmet, "did not come up") {
			t.Errorf("no new LSPs: %s", show(r))
		}
		r = plan(func(q *Input) {
			q.Demands[0].NoNew = true
			q.LSPs = append(slices.Clone(q.LSPs), lspOver(t, ted, owner+"a-b/7", "a z b"))
		})
		if o := r.Demands[0]; len(r.Signal) != 0 || o.After != disjoint.Node || !slices.Contains(o.Assignment.Forward, owner+"a-b/7") {
			t.Errorf("no new LSPs, and one that is there: %s", show(r))
		}
	}
}
