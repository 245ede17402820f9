package tunnelmanager

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

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
		cfg := Config{Owner: "mpbox/lab/", Mode: Auto, Thresholds: limitsForTest(), OpTimeout: time.Second, PEs: []PE{{Name: "pe1", Poll: time.Second}}}
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
