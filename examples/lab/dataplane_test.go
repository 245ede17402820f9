package lab

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mpbox/examples/lab/fabric"
	"mpbox/internal/itest"
	"mpbox/topology"
)

// bare is a lab without PE processes: the test plays the PEs.
type bare struct {
	*Lab
	t    *testing.T
	fabs map[string]*fabric.Fabric
	// lsps are paths from PE to PE, the default one first, by "pe1>pe2".
	lsps map[string][]fabric.Path
}

var labCount int

func labName() string {
	labCount++
	return fmt.Sprintf("t%d%c", os.Getpid()%100000, 'a'+labCount-1)
}

func bareLab(t *testing.T, topo string) *bare {
	t.Helper()
	itest.Need(t, Tools...)
	ctx := t.Context()
	l, err := Up(ctx, load(t, topo), Options{Name: labName(), RunRoot: t.TempDir(), BareFabric: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(ctx), nil); err != nil {
			t.Error(err)
		}
	})
	b := &bare{l, t, map[string]*fabric.Fabric{}, map[string][]fabric.Path{}}
	for _, p := range l.PEs {
		b.fabs[p.Node.Name] = b.startFabric(p.Node)
	}
	return b
}

func (b *bare) startFabric(n fabric.Node) *fabric.Fabric {
	f, err := fabric.New(n)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	return f
}

// route sets up LSPs between two PEs, both ways, along lists of links; the
// first is the default.
func (b *bare) route(a, z string, routes ...[]string) {
	b.t.Helper()
	for i, links := range routes {
		b.lsps[a+">"+z] = append(b.lsps[a+">"+z], b.path(a, z, i, links))
		back := slices.Clone(links)
		slices.Reverse(back)
		b.lsps[z+">"+a] = append(b.lsps[z+">"+a], b.path(z, a, i, back))
	}
}

func (b *bare) path(from, to string, i int, links []string) fabric.Path {
	n := b.pe(from).Node
	id := uint32(slices.IndexFunc(n.Nodes, func(r fabric.Router) bool { return r.Name == to })*10 + i + 1)
	p := fabric.Path{ID: id}
	for k, link := range links {
		p.Hops = append(p.Hops, fabric.Hop{Link: link, Label: n.Labels.First + id*10 + uint32(k)})
	}
	return p
}

func (b *bare) pathsOf(pe string) (paths []fabric.Path, in fabric.Ingress) {
	in.Defaults = map[string]uint32{}
	for pair, ps := range b.lsps {
		if from, to, _ := cutPair(pair); from == pe {
			paths = append(paths, ps...)
			in.Defaults[to] = ps[0].ID
		}
	}
	slices.SortFunc(paths, func(a, z fabric.Path) int { return cmp.Compare(a.ID, z.ID) })
	return paths, in
}

func cutPair(s string) (from, to string, ok bool) {
	var i int
	for i = range s {
		if s[i] == '>' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// start installs all LSPs, every packet on the default ones.
func (b *bare) start() {
	b.t.Helper()
	for pe, f := range b.fabs {
		paths, in := b.pathsOf(pe)
		if err := f.Start(b.t.Context(), paths, in); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.checkForwarding(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// homes gives the PE behind which an address lives, and the interface there.
func (b *bare) home(vpn string, a netip.Addr) (pe, ifname string) {
	for _, h := range b.Hosts {
		for _, i := range h.Interfaces {
			if h.VPN == vpn && slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a }) {
				for _, att := range b.pe(i.PE).Node.Attachments {
					if att.Name == i.Attachment {
						return i.PE, att.Interface
					}
				}
			}
		}
	}
	b.t.Fatalf("nobody has %s in %s", a, vpn)
	return
}

// spread puts subflow i on the i-th LSP of its PE pair, in both directions.
func (b *bare) spread(vpn string, subflows []Tuple) {
	b.t.Helper()
	entries := map[string][]fabric.Entry{}
	for i, s := range subflows {
		for _, way := range []struct{ src, dst netip.AddrPort }{{s.Client, s.Server}, {s.Server, s.Client}} {
			from, ifname := b.home(vpn, way.src.Addr())
			to, _ := b.home(vpn, way.dst.Addr())
			lsps := b.lsps[from+">"+to]
			entries[from] = append(entries[from], fabric.Entry{
				ID: uint32(len(entries[from]) + 1), Path: lsps[i%len(lsps)].ID,
				FEC: topology.FEC{
					Interface: ifname, Protocol: 6, SrcPort: way.src.Port(), DstPort: way.dst.Port(),
					Src: netip.PrefixFrom(way.src.Addr(), way.src.Addr().BitLen()), Dst: netip.PrefixFrom(way.dst.Addr(), way.dst.Addr().BitLen()),
				},
			})
		}
	}
	for pe, es := range entries {
		_, in := b.pathsOf(pe)
		in.Entries = es
		if err := b.fabs[pe].SetIngress(b.t.Context(), in); err != nil {
			b.t.Fatal(err)
		}
	}
}

// checkLinks tells whether each subflow is seen on the links of its LSP and on no
// other core link.
func (b *bare) checkLinks(vpn string, subflows []Tuple) {
	b.t.Helper()
	// What waited in the queues of the old path still leaves for a while.
	var wrong []string
	for from := time.Now(); time.Since(from) < 10*time.Second; {
		if wrong = b.wrongLinks(vpn, subflows); len(wrong) == 0 {
			return
		}
	}
	b.t.Errorf("%s", strings.Join(wrong, "\n"))
}

// wrongLinks counts once, and tells of subflows that are not where they should be.
func (b *bare) wrongLinks(vpn string, subflows []Tuple) (wrong []string) {
	b.t.Helper()
	counts, err := b.CountFlows(b.t.Context(), 500*time.Millisecond)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, s := range subflows {
		for _, way := range []struct{ src, dst netip.AddrPort }{{s.Client, s.Server}, {s.Server, s.Client}} {
			from, _ := b.home(vpn, way.src.Addr())
			to, _ := b.home(vpn, way.dst.Addr())
			lsps := b.lsps[from+">"+to]
			var want, got []string
			for _, h := range lsps[i%len(lsps)].Hops {
				want = append(want, h.Link)
			}
			for k := range counts.Of(way.src, way.dst) {
				got = append(got, k.Link)
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				wrong = append(wrong, fmt.Sprintf("subflow %s to %s is on links %v, want %v", way.src, way.dst, got, want))
			}
		}
	}
	return wrong
}

// run opens a connection and waits for its subflows.
func (b *bare) run(spec TrafficSpec) (*Traffic, ConnResult) {
	b.t.Helper()
	ctx := b.t.Context()
	tr, err := b.StartTraffic(ctx, spec)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := tr.WaitSubflows(ctx, b.Options.Subflows, 30*time.Second); err != nil {
		b.t.Fatal(err)
	}
	conns, err := tr.Subflows()
	if err != nil {
		b.t.Fatal(err)
	}
	return tr, conns[0]
}

// goodput measures until it is from low to high, four times at most: what is asked
// is whether the network carries it, not whether the machine had time for it at
// once. It is too high for once where a subflow that hung lets go what waited for it.
func (b *bare) goodput(tr *Traffic, low, high float64) float64 {
	b.t.Helper()
	var got float64
	for range 4 {
		sleep(b.t.Context(), 1500*time.Millisecond)
		r, err := tr.Measure(b.t.Context(), 3*time.Second)
		if err != nil {
			b.t.Fatal(err)
		}
		if got = r.BPS; got >= low && got <= high {
			break
		}
	}
	return got
}

func TestIntegrationGoodput(t *testing.T) {
	for _, c := range []struct {
		topo   string
		routes map[[2]string][][]string
		spec   TrafficSpec
	}{
		{"two-path", map[[2]string][][]string{{"pe1", "pe2"}: {{"pe1-p1", "p1-pe2"}, {"pe1-p2", "p2-pe2"}}}, TrafficSpec{IPv6: true, Direction: Download}},
		{"four-path", map[[2]string][][]string{{"pe1", "pe2"}: {
			{"pe1-p1", "p1-pe2"}, {"pe1-p2", "p2-pe2"}, {"pe1-p3", "p3-p5", "p5-pe2"}, {"pe1-p4", "p4-p6", "p6-pe2"},
		}}, TrafficSpec{}},
		{"dual-homed", map[[2]string][][]string{
			{"pe1", "pe3"}: {{"pe1-p1", "p1-pe3"}}, {"pe2", "pe3"}: {{"pe2-p1", "p1-pe3"}, {"pe2-p2", "p2-pe3"}},
		}, TrafficSpec{}},
	} {
		t.Run(c.topo, func(t *testing.T) {
			b := bareLab(t, c.topo)
			for pair, routes := range c.routes {
				b.route(pair[0], pair[1], routes...)
			}
			b.start()
			tr, conn := b.run(c.spec)
			one, most := float64(b.Links[0].RateBPS), float64(b.MaxFlow)
			before := b.goodput(tr, 0.85*one, 1.1*one)
			b.spread("red", conn.Subflows)
			after := b.goodput(tr, 0.85*most, 1.1*most)
			b.checkLinks("red", conn.Subflows)
			if err := tr.Stop(); err != nil {
				t.Error(err)
			}
			t.Logf("on one LSP %.2f of a link, on disjoint ones %.3f of the maximum", before/one, after/most)
			if before < 0.85*one || before > 1.1*one {
				t.Errorf("on one LSP: %.1f Mbit/s of %.0f", before/1e6, one/1e6)
			}
			if after < 0.85*most {
				t.Errorf("on disjoint LSPs: %.1f Mbit/s of %.0f", after/1e6, most/1e6)
			}
		})
	}
}
