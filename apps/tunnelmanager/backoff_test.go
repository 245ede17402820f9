package tunnelmanager

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// over gives LSPs whose route enters one of some nodes from pe1 or pe2: their
// interface addresses are 10.0.<k>.2, k = 1, 2 for a, 3, 4 for b, 5, 6 for c.
func over(nodes string) func(topology.LSP) bool {
	return func(l topology.LSP) bool {
		k := int(l.ERO[0].Addr.As4()[2])
		return strings.Contains(nodes, string("aabbcc"[k-1]))
	}
}

func (n *network) never(f func(topology.LSP) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.pes {
		r.never = f
	}
}

// signals gives how many LSPs were asked for since the last call, at both PEs.
func (n *network) signals() int {
	count := 0
	for _, op := range slices.Concat(n.pes["pe1"].sets(), n.pes["pe2"].sets()) {
		if strings.HasPrefix(op, "signal ") {
			count++
		}
	}
	return count
}

// An LSP that is accepted and never comes up is tried again less and less often, and
// the operator is told.
func TestLSPThatNeverComesUpIsBackedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.never(over("bc"))
		n.busy = true
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(time.Minute)
		first, events := n.signals(), 0
		for _, c := range m.View().Changes {
			if c.Action == "back-off" {
				events++
				if c.PE == "" || c.Result != ResultFailed || !strings.Contains(c.Detail, "no bandwidth at 10.0.255.4") {
					t.Errorf("%+v", c)
				}
			}
		}
		if events < first-2 || events > first {
			t.Errorf("%d events of %d tries", events, first)
		}
		settle(29 * time.Minute)
		middle := n.signals()
		settle(30 * time.Minute)
		last := n.signals()
		t.Logf("signalled %d in the first minute, %d in the first half hour, %d in the second", first, first+middle, last)
		if first < 2 || first > 12 || first+middle > 40 {
			t.Errorf("signalled %d in the first minute and %d in the first half hour", first, first+middle)
		}
		if last < 2*5 || last > 4*7 { // two directions, at most two paths each, every 5 minutes
			t.Errorf("signalled %d in the second half hour: want a try each 5 minutes", last)
		}
		d := m.View().Demands[0]
		if d.State != "unmet" || !strings.Contains(d.Reason, "did not come up") || !strings.Contains(d.Reason, "no bandwidth at 10.0.255.4") || !strings.Contains(d.Reason, "not tried again before") {
			t.Errorf("%s: %s", d.State, d.Reason)
		}
		if len(m.View().LSPs) > 2+4 {
			t.Errorf("LSPs that failed are kept: %d", len(m.View().LSPs))
		}
	})
}

// Where another path is there, the next plan takes it.
func TestPathThatFailedIsAvoided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.never(over("b"))
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(15 * time.Second)
		if d := m.View().Demands[0]; d.State != "met" || d.Achieved != disjoint.NodeSRLG {
			t.Errorf("%s, %v: %s", d.State, d.Achieved, d.Reason)
		}
		settle(time.Hour)
		if got := n.signals(); got != 4 {
			t.Errorf("signalled %d, want 2 in each direction: one that fails and one that does not", got)
		}
	})
}

// A change of the topology has everything tried at once.
func TestTopologyChangeEndsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.never(over("bc"))
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(37 * time.Minute)
		n.never(nil)
		n.cut("pe1-c", true)
		settle(15 * time.Second)
		if d := m.View().Demands[0]; d.State != "met" || d.Achieved != disjoint.NodeSRLG || d.Reason != "" {
			t.Errorf("%s, %v: %s", d.State, d.Achieved, d.Reason)
		}
	})
}

// What becomes possible without a change of the topology is found with a later try.
func TestBackedOffPathIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.never(over("bc"))
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(20 * time.Minute)
		n.never(nil)
		settle(6 * time.Minute)
		if d := m.View().Demands[0]; d.State != "met" || d.Achieved != disjoint.NodeSRLG || d.Reason != "" {
			t.Errorf("%s, %v: %s", d.State, d.Achieved, d.Reason)
		}
	})
}

// Two policies have an LSP each on one path: that both fail, or one of them, is told
// once for each, also where the plan that would leave it waits for approval.
func TestBackOffOfTwoLSPsOnOnePath(t *testing.T) {
	for name, never := range map[string]func(topology.LSP) bool{
		"both fail": over("bc"),
		"one fails": func(l topology.LSP) bool { return over("bc")(l) && l.SetupPriority == 7 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.never(never)
				m, stop := n.start(Suggest, SteerFTN, nil, func(c *Config) {
					low, high := c.Policies[0], c.Policies[0]
					low.Name, low.Ports, low.Template = "low", []uint16{80}, topology.LSP{SetupPriority: 7, HoldPriority: 7}
					high.Name, high.Template = "high", topology.LSP{SetupPriority: 3, HoldPriority: 3}
					c.Policies = []Policy{low, high}
				})
				defer stop()
				a, b := conn(1, 2), conn(2, 2)
				for i := range b.Subflows {
					sv := netip.MustParseAddrPort("10.2.0.1:81")
					b.Subflows[i].Flows[0].Dst, b.Subflows[i].Flows[1].Src = sv, sv
				}
				m.Put(b)
				m.Put(a)
				settle(time.Second)
				plans := m.View().Plans
				if _, err := m.Approve(t.Context(), "me", plans[len(plans)-1].ID); err != nil {
					t.Fatal(err)
				}
				settle(10 * time.Minute)
				events, unmet := 0, 0
				for _, c := range m.View().Changes {
					if c.Action == "back-off" {
						events++
					}
				}
				for _, d := range m.View().Demands {
					if d.State == "unmet" && strings.Contains(d.Reason, "approval") {
						unmet++
					}
				}
				if want := events / 2; unmet != want { // an LSP of each failed, in either direction
					t.Errorf("%d demands lack a path and wait for approval, want %d", unmet, want)
				}
				signals := n.signals()
				if events == 0 || events > signals {
					t.Errorf("%d LSPs were asked for, and %d are told to have failed", signals, events)
				}
			})
		})
	}
}
