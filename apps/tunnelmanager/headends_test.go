package tunnelmanager

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// "tunnel-te1" is on every router: LSPs of one name on two head ends are two.
func TestOneNameOnTwoHeadEnds(t *testing.T) {
	for _, steer := range []Steer{SteerFTN, SteerClass} {
		t.Run(string(steer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				for name, r := range n.pes {
					l := r.lsps["default_"+name]
					l.Name = "tunnel-te1"
					r.lsps = map[string]topology.LSP{l.Name: l}
				}
				m, stop := n.start(Auto, steer, nil, nil)
				defer stop()
				m.Put(conn(1, 2))
				settle(5 * time.Second)
				v := m.View()
				if got := states(m); got[BindingVerified] != 4 || len(got) != 1 {
					t.Errorf("bindings: %v, want 4 verified", got)
				}
				defaults := map[string]string{}
				for _, b := range v.Bindings {
					if b.Default {
						defaults[b.PE] = b.LSP
					}
				}
				if len(v.Demands) != 1 || v.Demands[0].Achieved != disjoint.NodeSRLG {
					t.Fatalf("demands: %+v", v.Demands)
				}
				if len(defaults) != 2 || defaults["pe1"] != "tunnel-te1" || defaults["pe2"] != "tunnel-te1" {
					t.Errorf("flows on the PEs' own LSPs: %v, want tunnel-te1 at both", defaults)
				}
				users := map[topology.LSPKey]int{}
				for i := range v.LSPs {
					users[v.LSPs[i].Key()] += v.LSPs[i].Bindings
				}
				for _, pe := range []string{"pe1", "pe2"} {
					if users[topology.LSPKey{Ingress: pe, Name: "tunnel-te1"}] != 1 {
						t.Errorf("bindings of the LSPs: %v, want one on tunnel-te1 of %s", users, pe)
					}
				}
				// One of the two goes down: that is a failure there and nothing elsewhere.
				for _, r := range n.pes {
					r.sets()
				}
				n.mu.Lock()
				delete(n.pes["pe2"].lsps, "tunnel-te1")
				n.mu.Unlock()
				settle(10 * time.Second)
				if d := m.View().Demands[0]; !slices.Contains(d.Assignment.Forward, "tunnel-te1") {
					t.Errorf("pe1 lost its own LSP too: %+v", d)
				}
				if ops := n.pes["pe1"].sets(); len(ops) > 0 {
					t.Errorf("pe1, where nothing failed: %v", ops)
				}
			})
		})
	}
}
