package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// One demand at a time gives what a plan of all of them gives: as disjoint, with
// names and releases that hold together, and an inventory that agrees with what a
// planner that is built anew makes of it.
func TestPlaceAgreesWithPlan(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	ted := sizedNet(t, 22, 36, 2)
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Current: map[string]Assignment{}}
	p, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	live := map[string]Demand{}
	state := in
	for step, d := range signatures(ted, 150, r) {
		d.Bandwidth *= 100
		state.Demands = append(slices.Clone(state.Demands), d)
		res, err := p.Place(d, Assignment{})
		if err != nil {
			t.Fatal(err)
		}
		live[d.ID] = d
		// Carry it out: outcomes of some demands only.
		full := Result{Signal: res.Signal}
		for _, l := range full.Signal {
			if slices.ContainsFunc(state.LSPs, func(o topology.LSP) bool { return o.Name == l.Name }) {
				t.Fatalf("step %d: %s is signalled and there already", step, l.Name)
			}
		}
		cur := state.Current
		state = apply(state, full)
		state.Current = cur
		for _, o := range res.Demands {
			state.Current[o.ID] = o.Assignment
		}
		alone := state
		alone.Scope = Evaluate
		alone.Current = map[string]Assignment{}
		for id := range live {
			alone.Current[id] = state.Current[id]
		}
		check := mustPlan(t, alone)
		for _, o := range check.Demands {
			if o.ID != d.ID {
				continue
			}
			i := slices.IndexFunc(res.Demands, func(x Outcome) bool { return x.ID == d.ID })
			if o.Before != res.Demands[i].After {
				t.Errorf("step %d: %s has %s by Place, %s when rated anew", step, d.ID, res.Demands[i].After, o.Before)
			}
			best := state
			best.Demands = []Demand{d}
			best.Current = nil
			if want := mustPlan(t, best).Demands[0].After; worse(d.Level, want, o.Before) == o.Before && want != o.Before {
				t.Errorf("step %d: %s has %s, %s can be had", step, d.ID, o.Before, want)
			}
		}
		if step%3 == 2 { // one leaves, and what it leaves behind is released
			ids := make([]string, 0, len(live))
			for id := range live {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			id := ids[r.IntN(len(ids))]
			delete(live, id)
			delete(state.Current, id)
			state.Demands = slices.DeleteFunc(slices.Clone(state.Demands), func(x Demand) bool { return x.ID == id })
			idle := p.Remove(id)
			want := mustPlan(t, func() Input { q := state; q.Demands = held(q.Demands); return q }()).Release
			if !slices.Equal(idle, want) {
				t.Fatalf("step %d: idle %v, a plan releases %v", step, idle, want)
			}
			for _, id := range idle {
				p.Forget(id)
				state.LSPs = slices.DeleteFunc(slices.Clone(state.LSPs), func(l topology.LSP) bool { return l.Key() == id })
			}
		}
	}
	if len(live) != 100 {
		t.Fatalf("%d demands", len(live))
	}
}

func held(ds []Demand) []Demand {
	out := slices.Clone(ds)
	for i := range out {
		out[i].Hold = true
	}
	return out
}

// Plans do not depend on the order of the input, nor on what a memo holds.
func TestPlansAreDeterministic(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		in := randomInput(t, seed)
		for i := range in.Demands {
			in.Demands[i].Metric = disjoint.Metric((i + int(seed)) % len(costs{}))
		}
		want := fmt.Sprint(sorted(mustPlan(t, in)))
		in.Memo = new(Memo)
		for range 3 {
			rand.New(rand.NewPCG(seed, 1)).Shuffle(len(in.Demands), func(i, j int) { in.Demands[i], in.Demands[j] = in.Demands[j], in.Demands[i] })
			if got := fmt.Sprint(sorted(mustPlan(t, in))); got != want {
				t.Fatalf("seed %d:\n%s\n%s", seed, want, got)
			}
			in.Scope = Incremental
			mustPlan(t, in) // leaves other traces in the memo
			in.Scope = Redesign
		}
	}
}

func sorted(res Result) Result {
	slices.SortFunc(res.Demands, func(a, b Outcome) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return res
}
