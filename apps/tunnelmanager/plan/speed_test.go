package plan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// sizedNet makes a network of so many nodes and links: a ring with random chords
// between nodes that lie near each other, as carriers' networks have.
func sizedNet(t testing.TB, nodes, links int, seed uint64) *topology.TED {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	var b topology.Builder
	for i := range nodes {
		b.AddNode(topology.Node{Name: fmt.Sprintf("n%02d", i), RouterID: netip.AddrFrom4([4]byte{10, 255, byte(i >> 8), byte(i)})})
	}
	n := 0
	add := func(u, v int) {
		l := topology.Link{
			From: u, To: v, TEMetric: uint32(100 + r.IntN(900)), MaxBandwidth: 10e9, MaxReservable: 10e9, Delay: time.Duration(1+7*n%20) * time.Millisecond,
			LocalAddr: netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 1}), RemoteAddr: netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 2}),
		}
		for i := range l.Unreserved {
			l.Unreserved[i] = l.MaxReservable
		}
		if r.IntN(8) == 0 {
			l.SRLGs = []uint32{uint32(r.IntN(6))}
		}
		back := l
		back.From, back.To, back.LocalAddr, back.RemoteAddr = v, u, l.RemoteAddr, l.LocalAddr
		b.AddPair(l, back)
		n++
	}
	for i := range nodes {
		add(i, (i+1)%nodes)
	}
	for n < links {
		u := r.IntN(nodes)
		if v := (u + 2 + r.IntN(max(2, nodes/4))) % nodes; v != u {
			add(u, v)
		}
	}
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

// allPairs makes a demand for each two nodes.
func allPairs(ted *topology.TED, slots int, bandwidth float64) []Demand {
	var out []Demand
	names := ted.Nodes()
	for i := range names {
		for j := range i {
			d := demand(fmt.Sprintf("%02d-%02d", j, i), slots, names[j].Name, names[i].Name)
			d.Level, d.Bandwidth = disjoint.NodeSRLG, bandwidth
			out = append(out, d)
		}
	}
	return out
}

// Networks of the size of Abilene, GEANT and Germany50.
var sized = []struct {
	name         string
	nodes, links int
	bandwidth    float64 // per slot, so that some links are beyond capacity
}{
	{"abilene", 12, 15, 300e6}, {"geant", 22, 36, 150e6}, {"germany50", 50, 88, 45e6},
}

func BenchmarkRedesign(b *testing.B) {
	for _, s := range sized {
		ted := sizedNet(b, s.nodes, s.links, 1)
		for _, kind := range []string{"light", "loaded", "again"} {
			in := Input{Scope: Redesign, Owner: owner, TED: ted, Demands: allPairs(ted, 2, s.bandwidth)}
			if kind != "loaded" {
				in.Demands = allPairs(ted, 2, s.bandwidth/100)
			}
			if kind == "again" {
				in = apply(in, mustPlan(b, in))
			}
			b.Run(s.name+"/"+kind, func(b *testing.B) {
				for b.Loop() {
					mustPlan(b, in)
				}
				b.ReportMetric(float64(len(in.Demands))*2*float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
			})
		}
	}
}

// stopwatch measures the time of f: by the clock, or by what its thread has computed
// where that is less, for a test machine may be busy with other things.
func stopwatch(t testing.TB, f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	start, before := time.Now(), cpu()
	f()
	return min(time.Since(start), cpu()-before)
}

// A full redesign of all pairs takes less than a second.
func TestRedesignIsFast(t *testing.T) {
	for _, s := range sized {
		ted := sizedNet(t, s.nodes, s.links, 1)
		in := Input{Scope: Redesign, Owner: owner, TED: ted, Demands: allPairs(ted, 2, s.bandwidth)}
		var took []time.Duration
		var res Result
		for range speedRuns {
			took = append(took, stopwatch(t, func() { res = mustPlan(t, in) }))
		}
		slices.Sort(took)
		met := 0
		for _, o := range res.Demands {
			met += btoi(o.After == o.Requested)
		}
		t.Logf("%s: %d demands, %d LSPs, %d met: %v", s.name, len(in.Demands), len(res.Signal), met, took[len(took)/2])
		slices.Sort(took)
		if limit := time.Second * slack; took[len(took)/2] > limit {
			t.Errorf("%s: %v, want less than %v", s.name, took[len(took)/2], limit)
		}
	}
}

// signatures makes n demands that differ, two or three slots each, some dual homed.
func signatures(ted *topology.TED, n int, r *rand.Rand) []Demand {
	out := make([]Demand, n)
	names := ted.Nodes()
	for i := range out {
		u := r.IntN(len(names))
		v := (u + 1 + r.IntN(len(names)-1)) % len(names)
		d := demand(fmt.Sprintf("s%05d", i), 2+btoi(r.IntN(5) == 0), names[u].Name, names[v].Name)
		d.VPN = fmt.Sprintf("vpn%d", r.IntN(100))
		if w := r.IntN(len(names)); w != u && w != v && r.IntN(3) == 0 {
			d.Forward[0].Ingress, d.Reverse[0].Egress = names[w].Name, names[w].Name
		}
		d.Level, d.Bandwidth = disjoint.Level(1+r.IntN(4)), float64(1+r.IntN(8))*1e6
		out[i] = d
	}
	return out
}

// loadedPlanner has n demands in force on a network of the size of Germany50.
func loadedPlanner(t testing.TB, n int, r *rand.Rand) (*Planner, Input) {
	ted := sizedNet(t, 50, 88, 1)
	in := Input{Scope: Incremental, Owner: owner, TED: ted, Demands: signatures(ted, n, r)}
	start := time.Now()
	res := mustPlan(t, in)
	t.Logf("%d signatures planned from nothing in %v: %d LSPs", n, time.Since(start), len(res.Signal))
	in = apply(in, res)
	p, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return p, in
}

// With 10,000 signatures, one new demand takes less than 5 ms. A batch that another
// program got in the way of is repeated.
func TestOneNewDemandIsFast(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	p, in := loadedPlanner(t, loadedSignatures, r)
	limit := 5 * time.Millisecond * slack
	for batch := range 3 {
		var took []time.Duration
		met := 0
		for i, d := range signatures(in.TED, 500, r) {
			d.ID = fmt.Sprintf("new%d-%d", batch, i)
			var res Result
			var err error
			took = append(took, stopwatch(t, func() { res, err = p.Place(d, Assignment{}) }))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range res.Demands {
				met += btoi(o.ID == d.ID && o.After == o.Requested)
			}
		}
		slices.Sort(took)
		n := len(took)
		t.Logf("%d new demands, %d met: median %v, p99 %v, worst %v", n, met, took[n/2], took[n*99/100], took[n-1])
		if took[n*99/100] < limit {
			return
		}
	}
	t.Errorf("p99 is never less than %v", limit)
}

func BenchmarkOneNewDemand(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 5))
	p, in := loadedPlanner(b, loadedSignatures, r)
	more := signatures(in.TED, 1000, r)
	i := 0
	for b.Loop() {
		d := more[i%len(more)]
		d.ID = "new"
		if _, err := p.Place(d, Assignment{}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		p.Remove(d.ID)
		i++
		b.StartTimer()
	}
}
