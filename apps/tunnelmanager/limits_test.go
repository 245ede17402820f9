package tunnelmanager

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/topology/disjoint"
)

func ptr[T any](v T) *T { return &v }

var blueOnly = threshold.Match{VPN: "blue"}

// twoVPNs adds a second customer at the same PEs, with a rule for it.
func twoVPNs(p threshold.Patch) func(*Config) {
	return func(c *Config) {
		c.VPNs = []string{"default", "red", "blue"}
		for i, name := range []string{"ce3", "ce4"} {
			a := c.Attachments[i]
			a.Name, a.VPN, a.Interface = name, "blue", a.Interface+".2"
			c.Attachments = append(c.Attachments, a)
		}
		c.Rules = threshold.Rules{{Match: blueOnly, Patch: p}}
	}
}

// blue is conn in the other VPN.
func blue(id uint64, subflows int) Connection {
	c := conn(id, subflows)
	c.VPN = "blue"
	other := map[string]string{"ce1": "ce3", "ce2": "ce4"}
	for i := range c.Subflows {
		for d := range c.Subflows[i].Flows {
			f := &c.Subflows[i].Flows[d]
			f.Ingress, f.Egress = other[f.Ingress], other[f.Egress]
		}
	}
	return c
}

func demandIn(t *testing.T, m *Manager, vpn string) Demand {
	t.Helper()
	for _, d := range m.View().Demands {
		if d.VPN == vpn {
			return d
		}
	}
	t.Fatalf("no demand in %s", vpn)
	return Demand{}
}

func TestDemandsAreLetInByTheirOwnLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, twoVPNs(threshold.Patch{MinConnections: ptr(2), MinSubflows: ptr(3)}))
		defer stop()
		m.Put(conn(1, 2))
		m.Put(blue(2, 3))
		small := blue(3, 2)
		m.Put(small)
		settle(20 * time.Second)
		if d := demandIn(t, m, "red"); d.State != "met" || d.Limits.MinConnections != 1 {
			t.Errorf("red: %s %s, limits %+v", d.State, d.Reason, d.Limits)
		}
		d := demandIn(t, m, "blue")
		if d.State != "waiting" || !strings.Contains(d.Reason, "1 of 1 connections count, 2 wanted (min_connections)") || d.Limits.MinConnections != 2 {
			t.Errorf("blue: %s %s, limits %+v", d.State, d.Reason, d.Limits)
		}
		if e := m.Explain(blue(2, 3)); !strings.Contains(e.Verdict, "at least 2 (min_connections)") {
			t.Errorf("blue: %s", e.Verdict)
		}
		if e := m.Explain(small); !strings.Contains(e.Verdict, "at least 3 (min_subflows)") {
			t.Errorf("two subflows: %s", e.Verdict)
		}
		// A rule that is set is in force at once.
		if err := m.SetThresholds(t.Context(), "ann", limitsForTest(), threshold.Rules{{Match: blueOnly, Patch: threshold.Patch{MinConnections: ptr(1)}}}); err != nil {
			t.Fatal(err)
		}
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 4+6+4 || len(got) != 1 {
			t.Errorf("bindings: %v", got)
		}
	})
}

// Hold-down and gain, too, are a demand's own.
func TestDemandsAreMovedByTheirOwnLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		rule  threshold.Patch
		state string
		why   string
	}{
		"hold-down": {threshold.Patch{HoldDown: ptr(time.Hour)}, "held", "hold-down until"},
		"gain":      {threshold.Patch{MinGain: ptr(100.0)}, "waiting", "100.00 wanted (min_gain)"},
		"settle":    {threshold.Patch{Settle: ptr(time.Minute)}, "waiting", "a subflow has just joined (settle)"},
		"volume":    {threshold.Patch{MinBytes: ptr(uint64(1e6))}, "waiting", "1000000 wanted (min_bytes)"},
		"age":       {threshold.Patch{MinAge: ptr(time.Minute)}, "waiting", "1m0s wanted (min_age)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.cut("pe1-c", true)
				m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) {
					twoVPNs(tt.rule)(c)
					if name == "gain" {
						c.Policies[0].Level, c.Thresholds.MinGain = disjoint.None, 1 // what is asked for is worth it by itself
					}
				})
				defer stop()
				m.Put(conn(1, 3))
				m.Put(blue(2, 3))
				settle(5 * time.Second)
				n.cut("pe1-c", false)
				settle(20 * time.Second)
				if d := demandIn(t, m, "red"); d.State != "met" {
					t.Errorf("red: %s %s", d.State, d.Reason)
				}
				if d := demandIn(t, m, "blue"); d.State != tt.state || !strings.Contains(d.Reason, tt.why) {
					t.Errorf("blue: %s %s, want %s", d.State, d.Reason, tt.why)
				}
			})
		})
	}
}

// With min_bytes the flows of connections that wait are counted, and volume lets them
// in; where no bridge counts, it is not asked for.
func TestVolumeLetsAConnectionIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		bridge := true
		change := func(c *Config) {
			c.Thresholds.MinBytes = 1e6
			for i := range c.Attachments {
				c.Attachments[i].NoBridge = !bridge
			}
		}
		m, stop := n.start(Auto, SteerFTN, nil, change)
		c := conn(1, 2)
		m.Put(c)
		settle(20 * time.Second)
		if edge, _ := n.edge.Rules(t.Context()); len(edge.Rules) != 4 || len(m.View().Bindings) != 0 {
			t.Errorf("while it waits: rules %v, bindings %v", edge.Rules, m.View().Bindings)
		}
		c.Bytes = 4e5 // of rules that ended
		m.Put(c)
		n.edge.mu.Lock()
		n.edge.bytes = map[uint64]uint64{c.Subflows[0].Flows[C2S].CountRule().ID: 1e5, c.Subflows[1].Flows[S2C].CountRule().ID: 4e5}
		n.edge.mu.Unlock()
		settle(20 * time.Second)
		for _, text := range []string{m.View().Demands[0].Reason, m.Explain(c).Verdict} {
			if !strings.Contains(text, "it has carried 900000 bytes, 1000000 wanted (min_bytes)") {
				t.Errorf("waits: %s", text)
			}
		}
		n.edge.mu.Lock()
		n.edge.bytes[c.Subflows[1].Flows[S2C].CountRule().ID] = 5e5
		n.edge.mu.Unlock()
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Errorf("after 1 MB: %v", got)
		}
		stop()

		bridge = false
		m, stop = newNetwork(t).start(Auto, SteerFTN, nil, change)
		defer stop()
		m.Put(conn(2, 2))
		settle(20 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Errorf("without bridges: %v", got)
		}
	})
}

// What nothing needs is kept for as long as those that rode it last ask for, over a
// restart too, and not for twice as long.
func TestReleaseDelayIsTheDemandsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		store := &memory{values: map[string]any{}}
		rule := twoVPNs(threshold.Patch{ReleaseDelay: ptr(time.Minute)})
		m, stop := n.start(Auto, SteerFTN, store, rule)
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		own := func() (k int) {
			n.mu.Lock()
			defer n.mu.Unlock()
			for name := range n.pes["pe1"].lsps {
				if strings.HasPrefix(name, "mpbox/") {
					k++
				}
			}
			return k
		}
		red := own()
		m.Put(blue(2, 3))
		settle(5 * time.Second)
		all := own()
		if red == 0 || all <= red {
			t.Fatalf("%d LSPs for red, %d with blue", red, all)
		}
		m.Remove(1)
		m.Remove(2)
		settle(20 * time.Second)
		if got := own(); got != all {
			t.Errorf("after 20 s: %d LSPs, want %d: blue's demand rides red's too", got, all)
		}
		if !slices.ContainsFunc(m.View().Changes, func(c Change) bool {
			return c.Action == "release-delay" && strings.Contains(c.Detail, "released in 1m0s")
		}) {
			t.Error("the audit does not tell blue's release delay")
		}
		stop()
		m, stop = n.start(Auto, SteerFTN, store, rule)
		defer stop()
		settle(50 * time.Second)
		if got := own(); got != all {
			t.Errorf("50 s after a restart: %d LSPs, want %d", got, all)
		}
		settle(15 * time.Second)
		if got := own(); got != 0 {
			t.Errorf("65 s after a restart: %d LSPs are left", got)
		}
		m.Put(conn(3, 2))
		settle(5 * time.Second)
		m.Remove(3)
		settle(4 * time.Second)
		if got := own(); got == 0 {
			t.Error("red's LSPs were released before its 5 s")
		}
		settle(3 * time.Second)
		if got := own(); got != 0 {
			t.Errorf("7 s after red's end: %d LSPs are left", got)
		}
	})
}

// An LSP that a demand has moved away from is kept for as long as that demand asks.
func TestLeftLSPIsKeptByTheDemandsOwnDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, twoVPNs(threshold.Patch{ReleaseDelay: ptr(time.Minute)}))
		defer stop()
		m.Put(blue(1, 2))
		settle(5 * time.Second)
		var left string
		for _, b := range m.View().Bindings {
			if b.PE == "pe1" && !b.Default {
				left = b.LSP
				n.cut(b.Route[0], true)
			}
		}
		settle(50 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Fatalf("bindings: %v", got)
		}
		there := func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			_, ok := n.pes["pe1"].lsps[left]
			return ok
		}
		if !there() {
			t.Errorf("%s was released before its minute", left)
		}
		settle(15 * time.Second)
		if there() || left == "" {
			t.Errorf("%q is there after a minute", left)
		}
	})
}

// Rules that were set are kept, win over the configuration's, and are audited.
func TestRulesAreCheckedAuditedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		store := &memory{values: map[string]any{}}
		rule := twoVPNs(threshold.Patch{MinConnections: ptr(9)})
		m, stop := n.start(Auto, SteerFTN, store, rule)
		l := limitsForTest()
		l.MinGain = 1.2
		if err := m.SetThresholds(t.Context(), "ann", l, m.View().Rules); err != nil {
			t.Fatal(err)
		}
		kept := false
		if err := m.call(t.Context(), func(time.Time) { _, kept = store.values["threshold-rules"] }); err != nil || kept {
			t.Error("rules are kept that nobody set: the file's would not count any more")
		}
		var bad *threshold.InvalidError
		err := m.SetThresholds(t.Context(), "ann", l, threshold.Rules{{Match: threshold.Match{Ingress: "pe9"}, Patch: threshold.Patch{MinGain: ptr(2.0)}}})
		if !errors.As(err, &bad) || bad.Field != "rules[0].ingress" {
			t.Errorf("unknown PE: %v", err)
		}
		rules := threshold.Rules{{Match: blueOnly, Patch: threshold.Patch{MinConnections: ptr(4)}}, {Match: threshold.Match{Ingress: "pe1", Egress: "pe2"}, Patch: threshold.Patch{MinGain: ptr(2.0)}}}
		if err := m.SetThresholds(t.Context(), "ann", l, rules); err != nil {
			t.Fatal(err)
		}
		var audit []string
		for _, c := range m.View().Changes {
			if c.Action == "threshold" {
				audit = append(audit, c.Actor+"|"+c.VPN+"|"+c.PE+"|"+c.Subject)
			}
		}
		if want := []string{"ann|||min_gain 1.1 -> 1.2", "ann|blue||vpn=blue: min_connections 9 -> 4", "ann||pe1|ingress=pe1 egress=pe2: min_gain none -> 2"}; !slices.Equal(audit, want) {
			t.Errorf("audit %q", audit)
		}
		stop()
		// pe2 is gone from the file: its rule is kept, and may be kept on.
		m, stop = n.start(Auto, SteerFTN, store, func(c *Config) { rule(c); c.PEs = c.PEs[:1] })
		defer stop()
		v := m.View()
		if len(v.Rules) != 2 || *v.Rules[0].MinConnections != 4 || v.Limits.MinGain != 1.2 {
			t.Fatalf("after a restart: %+v %+v", v.Limits, v.Rules)
		}
		if err := m.SetThresholds(t.Context(), "ann", limitsForTest(), v.Rules); err != nil {
			t.Errorf("a rule that was there is refused: %v", err)
		}
		if err := m.SetThresholds(t.Context(), "ann", limitsForTest(), nil); err != nil || len(m.View().Rules) != 0 {
			t.Errorf("removal: %v", err)
		}
	})
}
