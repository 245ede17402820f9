package tunnelmanager

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// ops lists a plan's operations: what on which PE after which, and how far.
func ops(p *Plan) []string {
	var out []string
	for _, o := range p.Ops {
		s := fmt.Sprintf("%s %s %s", o.PE, o.Op, o.LSP)
		if o.Demand != "" {
			s += fmt.Sprintf(" %s %d", o.Direction, o.Slot)
		}
		out = append(out, fmt.Sprintf("%s %v %s", s, o.After, o.State))
	}
	return out
}

func firstPlan(t *testing.T, m *Manager) *Plan {
	t.Helper()
	p := m.View().Plans
	if len(p) == 0 {
		t.Fatal("no plan")
	}
	return p[0]
}

func in(state OpState, lines ...string) (out []string) {
	for _, l := range lines {
		out = append(out, l+" "+string(state))
	}
	return out
}

var twoSubflows = []string{
	"pe1 signal mpbox/lab/pe1-pe2/1 []", "pe2 signal mpbox/lab/pe2-pe1/1 []",
	"pe1 bind default_pe1 forward 0 []", "pe1 bind mpbox/lab/pe1-pe2/1 forward 1 [1]",
	"pe2 bind default_pe2 reverse 0 []", "pe2 bind mpbox/lab/pe2-pe1/1 reverse 1 [2]",
}

// A proposal tells which flows move, and after what. What was approved late is not late.
func TestOpsOfAProposal(t *testing.T) {
	for _, steer := range []Steer{SteerFTN, SteerClass} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			m, stop := n.start(Suggest, steer, nil, nil)
			defer stop()
			m.Put(conn(1, 2))
			settle(5 * time.Minute)
			p := firstPlan(t, m)
			if got, want := ops(p), in(OpWaiting, twoSubflows...); !slices.Equal(got, want) {
				t.Errorf("proposed:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if _, err := m.Approve(t.Context(), "ann", p.ID); err != nil {
				t.Fatal(err)
			}
			settle(5 * time.Second)
			p = firstPlan(t, m)
			if got, want := ops(p), in(OpDone, twoSubflows...); p.State != PlanDone || !slices.Equal(got, want) {
				t.Errorf("%s %s:\n%s", p.State, p.Reason, strings.Join(got, "\n"))
			}
			if o := p.Ops[3]; (o.FTN == "") || o.FTN != bindingOn(m, o.LSP).FTN {
				t.Errorf("bound by %q", o.FTN)
			}
		})
	}
}

func bindingOn(m *Manager, lsp string) *Binding {
	for _, b := range m.View().Bindings {
		if b.LSP == lsp {
			return b
		}
	}
	return &Binding{}
}

// A refused entry fails the operation that it is part of, and no other.
func TestOpsOfARefusal(t *testing.T) {
	for name, refused := range map[string]int{"bind": 3, "signal": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.pes["pe1"].refuse = func(op driver.Op) error {
					if opVerb(op) != name {
						return nil
					}
					return &driver.Error{PE: "pe1", Step: "SET row", Kind: driver.ErrRejected, Detail: "noCreation", Remedy: "make room"}
				}
				m, stop := n.start(Auto, SteerFTN, nil, nil)
				defer stop()
				m.Put(conn(1, 2))
				settle(5 * time.Second)
				p := firstPlan(t, m)
				o := p.Ops[refused]
				if p.State != PlanFailed || o.State != OpFailed || o.Failure.Step != "SET row" || o.Failure.Detail != "PE rejected the operation: noCreation" ||
					o.Failure.Remedy != "make room" || o.Failure.At.IsZero() {
					t.Errorf("%s: %+v", p.State, o)
				}
				if name == "bind" && (p.Ops[0].State != OpDone || p.Ops[1].State != OpDone || o.FTN != bindingOn(m, o.LSP).FTN) {
					t.Errorf("signalled LSPs are up:\n%s", strings.Join(ops(p), "\n"))
				}
				if name == "signal" && p.Ops[3].State != OpWaiting {
					t.Errorf("it waits for its LSP:\n%s", strings.Join(ops(p), "\n"))
				}
			})
		})
	}
}

// What was done of a plan is known after a restart in its midst.
func TestOpsOfAPlanThatWasCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.pes["pe1"].never = func(l topology.LSP) bool { return strings.HasPrefix(l.Name, "mpbox/") }
		store := &memory{values: map[string]any{}}
		m, stop := n.start(Auto, SteerFTN, store, nil)
		m.Put(conn(1, 2))
		settle(3 * time.Second)
		if s := firstPlan(t, m).State; s != PlanRunning {
			t.Fatalf("the plan is %s", s)
		}
		stop()
		m, stop = n.start(Auto, SteerFTN, store, nil)
		defer stop()
		want := []OpState{OpRunning, OpDone, OpDone, OpWaiting, OpDone, OpDone}
		p := firstPlan(t, m)
		for i, o := range p.Ops {
			if p.State != PlanSuperseded || o.State != want[i] {
				t.Errorf("%s: op %d is %s, want %s", p.State, o.N, o.State, want[i])
			}
		}
	})
}

// Where a slot moves on, the LSP that it leaves is released, and the plan says so.
func TestOpsOfAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		left := firstPlan(t, m).Ops[0].LSP
		n.cut(bindingOn(m, left).Route[0], true)
		settle(3 * time.Second)
		plans := m.View().Plans
		p := plans[len(plans)-1]
		kinds := map[plan.OpKind]int{}
		for _, o := range p.Ops {
			kinds[o.Op]++
			if want := map[bool]OpState{false: OpDone, true: OpWaiting}[o.Op == plan.OpRelease]; o.State != want {
				t.Errorf("%+v: want %s", o, want)
			}
		}
		if p.State != PlanDone || kinds[plan.OpSignal] == 0 || kinds[plan.OpRelease] == 0 || kinds[plan.OpBind] == 0 {
			t.Errorf("%s %s\n%s", p.State, p.Reason, strings.Join(ops(p), "\n"))
		}
	})
}
