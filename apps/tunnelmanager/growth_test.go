package tunnelmanager

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// crowd is a manager, not running, whose two PEs have been read: with so many
// demands, each of a VPN of its own and planned for, and as many LSPs of others on
// each PE.
func crowd(t testing.TB, n int, steer Steer) *Manager {
	t.Helper()
	net := newNetwork(t)
	cfg := Config{
		Owner: "mpbox/lab/", Mode: Auto, Thresholds: limitsForTest(), Topology: net.ted(),
		PEs:      []PE{{Name: "pe1", Steer: steer, Poll: time.Second}, {Name: "pe2", Steer: steer, Poll: time.Second}},
		Policies: []Policy{{Name: "default", Level: disjoint.NodeSRLG}},
	}
	for i := range n {
		vpn := fmt.Sprintf("v%d", i)
		for i, pe := range []string{"pe1", "pe2"} {
			cfg.Attachments = append(cfg.Attachments, Attachment{Name: fmt.Sprintf("ce%d%s", i+1, vpn), VPN: vpn, PE: pe, Interface: "Gi1",
				Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
		}
	}
	m, err := New(cfg, map[string]Conn{"pe1": {Driver: net.pes["pe1"]}, "pe2": {Driver: net.pes["pe2"]}}, nil, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	m.limits.MaxOpsPerMinute, m.limits.Settle = 100_000, 0
	for i := range n {
		c := conn(uint64(i+1), 2)
		c.VPN = fmt.Sprintf("v%d", i)
		for j := range c.Subflows {
			f := &c.Subflows[j].Flows
			f[C2S].Ingress, f[C2S].Egress = "ce1"+c.VPN, "ce2"+c.VPN
			f[S2C].Ingress, f[S2C].Egress = "ce2"+c.VPN, "ce1"+c.VPN
			f[C2S].Src = netip.AddrPortFrom(f[C2S].Src.Addr(), uint16(4000+i))
			f[S2C].Dst = f[C2S].Src
		}
		m.conns[c.ID] = &c
	}
	read := func() {
		for name, r := range net.pes {
			s, err := r.State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m.onPE(peReport{pe: name, state: s}, now)
		}
	}
	for name, r := range net.pes {
		far := map[string]string{"pe1": "pe2", "pe2": "pe1"}[name]
		for i := range n {
			l := topology.LSP{Name: fmt.Sprintf("tunnel-te%d", i+2), Ingress: name, Egress: far, TunnelID: uint32(i + 2)}
			r.lsps[l.Name] = l
		}
	}
	read()
	m.step(now, nil)
	for name, p := range m.pes { // what was handed out is carried out
		select {
		case ops := <-p.worker.ops:
			if err := net.pes[name].Apply(t.Context(), ops...); err != nil {
				t.Fatal(err)
			}
			p.busy = false
		default:
		}
		net.pes[name].pending = nil
	}
	read()
	m.step(now.Add(time.Second), nil)
	if len(m.groups) != n || !m.demands[m.groups[0].ID].has {
		t.Fatalf("%d demands, want %d, planned for", len(m.groups), n)
	}
	return m
}

// What a step takes grows with what there is, not with its square.
func TestStepGrowsWithWhatThereIs(t *testing.T) {
	for _, steer := range []Steer{SteerFTN, SteerClass} {
		cost := func(n int) uint64 {
			m := crowd(t, n, steer)
			m.dirty = true
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m.step(time.Now().Add(2*time.Second), nil)
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		few, many := cost(50), cost(400)
		t.Logf("%s: a step allocates %d octets per demand with 50 demands, %d with 400", steer, few/50, many/400)
		if many > 8*few*2 {
			t.Errorf("%s: with 8 times the demands a step allocates %d times as much", steer, many/few)
		}
	}
}

// What a step takes with 10,000 demands of two subflows, 40,000 bindings: when
// nothing has changed, and when a plan is made.
func BenchmarkStep(b *testing.B) {
	for _, kind := range []string{"quiet", "planned"} {
		b.Run(kind, func(b *testing.B) {
			m := crowd(b, 10_000, SteerFTN)
			now := time.Now().Add(2 * time.Second)
			for b.Loop() {
				m.dirty = kind == "planned"
				m.step(now, nil)
			}
		})
	}
}
