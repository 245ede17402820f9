package plan

import (
	"slices"
	"strings"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// Two PE pairs whose cheapest disjoint pairs meet on the link m-n, which has room
// for one reservation; the first pair has another way, the second has not.
func crowded(t testing.TB) *topology.TED {
	return testNet(t,
		"a-m cap=10", "m-n cap=10", "n-b cap=10", "a-b cap=10", "a-q cap=10 cost=5", "q-b cap=10 cost=5",
		"c-m cap=10", "n-d cap=10", "c-d cap=10")
}

// reserved gives the TED in which the LSPs' bandwidth is taken off what is
// unreserved, as head ends flood it.
func withReservations(t testing.TB, ted *topology.TED, lsps []topology.LSP) *topology.TED {
	t.Helper()
	var b topology.Builder
	for _, n := range ted.Nodes() {
		b.AddNode(n)
	}
	links := slices.Clone(ted.Links())
	for _, l := range lsps {
		route, err := ted.Route(l.Ingress, l.RRO)
		if err != nil {
			t.Fatal(err)
		}
		for _, li := range route {
			for p := range links[li].Unreserved {
				links[li].Unreserved[p] -= l.Bandwidth
				if links[li].Unreserved[p] < 0 {
					t.Fatalf("link %s is reserved beyond capacity", links[li].Name)
				}
			}
		}
	}
	for _, l := range links {
		b.AddLink(l)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestALaterDemandIsMadeRoomFor(t *testing.T) {
	ted := crowded(t)
	reserving := func(id, from, to string) Demand {
		d := demand(id, 2, from, to)
		d.Level = disjoint.Node
		d.Template.Bandwidth, d.Template.SetupPriority, d.Template.HoldPriority = 10e6, 7, 7
		d.Reverse, d.Constraints.MaxHops = nil, 3
		return d
	}
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: []Demand{reserving("first", "a", "b")}}
	res := mustPlan(t, in)
	if r := routesOf(t, in, res, res.Demands[0].Assignment.Forward); !slices.Contains(r, "a m n b") {
		t.Fatalf("the first demand should take the cheaper way: %v", r)
	}
	next := apply(in, res)
	next.TED = withReservations(t, ted, next.LSPs)
	next.Demands = append(next.Demands, reserving("second", "c", "d"))

	t.Run("moved", func(t *testing.T) {
		res := mustPlan(t, next)
		for _, o := range res.Demands {
			if o.After != disjoint.Node {
				t.Fatal(show(res))
			}
		}
		if r := routesOf(t, next, res, res.Demands[0].Assignment.Forward); !slices.Contains(r, "a q b") || slices.Contains(r, "a m n b") {
			t.Errorf("the first demand did not make room: %v", r)
		}
		if res.Demands[0].Changed != 1 {
			t.Errorf("%d slots of the first demand changed, want 1", res.Demands[0].Changed)
		}
		// The second demand's LSP over m-n waits for the release of the first's.
		steps := Steps(next, res)
		at := map[string]int{}
		for _, s := range steps {
			at[string(s.Op)+" "+s.LSP] = s.N
		}
		over := slices.IndexFunc(res.Signal, func(l topology.LSP) bool { return nodesOf(t, ted, l) == "c m n d" })
		released, signalled := at["release "+res.Release[0].Name], at["signal "+res.Signal[over].Name]
		if len(res.Release) != 1 || released == 0 || released > signalled || !slices.Contains(steps[signalled-1].After, released) {
			t.Errorf("steps %+v", steps)
		}
		checkSteps(t, next, res, steps)
		if slices.ContainsFunc(steps, func(s Step) bool { return s.Op == OpUnbind }) {
			t.Errorf("flows are left to default routing without need: %+v", steps)
		}
	})
	t.Run("held", func(t *testing.T) {
		held := next
		held.Demands = slices.Clone(next.Demands)
		held.Demands[0].Hold = true
		res := mustPlan(t, held)
		if res.Demands[0].Changed != 0 || res.Demands[1].After == disjoint.Node || !strings.Contains(res.Demands[1].Unmet, "bandwidth that is not reserved") {
			t.Error(show(res))
		}
	})
	t.Run("not owned", func(t *testing.T) {
		foreign := next
		foreign.Owner = "mpbox/other/"
		foreign.Demands = next.Demands[1:]
		res := mustPlan(t, foreign)
		if res.Demands[0].After == disjoint.Node || len(res.Release) != 0 {
			t.Error(show(res))
		}
	})
}

// checkSteps carries steps out one by one: each waits for what it names, flows are
// put on LSPs that are up alone, LSPs are released when nothing rides them, and
// reservations fit at any time. At the end all is as the result says.
func checkSteps(t testing.TB, in Input, res Result, steps []Step) {
	t.Helper()
	up := map[string]bool{}
	spec := map[string]topology.LSP{}
	for _, l := range in.LSPs {
		up[l.Name], spec[l.Name] = l.Oper == topology.OperUp, l
	}
	for _, l := range res.Signal {
		spec[l.Name] = l
	}
	free := map[int]float64{}
	for i, l := range in.TED.Links() {
		free[i] = l.Unreserved[7]
	}
	reserve := func(l topology.LSP, sign float64) {
		hops := l.RRO
		if len(hops) == 0 {
			hops = l.ERO
		}
		route, err := in.TED.Route(l.Ingress, hops)
		if err != nil {
			return
		}
		for _, li := range route {
			if free[li] -= sign * l.Bandwidth; l.Bandwidth > 0 && free[li] < -1 {
				t.Errorf("signalling %s reserves %v too much on link %s", l.Name, -free[li], in.TED.Links()[li].Name)
			}
		}
	}
	type slot struct {
		demand, direction string
		slot              int
	}
	rides := map[slot]string{}
	for id, a := range in.Current {
		for i, n := range a.Forward {
			rides[slot{id, "forward", i}] = n
		}
		for i, n := range a.Reverse {
			rides[slot{id, "reverse", i}] = n
		}
	}
	done := map[int]bool{}
	for _, s := range steps {
		for _, n := range s.After {
			if !done[n] {
				t.Errorf("step %d comes before %d", s.N, n)
			}
		}
		done[s.N] = true
		k := slot{s.Demand, s.Direction, s.Slot}
		switch s.Op {
		case OpSignal:
			reserve(spec[s.LSP], 1)
			up[s.LSP] = true
		case OpBind:
			if !up[s.LSP] {
				t.Errorf("step %d binds to %s, which is not up", s.N, s.LSP)
			}
			rides[k] = s.LSP
		case OpUnbind:
			rides[k] = ""
		case OpRelease:
			for k, n := range rides {
				if n == s.LSP {
					t.Errorf("step %d releases %s, which %v rides", s.N, s.LSP, k)
				}
			}
			if up[s.LSP] {
				reserve(spec[s.LSP], -1)
			}
			up[s.LSP] = false
		}
	}
	for _, o := range res.Demands {
		for dir, names := range map[string][]string{"forward": o.Assignment.Forward, "reverse": o.Assignment.Reverse} {
			for i, n := range names {
				if got := rides[slot{o.ID, dir, i}]; got != n {
					t.Errorf("%s %s slot %d rides %q at the end, want %q", o.ID, dir, i, got, n)
				}
			}
		}
	}
}
