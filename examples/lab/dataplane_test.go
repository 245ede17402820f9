package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"mpbox/examples/lab/fabric"
	"mpbox/internal/itest"
	"mpbox/topology"
)

// bareLab brings up a lab without PE processes: the test plays the PEs.
func bareLab(t *testing.T, topo string) (*Lab, map[string]*fabric.Fabric) {
	t.Helper()
	itest.Need(t, Tools...)
	n, err := LoadNetwork(topo)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	l, err := Up(ctx, n, Options{Name: fmt.Sprintf("t%d", os.Getpid()%1000000), RunRoot: t.TempDir(), BareFabric: true}, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(ctx), nil); err != nil {
			t.Error(err)
		}
	})
	fabs := map[string]*fabric.Fabric{}
	for _, p := range l.PEs {
		f, err := fabric.New(p.Node)
		if err != nil {
			t.Fatal(err)
		}
		runCtx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- f.Run(runCtx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		fabs[p.Node.Name] = f
	}
	return l, fabs
}

// paths gives paths by link names; labels come from the PE's range.
func path(n fabric.Node, id uint32, links ...string) fabric.Path {
	p := fabric.Path{ID: id}
	for i, k := range links {
		p.Hops = append(p.Hops, fabric.Hop{Link: k, Label: n.Labels.First + id*10 + uint32(i)})
	}
	return p
}

func TestIntegrationTwoPathByHand(t *testing.T) {
	l, fabs := bareLab(t, "two-path")
	ctx := t.Context()
	pe1, pe2 := l.pe("pe1").Node, l.pe("pe2").Node
	// Everything on the default path.
	for _, c := range []struct {
		n    fabric.Node
		far  string
		a, b fabric.Path
	}{
		{pe1, "pe2", path(pe1, 1, "pe1-p1", "p1-pe2"), path(pe1, 2, "pe1-p2", "p2-pe2")},
		{pe2, "pe1", path(pe2, 1, "p1-pe2", "pe1-p1"), path(pe2, 2, "p2-pe2", "pe1-p2")},
	} {
		if err := fabs[c.n.Name].Start(ctx, []fabric.Path{c.a, c.b}, fabric.Ingress{Defaults: map[string]uint32{c.far: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.checkForwarding(ctx); err != nil {
		t.Fatal(err)
	}
	tr, err := l.StartTraffic(ctx, TrafficSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.WaitSubflows(ctx, 2, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	sleep(ctx, 2*time.Second)
	before, err := tr.Measure(ctx, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("one LSP: %.2f Mbit/s %+v", before.BPS/1e6, before.Connections)
	// The second subflow onto the other path, both directions.
	sub := before.Connections[0].Subflows[1]
	for pe, fec := range map[string]topology.FEC{
		"pe1": {Interface: "GigabitEthernet0/0/0/1", Src: host(sub.Client.Addr()), Dst: host(sub.Server.Addr()), Protocol: 6, SrcPort: sub.Client.Port(), DstPort: sub.Server.Port()},
		"pe2": {Interface: "GigabitEthernet0/0/0/1", Src: host(sub.Server.Addr()), Dst: host(sub.Client.Addr()), Protocol: 6, SrcPort: sub.Server.Port(), DstPort: sub.Client.Port()},
	} {
		far := map[string]string{"pe1": "pe2", "pe2": "pe1"}[pe]
		in := fabric.Ingress{Entries: []fabric.Entry{{ID: 7, FEC: fec, Path: 2}}, Defaults: map[string]uint32{far: 1}}
		if err := fabs[pe].SetIngress(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	sleep(ctx, 2*time.Second)
	counts, err := l.CountFlows(ctx, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range before.Connections[0].Subflows {
		t.Logf("%v up %v down %v", s, counts.Of(s.Client, s.Server), counts.Of(s.Server, s.Client))
	}
	after, err := tr.Measure(ctx, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("two LSPs: %.2f Mbit/s", after.BPS/1e6)
	if err := tr.Stop(); err != nil {
		t.Error(err)
	}
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
