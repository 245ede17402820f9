package plan

import (
	"math/rand/v2"
	"slices"
	"testing"

	"mpbox/topology"
)

// Plans of random networks are carried out step by step: whatever the order, flows
// have a path, and no link is ever reserved beyond what it has.
func TestStepsAreSafe(t *testing.T) {
	circles, waits := 0, 0
	for seed := uint64(1); seed <= stepSeeds; seed++ {
		r := rand.New(rand.NewPCG(seed, 9))
		in := randomInput(t, seed)
		in.TED = reservable(t, in.TED)
		for i := range in.Demands {
			if r.IntN(3) > 0 {
				in.Demands[i].Template.Bandwidth = float64(2+r.IntN(9)) * 1e6
				in.Demands[i].Template.SetupPriority, in.Demands[i].Template.HoldPriority = 7, 7
			}
		}
		base := in.TED
		for round := range 4 {
			in.Scope = Incremental
			if round%2 == 1 {
				in.Scope = Redesign
			}
			res := mustPlan(t, in)
			steps := Steps(in, res)
			checkSteps(t, in, res, steps)
			checkOutcomes(t, in, res)
			for _, s := range steps {
				circles += btoi(s.Op == OpUnbind)
			}
			for _, after := range res.After {
				waits += len(after)
			}
			in = apply(in, res)
			in.TED = withReservations(t, base, in.LSPs)
			if len(in.Demands) > 1 && round == 1 { // one goes, another comes back as new
				delete(in.Current, in.Demands[0].ID)
				in.Demands = in.Demands[1:]
			}
			if t.Failed() {
				t.Fatalf("seed %d, round %d:\n%s\n%+v", seed, round, show(res), steps)
			}
		}
	}
	t.Logf("%d reservations waited for a release, %d slots were left to default routing in between", waits, circles)
}

// reservable gives all links a capacity that may be reserved.
func reservable(t *testing.T, ted *topology.TED) *topology.TED {
	var b topology.Builder
	for _, n := range ted.Nodes() {
		b.AddNode(n)
	}
	for _, l := range ted.Links() {
		if l.MaxBandwidth == 0 {
			l.MaxBandwidth = 20e6
		}
		l.MaxReservable = l.MaxBandwidth
		for p := range l.Unreserved {
			l.Unreserved[p] = l.MaxReservable
		}
		b.AddLink(l)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkOutcomes checks what must hold of any plan.
func checkOutcomes(t *testing.T, in Input, res Result) {
	t.Helper()
	names := map[string]topology.LSP{}
	for _, l := range in.LSPs {
		names[l.Name] = l
	}
	for _, l := range res.Signal {
		if _, dup := names[l.Name]; dup {
			t.Errorf("%s is signalled and there already", l.Name)
		}
		names[l.Name] = l
	}
	used := map[string]bool{}
	for i, o := range res.Demands {
		d := in.Demands[i]
		if o.ID != d.ID {
			t.Fatalf("outcome %d is of %s, want %s", i, o.ID, d.ID)
		}
		for dir, slots := range [2][]Pair{d.Forward, d.Reverse} {
			a := [2][]string{o.Assignment.Forward, o.Assignment.Reverse}[dir]
			if len(a) != len(slots) {
				t.Fatalf("%s: %d LSPs for %d slots", d.ID, len(a), len(slots))
			}
			for s, name := range a {
				if name == "" {
					continue
				}
				used[name] = true
				l, ok := names[name]
				if !ok || l.Ingress != slots[s].Ingress || l.Egress != slots[s].Egress {
					t.Errorf("%s: slot %d from %s to %s is put on %q: %+v", d.ID, s, slots[s].Ingress, slots[s].Egress, name, l)
				}
			}
		}
		if (o.After == o.Requested) != (o.Unmet == "") {
			t.Errorf("%s: asked for %s, got %s, unmet %q", d.ID, o.Requested, o.After, o.Unmet)
		}
		if worse(d.Level, o.Before, o.After) == o.After && o.Before != o.After {
			t.Errorf("%s: %s before, %s after", d.ID, o.Before, o.After)
		}
		if o.Gain <= 0 {
			t.Errorf("%s: gain %v", d.ID, o.Gain)
		}
	}
	for _, l := range res.Signal {
		if !used[l.Name] {
			t.Errorf("%s is signalled for nobody", l.Name)
		}
	}
	for _, l := range in.LSPs {
		owned := len(l.Name) > len(owner) && l.Name[:len(owner)] == owner
		if slices.Contains(res.Release, l.Key()) != (owned && !used[l.Name]) {
			t.Errorf("%s: owned %v, used %v, released %v", l.Name, owned, used[l.Name], !(owned && !used[l.Name]))
		}
	}
}

// Two reservations that have to change places: there is no order without a gap in
// the reservations, so flows ride the PE's own routing in between.
func TestStepsBreakCircles(t *testing.T) {
	in := Input{
		Owner: owner,
		LSPs: []topology.LSP{
			{Name: "x1", Ingress: "a", Egress: "b", Oper: topology.OperUp}, {Name: "y1", Ingress: "c", Egress: "d", Oper: topology.OperUp},
		},
		Demands: []Demand{{ID: "x", Forward: pairs("a>b")}, {ID: "y", Forward: pairs("c>d")}},
		Current: map[string]Assignment{"x": {Forward: []string{"x1"}}, "y": {Forward: []string{"y1"}}},
	}
	res := Result{
		Demands: []Outcome{{ID: "x", Assignment: Assignment{Forward: []string{"x2"}}}, {ID: "y", Assignment: Assignment{Forward: []string{"y2"}}}},
		Signal:  []topology.LSP{{Name: "x2", Ingress: "a", Egress: "b", Bandwidth: 1}, {Name: "y2", Ingress: "c", Egress: "d", Bandwidth: 1}},
		Release: []topology.LSPKey{{Ingress: "a", Name: "x1"}, {Ingress: "c", Name: "y1"}},
		After: map[topology.LSPKey][]topology.LSPKey{
			{Ingress: "a", Name: "x2"}: {{Ingress: "c", Name: "y1"}}, {Ingress: "c", Name: "y2"}: {{Ingress: "a", Name: "x1"}},
		},
	}
	var got []string
	for _, s := range Steps(in, res) {
		got = append(got, string(s.Op)+" "+s.LSP)
	}
	want := []string{"unbind y1", "release y1", "signal x2", "bind x2", "release x1", "signal y2", "bind y2"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
