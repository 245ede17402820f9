package tunnelmanager

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/pe-drivers/driver"
	"mpbox/topology/disjoint"
)

// assign copies a stored value as a store would: through its encoding.
func assign(to, from any) {
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		panic(err)
	}
}

func TestTwoSubflowsEndOnDisjointLSPs(t *testing.T) {
	for _, steer := range []Steer{SteerFTN, SteerClass} {
		t.Run(string(steer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				m, stop := n.start(Auto, steer, nil, nil)
				defer stop()
				settle(2 * time.Second)
				m.Put(conn(1, 2))
				settle(5 * time.Second)
				v := m.View()
				if len(v.Demands) != 1 || v.Demands[0].Achieved != disjoint.NodeSRLG {
					t.Fatalf("demands: %+v", v.Demands)
				}
				if got := states(m); got[BindingVerified] != 4 || len(got) != 1 {
					for _, b := range v.Bindings {
						t.Logf("%+v", b)
					}
					t.Fatalf("bindings: %v, want 4 verified", got)
				}
				for _, b := range v.Bindings {
					if len(b.Route) != 2 {
						t.Errorf("binding %s: route %v", b.Name, b.Route)
					}
				}
			})
		})
	}
}

// Each policy's LSPs take the paths that are cheapest in its metric, beside the PE's
// own over a.
func TestEachPolicyHasItsMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) {
			fast, cheap := c.Policies[0], c.Policies[0]
			fast.Name, fast.Ports, fast.Metric, fast.Template.Bandwidth = "fast", []uint16{443}, disjoint.MetricDelay, 1e6
			c.Policies = []Policy{fast, cheap}
		})
		defer stop()
		settle(2 * time.Second)
		fast := conn(1, 2)
		for i := range fast.Subflows {
			f := &fast.Subflows[i].Flows
			f[C2S].Dst = netip.AddrPortFrom(f[C2S].Dst.Addr(), 443)
			f[S2C].Src = f[C2S].Dst
		}
		m.Put(fast)
		m.Put(conn(2, 2))
		settle(5 * time.Second)
		for _, b := range m.View().Bindings {
			want := map[uint64]string{1: "pe1-c pe2-c", 2: "pe1-b pe2-b"}[b.Connection]
			got := slices.Sorted(slices.Values(b.Route))
			if links := strings.Join(got, " "); b.State != BindingVerified || links != want && links != "pe1-a pe2-a" {
				t.Errorf("connection %d, %s: %s over %q, want %q or a's", b.Connection, b.Direction, b.State, links, want)
			}
		}
		if got := states(m); got[BindingVerified] != 8 {
			t.Errorf("bindings: %v", got)
		}
	})
}

func TestObserveSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Observe, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(time.Minute)
		for name, r := range n.pes {
			if ops := r.sets(); len(ops) > 0 {
				t.Errorf("%s: %v", name, ops)
			}
		}
		if edge, _ := n.edge.Rules(t.Context()); len(edge.Rules) > 0 {
			t.Errorf("edge rules: %v", edge.Rules)
		}
		v := m.View()
		if len(v.Demands) != 1 || v.Demands[0].Achieved != disjoint.None {
			t.Errorf("demands: %+v: want one, scored none", v.Demands)
		}
	})
}

func TestSuggestWaitsForApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Suggest, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(30 * time.Second)
		if ops := slices.Concat(n.pes["pe1"].sets(), n.pes["pe2"].sets()); len(ops) > 0 {
			t.Fatalf("before approval: %v", ops)
		}
		plans := m.View().Plans
		if len(plans) != 1 || plans[0].State != PlanProposed || plans[0].Trigger != "demand "+m.View().Demands[0].ID+" is new" {
			t.Fatalf("plans: %+v", plans)
		}
		if _, err := m.Approve(t.Context(), "ann", "p77"); !errors.Is(err, ErrNoPlan) {
			t.Errorf("unknown plan: %v", err)
		}
		if _, err := m.Approve(t.Context(), "ann", plans[0].ID); err != nil {
			t.Fatal(err)
		}
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Fatalf("bindings: %v", got)
		}
		if _, err := m.Approve(t.Context(), "ann", plans[0].ID); !errors.Is(err, ErrNotProposed) {
			t.Errorf("approved twice: %v", err)
		}
	})
}

func TestMinimumConnectionsHoldDownAndRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.Thresholds.MinConnections = 3 })
		defer stop()
		m.Put(conn(1, 2))
		m.Put(conn(2, 2))
		settle(20 * time.Second)
		if ops := n.pes["pe1"].sets(); len(ops) > 0 {
			t.Fatalf("two connections: %v", ops)
		}
		m.Put(conn(3, 2))
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 12 {
			t.Fatalf("three connections: %v", got)
		}
		n.pes["pe1"].sets()
		m.Put(conn(4, 2))
		settle(5 * time.Second)
		if ops := n.pes["pe1"].sets(); strings.Contains(verbs(ops), "signal") || !strings.Contains(verbs(ops), "bind") {
			t.Fatalf("fourth connection: %v", ops)
		}
		if got := states(m); got[BindingVerified] != 16 {
			t.Fatalf("four connections: %v", got)
		}
		for id := range uint64(4) {
			m.Remove(id + 1)
		}
		settle(3 * time.Second)
		if ops := n.pes["pe1"].sets(); strings.Contains(verbs(ops), "release") || !strings.Contains(verbs(ops), "unbind") {
			t.Fatalf("right after the end: %v", ops)
		}
		settle(20 * time.Second)
		if ops := n.pes["pe1"].sets(); !strings.Contains(verbs(ops), "release") {
			t.Fatalf("after the release delay: %v", ops)
		}
		if len(n.pes["pe1"].lsps) != 1 || len(n.pes["pe1"].ftns) != 0 {
			t.Errorf("left over: %v %v", n.pes["pe1"].lsps, n.pes["pe1"].ftns)
		}
		var audit []string
		for _, c := range m.View().Changes {
			audit = append(audit, c.Action)
		}
		for _, want := range []string{"plan", "signal", "bind", "unbind", "release-delay", "release"} {
			if !slices.Contains(audit, want) {
				t.Errorf("audit lacks %s: %v", want, audit)
			}
		}
	})
}

func TestRestartSendsNothingAndKeepsBindings(t *testing.T) {
	for _, steer := range []Steer{SteerFTN, SteerClass} {
		t.Run(string(steer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				store := &memory{values: map[string]any{}}
				m, stop := n.start(Auto, steer, store, nil)
				m.Put(conn(1, 2))
				m.Put(conn(2, 3))
				settle(10 * time.Second)
				before := map[string]string{}
				for _, b := range m.View().Bindings {
					before[b.Name] = b.LSP
				}
				stop()
				for _, r := range n.pes {
					r.sets()
				}
				m, stop = n.start(Auto, steer, store, nil)
				defer stop()
				settle(10 * time.Second)
				for name, r := range n.pes {
					if ops := r.sets(); len(ops) > 0 {
						t.Errorf("%s after the restart: %v", name, ops)
					}
				}
				if got := states(m); got[BindingVerified] != 10 || len(got) != 1 {
					t.Fatalf("bindings: %v, want 10 verified", got)
				}
				for _, b := range m.View().Bindings {
					if before[b.Name] != b.LSP {
						t.Errorf("%s: %s before, %s after", b.Name, before[b.Name], b.LSP)
					}
				}
			})
		})
	}
}

func TestCutLinkIsAvoidedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		cut := m.View().Bindings[0].Route[0]
		n.cut(cut, true)
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Errorf("bindings: %v", got)
		}
		for _, b := range m.View().Bindings {
			if slices.Contains(b.Route, cut) {
				t.Errorf("binding %s still rides %s: %v", b.Name, cut, b.Route)
			}
		}
		if d := m.View().Demands[0]; d.Achieved != disjoint.NodeSRLG {
			t.Errorf("disjointness %v", d.Achieved)
		}
	})
}

func TestRefusedOperationLeavesTrafficWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.pes["pe1"].refuse = func(op driver.Op) error {
			if _, ok := op.(driver.Bind); ok {
				return &driver.Error{PE: "pe1", Step: "SET mplsFTNRowStatus.7", Kind: driver.ErrRejected, Detail: "wrongValue", Remedy: "look at the row"}
			}
			return nil
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(10 * time.Second)
		if len(n.pes["pe1"].ftns) != 0 {
			t.Errorf("FTNs: %v", n.pes["pe1"].ftns)
		}
		failed := false
		for _, b := range m.View().Bindings {
			if b.State == BindingFailed {
				failed = true
				for _, want := range []string{"pe1", "SET mplsFTNRowStatus.7", "wrongValue", "look at the row"} {
					if !strings.Contains(b.Reason, want) {
						t.Errorf("reason %q lacks %q", b.Reason, want)
					}
				}
			}
		}
		if !failed {
			t.Errorf("no binding failed: %v", states(m))
		}
		n.mu.Lock()
		n.pes["pe1"].refuse = nil
		n.mu.Unlock()
		settle(time.Minute)
		if got := states(m); got[BindingVerified] != 4 {
			t.Errorf("once the PE accepts: %v", got)
		}
	})
}

func TestLostPEIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		settle(2 * time.Second)
		n.mu.Lock()
		n.pes["pe1"].dead = true
		n.mu.Unlock()
		settle(2 * time.Second)
		m.Put(conn(1, 2))
		settle(10 * time.Second)
		if pe := m.View().PEs[0]; pe.Reachable || pe.Err == nil {
			t.Errorf("pe1: %+v", pe)
		}
		n.mu.Lock()
		n.pes["pe1"].dead = false
		n.mu.Unlock()
		settle(10 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Errorf("bindings: %v", got)
		}
	})
}

func TestGroupThatGrowsKeepsItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		c := conn(1, 2)
		m.Put(c)
		settle(5 * time.Second)
		before := map[string]string{}
		for _, b := range m.View().Bindings {
			before[b.Name] = b.LSP
		}
		n.pes["pe1"].sets()
		grown := conn(1, 3)
		copy(grown.Subflows, c.Subflows)
		m.Put(grown)
		settle(3 * time.Second) // less than hold-down: nothing is moved
		if got := states(m); got[BindingVerified] != 6 {
			t.Errorf("bindings: %v", got)
		}
		for _, b := range m.View().Bindings {
			if old, ok := before[b.Name]; ok && old != b.LSP {
				t.Errorf("%s moved from %s to %s", b.Name, old, b.LSP)
			}
		}
		if ops := n.pes["pe1"].sets(); strings.Contains(verbs(ops), "unbind") || strings.Contains(verbs(ops), "release") {
			t.Errorf("growing took something away: %v", ops)
		}
	})
}

// The default LSP is re-routed by its head end onto a path that another slot uses:
// hold-down must not keep the demand there.
func TestReroutedDefaultIsMovedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.Thresholds.HoldDown = time.Hour })
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		for _, b := range m.View().Bindings {
			if b.Default && b.PE == "pe1" {
				n.cut(b.Route[0], true)
				break
			}
		}
		settle(5 * time.Second)
		d := m.View().Demands[0]
		if got := states(m); d.Achieved != disjoint.NodeSRLG || got[BindingVerified] != 4 {
			t.Errorf("disjointness %v, %s: %s, bindings %v", d.Achieved, d.State, d.Reason, got)
		}
	})
}

// Where no bridge stands, nothing counts a flow: the PE's state verifies its binding.
// Class steering has nobody to mark packets there, and says so.
func TestAttachmentWithoutBridge(t *testing.T) {
	for _, tc := range []struct {
		steer Steer
		want  map[BindingState]int
		rules int
	}{
		{SteerFTN, map[BindingState]int{BindingVerified: 4}, 2},
		{SteerClass, map[BindingState]int{BindingVerified: 2, BindingFailed: 2}, 2},
	} {
		t.Run(string(tc.steer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				m, stop := n.start(Auto, tc.steer, nil, func(c *Config) { c.Attachments[1].NoBridge = true })
				defer stop()
				m.Put(conn(1, 2))
				settle(5 * time.Second)
				if got := states(m); !maps.Equal(got, tc.want) {
					t.Errorf("bindings: %v, want %v", got, tc.want)
				}
				for _, b := range m.View().Bindings {
					if b.State == BindingFailed && !strings.Contains(b.Reason, "edge bridge at ce2") {
						t.Errorf("reason: %s", b.Reason)
					}
				}
				edge, _ := n.edge.Rules(t.Context())
				if len(edge.Rules) != tc.rules {
					t.Errorf("%d edge rules, want %d", len(edge.Rules), tc.rules)
				}
				for _, r := range edge.Rules {
					if r.Attachment != "ce1" || r.Mark {
						t.Errorf("edge rule %+v", r)
					}
				}
			})
		})
	}
}
