package tunnelmanager

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// A PE that refuses each LSP is not asked for another at once under a new name.
func TestRefusedSignalIsNotAskedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		asked := 0
		n.pes["pe1"].refuse = func(op driver.Op) error {
			if _, ok := op.(driver.Signal); ok {
				asked++
				return &driver.Error{PE: "pe1", Step: "SET mplsTunnelRowStatus", Kind: driver.ErrRejected}
			}
			return nil
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		m.Put(conn(1, 2))
		settle(time.Minute)
		stop()
		if asked > 14 { // a minute, held for 10 s each time, one or two LSPs
			t.Errorf("asked %d times within a minute", asked)
		}
		if len(m.specs) > 4 {
			t.Errorf("%d LSPs are kept in mind", len(m.specs))
		}
	})
}

// What was decided is not decided again without news: neither for a demand that is
// not worth it nor for one that is held down.
func TestNoPlanWithoutNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.Thresholds.MinGain, c.Policies[0].Level = 100, disjoint.None })
		m.Put(conn(1, 2))
		settle(10 * time.Second)
		stop()
		d := m.demands[m.groups[0].ID]
		if d.has || d.state != "waiting" {
			t.Fatalf("demand %s: %s", d.state, d.reason)
		}
		if w := (wake{now: time.Now(), at: time.Now().Add(time.Hour)}); m.dirty {
			t.Error("dirty without news")
		} else if _, fresh := m.admit(time.Now(), &w); fresh {
			t.Error("a demand that was found not worth it counts as new")
		}
	})
}

// A demand that is held down is looked at when that is over; until then it does not
// have every step plan.
func TestHeldDownIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.cut("pe1-c", true)
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.Thresholds.HoldDown = time.Minute })
		m.Put(conn(1, 3))
		settle(5 * time.Second)
		n.cut("pe1-c", false)
		settle(10 * time.Second)
		if d := m.View().Demands[0]; d.State != "held" {
			t.Fatalf("%s: %s", d.State, d.Reason)
		}
		dirty := false
		if err := m.call(t.Context(), func(time.Time) { dirty = m.dirty }); err != nil || dirty {
			t.Errorf("planned at every step: %v, %v", dirty, err)
		}
		settle(time.Minute)
		if d := m.View().Demands[0]; d.State != "met" || d.Achieved != disjoint.NodeSRLG {
			t.Errorf("after hold-down %s: %s, %v", d.State, d.Reason, d.Achieved)
		}
		stop()
	})
}

// A PE that has not answered since a restart holds up its own demands alone.
func TestUnreadPEHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.pes["pe3"] = &router{net: n, name: "pe3", lsps: map[string]topology.LSP{}, ftns: map[string]topology.FTN{}, dead: true}
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) {
			c.PEs = append(c.PEs, PE{Name: "pe3", Steer: SteerFTN, Poll: time.Second})
			c.Attachments = append(c.Attachments, Attachment{Name: "ce3", VPN: "red", PE: "pe3", Interface: "Gi3"})
		})
		defer stop()
		m.Put(conn(1, 2))
		other := conn(2, 2)
		for i := range other.Subflows {
			f := &other.Subflows[i].Flows
			f[C2S].Egress, f[S2C].Ingress = "ce3", "ce3"
		}
		m.Put(other)
		settle(10 * time.Second)
		if got := states(m); got[BindingVerified] != 4 || len(got) != 1 {
			t.Errorf("bindings: %v, want 4 verified", got)
		}
	})
}

// A proposal is approved as it was shown or not at all: not once a link of its
// routes is gone, and not once another plan came into force.
func TestStaleProposalIsNotApproved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Suggest, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		first := m.View().Plans[0]
		links, err := n.ted().Route(first.Signal[0].Ingress, first.Signal[0].ERO)
		if err != nil {
			t.Fatal(err)
		}
		n.cut(n.ted().Links()[links[0]].Name, true)
		settle(5 * time.Second)
		if _, err := m.Approve(t.Context(), "ann", first.ID); !errors.Is(err, ErrNotProposed) {
			t.Errorf("over a link that is down: %v", err)
		}
		second, err := m.Propose(t.Context(), "ann", plan.Incremental)
		if err != nil {
			t.Fatal(err)
		}
		third, err := m.Propose(t.Context(), "ann", plan.Redesign)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Approve(t.Context(), "ann", second.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Approve(t.Context(), "ann", third.ID); !errors.Is(err, ErrNotProposed) {
			t.Errorf("after another: %v", err)
		}
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Errorf("bindings: %v", got)
		}
	})
}

// Operations that wait for a PE to be read are taken back by observe mode.
func TestObserveTakesBackWhatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		settle(2 * time.Second)
		n.mu.Lock()
		for _, r := range n.pes {
			r.slow = 4 * time.Second
		}
		n.mu.Unlock()
		settle(5500 * time.Millisecond) // a reading has begun
		m.Put(conn(1, 2))
		settle(time.Second)
		if err := m.SetMode(t.Context(), "ann", Observe); err != nil {
			t.Fatal(err)
		}
		before := [2]int{len(n.pes["pe1"].sets()), len(n.pes["pe2"].sets())}
		settle(30 * time.Second)
		for name, r := range n.pes {
			if ops := r.sets(); len(ops) > 0 {
				t.Errorf("%s in observe mode: %v (before: %v)", name, ops, before)
			}
		}
		if err := m.SetMode(t.Context(), "ann", Auto); err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		if got := states(m); got[BindingVerified] != 4 {
			t.Errorf("in auto mode again: %v", got)
		}
	})
}

// After a restart the marks on the bridges stay as they were, also while a PE has
// not been read: what rides its default LSP is not marked.
func TestRestartMarksNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		store := &memory{values: map[string]any{}}
		m, stop := n.start(Auto, SteerClass, store, nil)
		m.Put(conn(1, 2))
		settle(10 * time.Second)
		if got := states(m); got[BindingVerified] != 4 {
			t.Fatalf("bindings: %v", got)
		}
		stop()
		before, _ := n.edge.Rules(t.Context())
		n.edge.set = func(rules []EdgeRule) {
			for _, r := range rules {
				if r != before.Rules[r.ID] {
					t.Errorf("rule %+v, before the restart %+v", r, before.Rules[r.ID])
				}
			}
		}
		n.pes["pe1"].dead = true
		n.pes["pe2"].slow = 3 * time.Second
		_, stop = n.start(Auto, SteerClass, store, nil)
		defer stop()
		settle(10 * time.Second)
		n.mu.Lock()
		n.pes["pe1"].dead = false
		n.mu.Unlock()
		settle(10 * time.Second)
		if after, _ := n.edge.Rules(t.Context()); len(after.Rules) != len(before.Rules) {
			t.Errorf("%d rules, before %d", len(after.Rules), len(before.Rules))
		}
	})
}

// A class stays on the PE while a bridge may mark with it: one that was just told
// to, and one that does not answer.
func TestClassStaysWhileABridgeMayMark(t *testing.T) {
	m := &Manager{cfg: Config{Owner: "mpbox/lab/"}, edge: &bridges{}}
	m.attachments = map[string]Attachment{"ce1": {Name: "ce1"}}
	r := EdgeRule{ID: 1, Attachment: "ce1", Mark: true, DSCP: 3}
	for _, tc := range []struct {
		why  string
		sent map[uint64]EdgeRule
		have EdgeState
		want bool
	}{
		{"told, not read back", map[uint64]EdgeRule{1: r}, EdgeState{Attachments: map[string]bool{"ce1": true}}, true},
		{"bridge does not answer", nil, EdgeState{}, true},
		{"read back", nil, EdgeState{Attachments: map[string]bool{"ce1": true}, Rules: map[uint64]EdgeRule{1: r}}, true},
		{"gone", nil, EdgeState{Attachments: map[string]bool{"ce1": true}}, false},
	} {
		m.sent, m.edgeOf = tc.sent, tc.have
		if got := m.marked("mpbox/lab/class/ce1/3/10.2.0.0/16"); got != tc.want {
			t.Errorf("%s: marked %v", tc.why, got)
		}
	}
	m.attachments, m.edgeOf = nil, EdgeState{}
	if m.marked("mpbox/lab/class/ce1/3/10.2.0.0/16") {
		t.Error("an attachment that is not configured any more keeps its classes")
	}
}

// An LSP is released though its PE's name begins with another's and a hyphen.
func TestReleaseWithPENamesThatContainEachOther(t *testing.T) {
	m := &Manager{cfg: Config{Owner: "mpbox/lab/"}}
	now := time.Now()
	lsp := topology.LSP{Name: "mpbox/lab/pe1-b-pe2/1", Ingress: "pe1-b"}
	m.pes = map[string]*peState{"pe1": {PE: PE{Name: "pe1"}, read: true, reachable: true, state: driver.State{At: now}},
		"pe1-b": {PE: PE{Name: "pe1-b"}, read: true, reachable: true, state: driver.State{At: now, LSPs: []topology.LSP{lsp}}}}
	other := func(name string) topology.LSPKey { return topology.LSPKey{Ingress: "pe1", Name: name} }
	m.wanted = map[topology.LSPKey]time.Time{lsp.Key(): now.Add(-time.Minute), other("mpbox/lab/pe1-pe2/1"): now}
	m.asked = map[topology.LSPKey]time.Time{lsp.Key(): now.Add(-time.Minute), other("mpbox/lab/pe1-pe2/1"): now, other("mpbox/lab/pe1-pe2/2"): now.Add(-time.Minute)}
	m.forgetNames(m.reported(), now)
	if len(m.wanted) != 1 || m.wanted[lsp.Key()].IsZero() {
		t.Errorf("unwanted since %v", m.wanted)
	}
	if len(m.asked) != 2 || m.asked[lsp.Key()].IsZero() {
		t.Errorf("asked at %v", m.asked)
	}
}

// What was told is kept and shown when the call returns, and a call after the end
// does not wait for ever.
func TestCallsAreKeptWhenTheyReturn(t *testing.T) {
	n := newNetwork(t)
	store := &memory{values: map[string]any{}}
	m, stop := n.start(Observe, SteerFTN, store, nil)
	for i := range 200 {
		mode := []Mode{Suggest, Observe}[i%2]
		if err := m.SetMode(t.Context(), "ann", mode); err != nil {
			t.Fatal(err)
		}
		if got := m.View().Mode; got != mode {
			t.Fatalf("shows %s, told %s", got, mode)
		}
	}
	stop()
	if _, err := m.Approve(t.Context(), "ann", "p1"); !errors.Is(err, ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
}

// Connections whose end was lost are forgotten when all live ones are told anew.
func TestRetainForgetsWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		m.Put(conn(2, 2))
		settle(5 * time.Second)
		m.Put(conn(3, 2))
		m.Retain(map[uint64]bool{2: true})
		m.Put(conn(4, 2))
		settle(5 * time.Second)
		left := map[uint64]int{}
		for _, b := range m.View().Bindings {
			left[b.Connection]++
		}
		if len(left) != 2 || left[2] != 4 || left[4] != 4 {
			t.Errorf("bindings by connection: %v", left)
		}
	})
}

// Plans are shown after a restart as before. What waited for approval does no longer,
// and is proposed anew under the next number: the audit names plans.
func TestPlansAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		store := &memory{values: map[string]any{}}
		plans := func(m *Manager) map[string]*Plan {
			out := map[string]*Plan{}
			for _, p := range m.View().Plans {
				if _, ok := out[p.ID]; ok {
					t.Errorf("two plans %s", p.ID)
				}
				out[p.ID] = p
			}
			return out
		}
		m, stop := n.start(Suggest, SteerFTN, store, nil)
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		if _, err := m.Approve(t.Context(), "joe", "p1"); err != nil {
			t.Fatal(err)
		}
		settle(10 * time.Second)
		m.Put(conn(2, 3))
		settle(10 * time.Second)
		before := plans(m)
		stop()
		if before["p1"].State != PlanDone || before["p2"].State != PlanProposed {
			t.Fatalf("plans %+v", before)
		}
		m, stop = n.start(Suggest, SteerFTN, store, nil)
		defer stop()
		after := plans(m)
		if was, is := before["p1"], after["p1"]; is.State != was.State || is.Actor != "joe" || !is.At.Equal(was.At) ||
			len(is.Demands) != len(was.Demands) || is.Demands[0].After != was.Demands[0].After || !slices.EqualFunc(is.Signal, was.Signal, func(a, b topology.LSP) bool { return a.Key() == b.Key() && slices.Equal(a.ERO, b.ERO) }) {
			t.Errorf("p1 was %+v, is %+v", was, is)
		}
		if p := after["p2"]; p.State != PlanSuperseded || p.Reason == "" {
			t.Errorf("p2 is %+v", p)
		}
		m.Put(conn(1, 2))
		m.Put(conn(2, 3))
		settle(10 * time.Second)
		if p, ok := plans(m)["p3"]; !ok || p.State != PlanProposed {
			t.Errorf("plans %+v", plans(m))
		}
	})
}

// No more LSPs are planned than the PE can tell apart.
func TestPEsSlotsLimitThePlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		for _, r := range n.pes {
			r.slots = 1
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 3))
		settle(10 * time.Second)
		for name, r := range n.pes {
			if ops := verbs(r.sets()); strings.Contains(ops, "signal 2") {
				t.Errorf("%s: %s, but it has one slot", name, ops)
			}
		}
	})
}

// Where there are more operations than a minute allows, tidying up leaves room for
// repairs, whichever PE they are on.
func TestRepairGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		for id := range uint64(30) {
			m.Put(conn(id+1, 2))
		}
		settle(5 * time.Second)
		n.pes["pe1"].sets()
		n.pes["pe2"].sets()
		settle(2 * time.Minute) // the budget is full again
		l := limitsForTest()
		l.MaxOpsPerMinute = 40
		if err := m.SetThresholds(t.Context(), "ann", l, nil); err != nil {
			t.Fatal(err)
		}
		// Most connections end, and a link of pe2's bound LSP fails.
		var cut string
		for _, b := range m.View().Bindings {
			if b.PE == "pe2" && !b.Default {
				cut = b.Route[1]
			}
		}
		for id := range uint64(28) {
			m.Remove(id + 1)
		}
		n.cut(cut, true)
		settle(20 * time.Second)
		moved := verbs(n.pes["pe2"].sets())
		t.Logf("pe1 %s, pe2 %s", verbs(n.pes["pe1"].sets()), moved)
		for _, b := range m.View().Bindings {
			if b.PE == "pe2" && b.State != BindingVerified {
				t.Errorf("%s on %s: %s %s", b.Name, b.LSP, b.State, b.Reason)
				break
			}
		}
	})
}

// A network that is behind two PEs has one entry for a class, so the LSPs to both
// need classes of their own.
func TestClassesOfANetworkBehindTwoPEs(t *testing.T) {
	net := []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}
	at := map[string]Attachment{
		"ce1": {Name: "ce1", VPN: "red", PE: "pe1"}, "ce2": {Name: "ce2", VPN: "red", PE: "pe2", Prefixes: net},
		"ce3": {Name: "ce3", VPN: "red", PE: "pe3", Prefixes: net}, "ce4": {Name: "ce4", VPN: "blue", PE: "pe4", Prefixes: net},
	}
	classes := newClassTable()
	got := map[string]uint8{}
	for _, egress := range []string{"pe2", "pe3", "pe4"} {
		p := plan.Pair{Ingress: "pe1", Egress: egress}
		got[egress], _ = classes.get(p, "to-"+egress, func(q plan.Pair) bool { return shareNetwork(at, p, q) })
	}
	if got["pe2"] == got["pe3"] || got["pe2"] != got["pe4"] {
		t.Errorf("classes %v, want one for pe2 and pe4, another for pe3", got)
	}
}

// The far edge gives the customer's DSCP back before anything is marked.
func TestNothingIsMarkedBeforeItIsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.edge.set = func(rules []EdgeRule) {
			for _, r := range rules {
				restored := !r.Mark || r.FromPE
				for _, x := range n.edge.rules {
					restored = restored || x.FromPE && x.Src == r.Src && x.Dst == r.Dst
				}
				if !restored {
					t.Errorf("marked at %s and nowhere restored: %v to %v", r.Attachment, r.Src, r.Dst)
				}
			}
		}
		m, stop := n.start(Auto, SteerClass, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		m.Put(conn(2, 2)) // its classes are mapped already
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 8 {
			t.Errorf("bindings: %v", got)
		}
	})
}
