package router_test

import (
	"os"
	"testing"
	"time"

	"mpbox/examples/lab/pe/router"
)

// Bandwidth is taken from the links of an LSP and can be had once.
func TestBandwidth(t *testing.T) {
	bubble(t, func(b *bench) {
		b.edit(func(c *router.Config) {
			c.Resources[1] = router.Resource{Status: router.Active, MaxRate: 15000}
			for _, id := range []router.TunnelID{row5, row6} {
				row(c, id)
				t := c.Tunnels[id]
				t.Resource, t.Setup, t.Hold = 1, 7, 7
				c.Tunnels[id] = t
			}
		})
		b.settle()
		b.want("first", b.lsp(row5), "pe1-p1 p1-pe2")
		b.want("second", b.lsp(row6), "pe1-p2 p2-pe2")
		s := b.r.Snapshot()
		e := s.Find(row5).Route[0].Edge
		if s.Free[e][7] != 5000 || s.Free[e][6] != 20000 {
			b.Error("free:", s.Free[e])
		}
	})
}

// A better setup priority takes what a worse holding priority has; that one goes
// another way, or down.
func TestPreemption(t *testing.T) {
	bubble(t, func(b *bench) {
		add := func(id router.TunnelID, prio uint8, addrs ...string) {
			b.edit(func(c *router.Config) {
				c.Resources[1] = router.Resource{Status: router.Active, MaxRate: 15000}
				row(c, id, addrs...)
				t := c.Tunnels[id]
				t.Resource, t.Setup, t.Hold = 1, prio, prio
				c.Tunnels[id] = t
			})
			b.settle()
		}
		row7, row8 := router.TunnelID{Index: 7, Instance: 1, Ingress: pe1, Egress: pe2}, router.TunnelID{Index: 8, Instance: 1, Ingress: pe1, Egress: pe2}
		add(row5, 5, "10.0.1.2", "10.0.2.2")
		add(row6, 7)
		b.want("dynamic, beside the first", b.lsp(row6), "pe1-p2 p2-pe2")
		add(row7, 3, "10.0.1.2", "10.0.2.2")
		b.want("better", b.lsp(row7), "pe1-p1 p1-pe2")
		b.want("preempted", b.lsp(row5), "down: Can't reach 10.0.1.2 on 10.255.1.1, from node 10.255.0.1")
		add(row8, 3, "10.0.3.2", "10.0.4.2")
		b.want("better", b.lsp(row8), "pe1-p2 p2-pe2")
		b.want("preempted, dynamic", b.lsp(row6), "pe1-p3 p3-pe2")
		for e, free := range b.r.Snapshot().Free {
			if free[7] > 20000 {
				b.Error("edge", e, free)
			}
		}
	})
}

// What one PE's LSPs reserve, another one's cannot have.
func TestBandwidthOfOthers(t *testing.T) {
	bubble(t, func(b *bench) {
		theirs := `{"pe1-p1 pe1": [0,0,0,0,0,0,0,18000]}` // as pe3 would by a loop; the place is what counts
		if err := os.WriteFile(b.node.RunDir+"/pe3.rsvp.json", []byte(theirs), 0o600); err != nil {
			b.Fatal(err)
		}
		time.Sleep(time.Second)
		b.edit(func(c *router.Config) {
			c.Resources[1] = router.Resource{Status: router.Active, MaxRate: 5000}
			row(c, row5)
			t := c.Tunnels[row5]
			t.Resource, t.Setup, t.Hold = 1, 7, 7
			c.Tunnels[row5] = t
		})
		b.settle()
		b.want("beside theirs", b.lsp(row5), "pe1-p2 p2-pe2")
		if f := b.r.Snapshot().Free[0]; f[7] != 2000 || f[6] != 20000 {
			b.Error("free of pe1-p1:", f)
		}
		ours, err := os.ReadFile(b.node.RunDir + "/pe1.rsvp.json")
		if err != nil || string(ours) != `{"p2-pe2 p2":[0,0,0,0,0,0,0,5000],"pe1-p2 pe1":[0,0,0,0,0,0,0,5000]}` {
			b.Errorf("flooded %s, %v", ours, err)
		}
	})
}
