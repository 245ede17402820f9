package plan

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// threeWays has three ways from s to t: the cheapest, one between, and the fastest.
func threeWays(t testing.TB, more ...string) *topology.TED {
	return testNet(t, append([]string{"s-a cost=1 ms=30", "a-t cost=1 ms=30", "s-b cost=2 ms=20", "b-t cost=2 ms=20",
		"s-c cost=3 ms=10", "c-d cost=3 ms=1", "d-t cost=3 ms=1"}, more...)...)
}

// Each demand's paths are the cheapest in its own metric, beside others and with a
// memo of others' plans.
func TestEachDemandHasItsMetric(t *testing.T) {
	ted := threeWays(t)
	want := map[disjoint.Metric][]string{
		disjoint.MetricTE: {"s a t", "s b t"}, disjoint.MetricDelay: {"s b t", "s c d t"}, disjoint.MetricHops: {"s a t", "s b t"},
	}
	for _, level := range []disjoint.Level{disjoint.Link, disjoint.NodeSRLG} { // found by different searches
		var all []Demand
		for _, m := range []disjoint.Metric{disjoint.MetricTE, disjoint.MetricDelay, disjoint.MetricHops} {
			d := demand(m.String(), 2, "s", "t")
			d.Level, d.Metric = level, m
			d.Template.SetupPriority = uint8(m) // no LSP of another's: those that are there come before a lower cost
			all = append(all, d)
		}
		memo := new(Memo)
		for _, demands := range [][]Demand{all[:1], all[1:2], all, all[2:]} {
			in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: demands, Memo: memo}
			res := mustPlan(t, in)
			for i, o := range res.Demands {
				got := routesOf(t, in, res, o.Assignment.Forward)
				slices.Sort(got)
				if !slices.Equal(got, want[demands[i].Metric]) || o.Unmet != "" {
					t.Errorf("%s, %s of %d: %q, want %q: %s", level, o.ID, len(demands), got, want[demands[i].Metric], o.Unmet)
				}
			}
		}
	}
}

// Where a link that may be used tells no delay, a demand by delay is planned as one by
// TE metric, and says so.
func TestUnknownDelay(t *testing.T) {
	by := func(m disjoint.Metric, ted *topology.TED, d Demand) Result {
		d.Level, d.Metric = disjoint.Node, m
		return mustPlan(t, Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{d}})
	}
	forget := func(l *topology.Link) { l.Delay = 0 }
	for _, tt := range []struct {
		ted *topology.TED
		d   Demand
	}{
		{threeWays(t, "a-x", "x-t ms=1"), demand("small", 2, "s", "t")},
		{oneLink(t, sizedNet(t, 30, 50, 1), rand.New(rand.NewPCG(1, 1)), forget), demand("large", 3, "n00", "n15")},
	} {
		te, delay := by(disjoint.MetricTE, tt.ted, tt.d), by(disjoint.MetricDelay, tt.ted, tt.d)
		if u := delay.Demands[0].Unmet; !strings.Contains(u, "is not known: path cost is the TE metric instead") {
			t.Errorf("%s: unmet %q", tt.d.ID, u)
		}
		delay.Demands[0].Unmet = te.Demands[0].Unmet
		if !reflect.DeepEqual(te, delay) {
			t.Errorf("%s: by delay\n%s\nby TE metric\n%s", tt.d.ID, show(delay), show(te))
		}
	}
	d := demand("not over it", 2, "s", "t")
	d.Constraints.AvoidNodes = []string{"x"}
	ted := threeWays(t, "a-x", "x-t ms=1")
	res := by(disjoint.MetricDelay, ted, d)
	if o := res.Demands[0]; o.Unmet != "" || !strings.HasSuffix(nodesOf(t, ted, res.Signal[0]), "d t") && !strings.HasSuffix(nodesOf(t, ted, res.Signal[1]), "d t") {
		t.Errorf("the link is not one that the demand may use: %s", show(res))
	}
}

// A sum in one metric may not grow for the sake of another's.
func TestCostsOfMetricsAreNotAdded(t *testing.T) {
	base := total{over: 5, changes: 5, cost: costs{100, 100, 100, 100}}
	for _, tt := range []struct {
		change func(*total)
		less   bool
	}{
		{func(*total) {}, false},
		{func(a *total) { a.cost[1]-- }, true},
		{func(a *total) { a.cost[0], a.cost[2] = 1, 1 }, true},
		{func(a *total) { a.cost[0], a.cost[2] = 1, 101 }, false},
		{func(a *total) { a.changes, a.cost[3] = 4, 500 }, true},
		{func(a *total) { a.changes, a.cost[3] = 6, 0 }, false},
		{func(a *total) { a.over, a.changes = 4, 500 }, true},
	} {
		a := base
		tt.change(&a)
		if got := a.less(base); got != tt.less {
			t.Errorf("%+v less than %+v: %v", a, base, got)
		}
	}
}

// Two demands that share LSPs keep those of the one that was placed first: others would
// be cheaper for the second, and dearer for the first in another metric.
func TestNoMetricPaysForAnother(t *testing.T) {
	for _, metrics := range [][2]disjoint.Metric{{disjoint.MetricTE, disjoint.MetricDelay}, {disjoint.MetricDelay, disjoint.MetricTE}} {
		in := Input{Scope: Redesign, Owner: owner, TED: threeWays(t)}
		for i, m := range metrics {
			d := demand([...]string{"first", "second"}[i], 2, "s", "t")
			d.Level, d.Metric = disjoint.Link, m
			in.Demands = append(in.Demands, d)
		}
		alone := in
		alone.Demands = in.Demands[:1]
		if both, one := mustPlan(t, in).Signal, mustPlan(t, alone).Signal; !reflect.DeepEqual(both, one) {
			t.Errorf("%s before %s: signalled %v, want %v", metrics[0], metrics[1], both, one)
		}
	}
}

// What a memo knows of a pair by one metric is no answer by another.
func TestMemoTellsMetricsApart(t *testing.T) {
	ted := sizedNet(t, 20, 36, 1)
	ask := func(m *Memo, metric disjoint.Metric) (out [][]int32) {
		m.reset(ted)
		s, ps := &shape{goal: goal{disjoint.Link, metric}}, &pairState{from: 0, to: 9}
		cheap, _ := m.cheapest(s, ps)
		for _, r := range append(slices.Clone(cheap), m.besides(s, ps, []*route{m.shortestByTE(0, 9)})...) {
			out = append(out, r.arcs)
		}
		return out
	}
	shared := new(Memo)
	for _, metric := range []disjoint.Metric{disjoint.MetricTE, disjoint.MetricDelay} {
		if got, want := ask(shared, metric), ask(new(Memo), metric); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", metric, got, want)
		}
	}
}
