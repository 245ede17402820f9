package tunnelmanager

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// What the operator is shown is what was read back, not what was planned.

func TestRefusedDemandIsNotMet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		for _, pe := range n.pes {
			pe.refuse = func(op driver.Op) error {
				if _, ok := op.(driver.Bind); ok {
					return &driver.Error{PE: "pe1", Step: "SET mplsFTNRowStatus", Kind: driver.ErrRejected, Remedy: "free some"}
				}
				return nil
			}
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		if d := m.View().Demands[0]; d.State != "unmet" || !strings.Contains(d.Reason, "mplsFTNRowStatus") {
			t.Errorf("demand is %s: %s", d.State, d.Reason)
		}
		n.mu.Lock()
		for _, pe := range n.pes {
			pe.refuse = nil
		}
		n.mu.Unlock()
		settle(time.Minute)
		if d := m.View().Demands[0]; d.State != "met" || d.Achieved < d.Level {
			t.Errorf("demand is %s: %s", d.State, d.Reason)
		}
	})
}

func TestRefusedLSPIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.pes["pe1"].refuse = func(op driver.Op) error {
			if _, ok := op.(driver.Signal); ok {
				return &driver.Error{PE: "pe1", Step: "SET mplsTunnelRowStatus", Kind: driver.ErrRejected}
			}
			return nil
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(time.Second)
		for _, l := range m.View().LSPs {
			if l.Owned && l.Ingress == "pe1" && (l.State != "down" || !strings.Contains(l.Reason, "mplsTunnelRowStatus")) {
				t.Errorf("LSP %s is %s: %q", l.Name, l.State, l.Reason)
			}
		}
	})
}

// A link that comes and goes moves a demand once per hold-down, not each time that it
// comes.
func TestFlappingLinkIsHeldDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.cut("pe1-c", true) // two paths are left
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.Thresholds.HoldDown = time.Minute })
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		if d := m.View().Demands[0]; d.State != "met" {
			t.Fatalf("demand is %s: %s", d.State, d.Reason)
		}
		n.cut("pe1-b", true)
		settle(5 * time.Second)
		n.sets()
		for range 5 {
			n.cut("pe1-b", false)
			settle(4 * time.Second)
			n.cut("pe1-b", true)
			settle(4 * time.Second)
		}
		n.cut("pe1-b", false)
		if ops := n.sets(); strings.Contains(strings.Join(ops, "\n"), "bind") {
			t.Errorf("within the hold-down of a minute: %q", ops)
		}
		settle(2 * time.Second)
		if d := m.View().Demands[0]; d.State != "held" {
			t.Errorf("demand is %s: %s", d.State, d.Reason)
		}
		settle(2 * time.Minute)
		if d := m.View().Demands[0]; d.State != "met" {
			t.Errorf("demand is %s: %s", d.State, d.Reason)
		}
	})
}

// A PE that never answered is in the audit, once for each way in which it fails.
func TestPEThatNeverAnswersIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.pes["pe1"].dead = true
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(20 * time.Second)
		told, topo := 0, 0
		for _, c := range m.View().Changes {
			if c.PE == "pe1" && c.Action == "pe-lost" {
				told++
			}
			if c.PE == "pe1" && c.Action == "topology" {
				topo++
			}
		}
		if told != 1 || topo != 1 {
			t.Errorf("told %d times that it does not answer, %d times that its topology cannot be read", told, topo)
		}
	})
}

// A demand says that there is no topology.
func TestDemandWithoutTopology(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.topologies = func(string) (*topology.TED, error) {
			return nil, &driver.Error{PE: "pe1", Step: "log in", Kind: driver.ErrAuth}
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(10 * time.Second)
		if d := m.View().Demands[0]; d.State != "waiting" || !strings.Contains(d.Reason, "no topology") {
			t.Errorf("demand is %s: %s", d.State, d.Reason)
		}
		if e := m.Explain(conn(1, 2)); !strings.Contains(e.Verdict, "no topology") {
			t.Errorf("explained as %s", e.Verdict)
		}
	})
}
