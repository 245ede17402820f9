package disjoint

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mpbox/topology"
)

// grid is a network of n x n nodes with random costs.
func grid(n int) *topology.TED {
	r := rand.New(rand.NewPCG(4, 4))
	b := &topology.Builder{}
	for i := range n * n {
		b.AddNode(topology.Node{Name: fmt.Sprint(i)})
	}
	link := func(u, v int) {
		l := topology.Link{From: u, To: v, TEMetric: uint32(1 + r.IntN(100))}
		back := l
		back.From, back.To = v, u
		b.AddPair(l, back)
	}
	for y := range n {
		for x := range n {
			if x+1 < n {
				link(y*n+x, y*n+x+1)
			}
			if y+1 < n {
				link(y*n+x, (y+1)*n+x)
			}
		}
	}
	t, err := b.Build()
	if err != nil {
		panic(err)
	}
	return t
}

func allPairs(n, most int) [][2]int {
	r := rand.New(rand.NewPCG(5, 5))
	var p [][2]int
	for s := range n {
		for t := range n {
			if s != t {
				p = append(p, [2]int{s, t})
			}
		}
	}
	r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p[:min(len(p), most)]
}

func TestSolverAllocatesNothing(t *testing.T) {
	if slow > 1 {
		t.Skip("the race detector allocates")
	}
	for _, n := range []int{7, 20} { // by trees, and by goal direction
		ted := grid(n)
		s, err := NewSolver(ted, MetricTE, Constraints{})
		if err != nil {
			t.Fatal(err)
		}
		pairs := allPairs(n*n, 600)
		found := 0
		visit := func(_ int, _ Pair, ok bool) {
			if ok {
				found++
			}
		}
		s.Each(pairs, visit)
		if found != len(pairs) {
			t.Errorf("%d of %d found", found, len(pairs))
		}
		if a := testing.AllocsPerRun(5, func() { s.Forget(); s.Each(pairs, visit) }); a != 0 {
			t.Errorf("%d nodes: %v allocations for %d pairs", n*n, a, len(pairs))
		}
	}
}

func BenchmarkSolver(b *testing.B) {
	for _, n := range []int{5, 10, 30} {
		ted := grid(n)
		pairs := allPairs(n*n, 2000)
		b.Run(fmt.Sprintf("%d-nodes", n*n), func(b *testing.B) {
			s, err := NewSolver(ted, MetricTE, Constraints{})
			if err != nil {
				b.Fatal(err)
			}
			done := 0
			b.ReportAllocs()
			for b.Loop() {
				s.Forget()
				s.Each(pairs, func(int, Pair, bool) { done++ })
			}
			b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}

func BenchmarkFind(b *testing.B) {
	r := rand.New(rand.NewPCG(6, 6))
	ted := zooLike(r, 50)
	for _, level := range []Level{None, Link, Node, SRLG, NodeSRLG} {
		for _, k := range []int{2, 3} {
			b.Run(fmt.Sprintf("%s-%d", level, k), func(b *testing.B) {
				exact, found := 0, 0
				for i := 0; b.Loop(); i++ {
					p := allPairsOf50[i%len(allPairsOf50)]
					q := Query{From: []string{ted.Nodes()[p[0]].Name}, To: []string{ted.Nodes()[p[1]].Name}, K: k, Level: level}
					if got, err := Find(ted, q); err == nil {
						found++
						if got.Exact {
							exact++
						}
					}
				}
				b.ReportMetric(float64(exact)/float64(max(1, found)), "exact")
			})
		}
	}
}

var allPairsOf50 = allPairs(50, 100)
