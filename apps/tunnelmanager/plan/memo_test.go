package plan

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// A memo that lives through all that happens to a network (demands come and go,
// LSPs fail and come back, paths are avoided, links fail, reservations move) gives
// the very plans that are made without one.
func TestMemoChangesNoPlan(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		r := rand.New(rand.NewPCG(seed, 12))
		whole := sizedNet(t, 14+int(seed)*2, 26+int(seed)*3, seed)
		in := Input{Scope: Incremental, Owner: owner, TED: whole, Current: map[string]Assignment{}}
		memo := new(Memo)
		var todo []Demand
		for _, d := range signatures(whole, 35, r) { // each twice, mostly by different metrics
			todo = append(todo, d, d)
			todo[len(todo)-1].ID += "'"
		}
		kept := 0
		for step := range 90 {
			switch what := r.IntN(10); {
			case what < 5 && len(todo) > 0:
				d := todo[0]
				d.Metric = disjoint.Metric(r.IntN(len(costs{})))
				if todo = todo[1:]; r.IntN(3) > 0 {
					d.Bandwidth = 0 // as the manager asks
				}
				in.Demands = append(slices.Clone(in.Demands), d)
			case what == 5 && len(in.Demands) > 0:
				i := r.IntN(len(in.Demands))
				delete(in.Current, in.Demands[i].ID)
				in.Demands = slices.Delete(slices.Clone(in.Demands), i, i+1)
			case what == 6 && len(in.LSPs) > 0: // an LSP fails, or is back
				in.LSPs = slices.Clone(in.LSPs)
				l := &in.LSPs[r.IntN(len(in.LSPs))]
				l.Oper = topology.OperDown + topology.OperUp - l.Oper
			case what == 7 && len(in.LSPs) > 0: // one did not come up
				l := in.LSPs[r.IntN(len(in.LSPs))]
				in.Avoid = append(slices.Clone(in.Avoid[len(in.Avoid)/2:]), l)
			case what == 8: // a link fails, or is back
				in.TED = oneLink(t, in.TED, r, func(l *topology.Link) { l.Down = !l.Down })
			default: // others reserve
				left := float64(r.IntN(10)) * 1e9
				in.TED = oneLink(t, in.TED, r, func(l *topology.Link) {
					for p := range l.Unreserved {
						l.Unreserved[p] = left
					}
				})
			}
			for i := range in.Demands {
				in.Demands[i].NoNew = r.IntN(20) == 0
			}
			in.Scope = Incremental
			if r.IntN(8) == 0 {
				in.Scope = Scope(r.IntN(3))
			}
			in.Memo = nil
			want := mustPlan(t, in)
			if memo.ted == in.TED {
				kept++
			}
			in.Memo = memo
			if got := mustPlan(t, in); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, step %d: with a memo\n%s\nwithout\n%s", seed, step, show(got), show(want))
			}
			if r.IntN(4) > 0 { // else it is not carried out: hold-down, or nobody approves it
				cur := in.Current
				in = apply(in, want)
				for id, a := range cur {
					if _, ok := in.Current[id]; !ok {
						in.Current[id] = a
					}
				}
			}
		}
		if kept < 20 {
			t.Errorf("seed %d: the memo was of use to %d plans alone", seed, kept)
		}
	}
}

// oneLink gives a TED with both directions of one link changed.
func oneLink(t testing.TB, ted *topology.TED, r *rand.Rand, change func(*topology.Link)) *topology.TED {
	t.Helper()
	var b topology.Builder
	for _, n := range ted.Nodes() {
		b.AddNode(n)
	}
	which := r.IntN(len(ted.Links()))
	for i, l := range ted.Links() {
		if i == which || i == ted.Links()[which].Reverse {
			change(&l)
		}
		b.AddLink(l)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A memo that lives for long is bounded, and one plan's needs are never too much for it.
func TestMemoIsBounded(t *testing.T) {
	net := sizedNet(t, 14, 26, 1)
	for _, first := range []int{0, 5 * memoSlack} {
		in := Input{Scope: Evaluate, Owner: owner, TED: net, Memo: new(Memo), Demands: signatures(net, 1, rand.New(rand.NewPCG(1, 1)))}
		entries := 0
		add := func(n int) { // as plans for other demands would
			for range n {
				entries++
				in.Memo.found[strconv.Itoa(entries)] = nil
			}
		}
		mustPlan(t, in)
		add(first)
		need := in.Memo.size()
		mustPlan(t, in)
		add(need + memoSlack)
		mustPlan(t, in)
		if n := in.Memo.size(); n < 2*need+memoSlack {
			t.Errorf("%d entries of the first plan: thrown away too early, %d are left", first, n)
		}
		add(1)
		mustPlan(t, in)
		if n := in.Memo.size(); n > 100 {
			t.Errorf("%d entries of the first plan: %d are kept", first, n)
		}
	}
}
