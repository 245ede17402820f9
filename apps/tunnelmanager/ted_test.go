package tunnelmanager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
)

// changed is the network's TED, with its links as f leaves them.
func (n *network) changed(f func(*topology.Link) bool) *topology.TED {
	n.mu.Lock()
	defer n.mu.Unlock()
	b, ted := topology.Builder{Version: 1}, n.ted()
	for _, nd := range ted.Nodes() {
		b.AddNode(nd)
	}
	for _, l := range ted.Links() {
		if f(&l) {
			b.AddLink(l)
		}
	}
	out, err := b.Build()
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func (n *network) sets() (out []string) {
	for _, name := range []string{"pe1", "pe2"} {
		out = append(out, n.pes[name].sets()...)
	}
	return out
}

// A TED that is told counts in place of the PEs' views, one on which nothing is up
// counts nowhere, and where it is taken back the PEs' views count again.
func TestToldTopology(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		settle(2 * time.Second)
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 4 || m.View().TEDFrom != TEDPEs {
			t.Fatalf("bindings %v, TED from %s", got, m.View().TEDFrom)
		}
		n.sets()

		none := n.changed(func(*topology.Link) bool { return false })
		down := n.changed(func(l *topology.Link) bool { l.Down = true; return true })
		for _, ted := range []*topology.TED{none, down} {
			if err := m.SetTopology(t.Context(), ted); !errors.Is(err, errEmptyTED) {
				t.Errorf("a TED without a link: %v", err)
			}
			settle(time.Minute)
		}
		if ops := n.sets(); len(ops) > 0 || m.View().TEDFrom != TEDPEs {
			t.Fatalf("a TED without a link led to %q; TED from %s", ops, m.View().TEDFrom)
		}

		var used string // a link that an LSP of ours is on
		for _, l := range m.View().LSPs {
			if l.Owned {
				used = m.View().TED.Links()[l.Links[0]].Name
			}
		}
		version := m.View().TED.Version()
		if err := m.SetTopology(t.Context(), n.changed(func(l *topology.Link) bool { return l.Name != used })); err != nil {
			t.Fatal(err)
		}
		settle(10 * time.Second)
		v := m.View()
		if v.TEDFrom != TEDTold || v.TED.Version() <= version || len(n.sets()) == 0 {
			t.Errorf("TED from %s, version %d after %d", v.TEDFrom, v.TED.Version(), version)
		}
		for _, b := range v.Bindings {
			if b.State != BindingVerified || len(b.Route) == 0 || slices.Contains(b.Route, used) {
				t.Errorf("binding %s is %s on %v: the PEs still see %s, the TED that was told does not", b.Name, b.State, b.Route, used)
			}
		}

		version = v.TED.Version()
		if err := m.SetTopology(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if v := m.View(); v.TEDFrom != TEDPEs || v.TED.Version() <= version || len(v.TED.Links()) != 12 {
			t.Errorf("TED from %s with %d links", v.TEDFrom, len(v.TED.Links()))
		}
	})
}

// Where no PE tells a TED, the last one that was told stays.
func TestToldTopologyStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		cfg := Config{Owner: "mpbox/lab/", Mode: Auto, Thresholds: limitsForTest(), PEs: []PE{{Name: "pe1", Poll: time.Second}}}
		m, err := New(cfg, map[string]Conn{"pe1": {Driver: n.pes["pe1"]}}, n.edge, nil, zaptest.NewLogger(t))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		go func() { _ = m.Run(ctx) }()
		if err := m.SetTopology(t.Context(), n.changed(func(*topology.Link) bool { return true })); err != nil {
			t.Fatal(err)
		}
		if err := m.SetTopology(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if v := m.View(); v.TEDFrom != TEDTold || len(v.TED.Links()) != 12 {
			t.Errorf("TED from %s, %v", v.TEDFrom, v.TED)
		}
	})
}

// A PE that the topology does not have holds up its own demands, not those of others.
func TestPEOutsideTopologyHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.pes["pe3"] = &router{net: n, name: "pe3", lsps: map[string]topology.LSP{}, ftns: map[string]topology.FTN{}}
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) {
			c.PEs = append(c.PEs, PE{Name: "pe3", Steer: SteerFTN, Poll: time.Second})
			c.Attachments = append(c.Attachments, Attachment{Name: "ce3", VPN: "red", PE: "pe3", Interface: "Gi3"})
		})
		defer stop()
		outside := conn(2, 2)
		for i := range outside.Subflows {
			f := &outside.Subflows[i].Flows
			f[C2S].Egress, f[S2C].Ingress = "ce3", "ce3"
		}
		m.Put(outside)
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		if got := states(m); got[BindingVerified] != 4 || len(got) != 1 {
			t.Errorf("bindings: %v, want 4 verified", got)
		}
		for _, d := range m.View().Demands {
			if out := d.Forward[0].Egress == "pe3"; out != strings.Contains(d.Reason, "pe3 is not in the topology") || out != (d.State == "waiting") {
				t.Errorf("%v: %s: %s", d.Forward, d.State, d.Reason)
			}
		}
		if p, err := m.Propose(t.Context(), "me", plan.Evaluate); err != nil || len(p.Demands) != 1 {
			t.Errorf("%+v, %v", p, err)
		}

		// The topology loses a PE of what is bound: nothing is taken down for it.
		n.sets()
		b := topology.Builder{Version: 9}
		b.AddNode(topology.Node{Name: "pe1"})
		b.AddNode(topology.Node{Name: "x"})
		b.AddLink(topology.Link{Name: "pe1-x", From: 0, To: 1, TEMetric: 1, LocalID: 1, RemoteID: 1})
		b.AddLink(topology.Link{Name: "pe1-x", From: 1, To: 0, TEMetric: 1, LocalID: 1, RemoteID: 1})
		ted, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.SetTopology(t.Context(), ted); err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		if ops := n.sets(); len(ops) > 0 || len(states(m)) != 1 {
			t.Errorf("%q, bindings %v", ops, states(m))
		}
	})
}

// When all links have gone, the last topology stays in use; when they are back, all
// is tried at once, though it is the same topology as before.
func TestLinksBackAfterAllWereGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		defer stop()
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		all := func(down bool) {
			for _, l := range m.View().TED.Links() {
				n.cut(l.Name, down)
			}
		}
		all(true)
		settle(33 * time.Minute)
		all(false)
		settle(15 * time.Second)
		if d := m.View().Demands[0]; d.State != "met" || states(m)[BindingVerified] != 4 {
			t.Errorf("%s: %s; bindings %v", d.State, d.Reason, states(m))
		}
	})
}

// A topology file completes what routers tell, whether it has addresses or not, and
// keeps no link alive that they do not tell.
func TestTopologyFileCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		b := topology.Builder{}
		at := map[string]int{}
		for _, name := range []string{"pe1", "pe2", "a", "b", "nowhere"} {
			at[name] = b.AddNode(topology.Node{Name: name})
		}
		for _, l := range []topology.Link{{From: at["pe1"], To: at["a"], SRLGs: []uint32{5}}, {From: at["b"], To: at["pe1"], SRLGs: []uint32{5}}, {From: at["pe2"], To: at["nowhere"]}} {
			back := l
			back.From, back.To = l.To, l.From
			b.AddPair(l, back)
		}
		file, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.Topology = file })
		defer stop()
		settle(2 * time.Second)
		m.Put(conn(1, 2))
		settle(10 * time.Second)
		v := m.View()
		risky := 0
		for _, l := range v.TED.Links() {
			risky += len(l.SRLGs)
		}
		if v.TEDFrom != TEDPEs || len(v.TED.Links()) != 12 || risky != 4 {
			t.Errorf("TED from %s with %d links, SRLGs on %d", v.TEDFrom, len(v.TED.Links()), risky)
		}
		told := 0
		for _, c := range v.Changes {
			if c.Action == "topology" && strings.Contains(c.Subject, "nowhere") && c.Result == ResultSkipped {
				told++
			}
		}
		if told != 1 {
			t.Errorf("the link that is not there was told %d times", told)
		}
		// a and b share the risk: one of the two slots has to go over c.
		over := map[string]bool{}
		for _, b := range v.Bindings {
			if b.State != BindingVerified {
				t.Errorf("binding %s is %s: %s", b.Name, b.State, b.Reason)
			}
			for _, l := range b.Route {
				over[strings.NewReplacer("pe1-", "", "pe2-", "").Replace(l)] = true
			}
		}
		if !over["c"] || len(over) != 2 {
			t.Errorf("subflows go over %v, want c and one other", over)
		}
	})
}
