package disjoint

import (
	"errors"
	"math/rand/v2"
	"testing"
)

func TestSolverEqualsFind(t *testing.T) {
	for _, asymmetric := range []bool{false, true} {
		for seed := range oracleCases(t, 1500) {
			r := rand.New(rand.NewPCG(uint64(seed), 3))
			ted := randomTED(r, asymmetric)
			s, err := NewSolver(ted, MetricTE, Constraints{})
			if err != nil {
				t.Fatal(err)
			}
			directed, err := NewSolver(ted, MetricTE, Constraints{})
			if err != nil {
				t.Fatal(err)
			}
			directed.goal.marks = newLandmarks(directed.c, 1)
			n := len(ted.Nodes())
			var ask [][2]int
			for range 3 * n {
				ask = append(ask, [2]int{r.IntN(n), r.IntN(n)})
			}
			check := func(i int, p Pair, ok bool) {
				from, to := ask[i][0], ask[i][1]
				if from == to {
					if ok {
						t.Fatalf("a pair from %d to itself", from)
					}
					return
				}
				q := Query{From: []string{ted.Nodes()[from].Name}, To: []string{ted.Nodes()[to].Name}, K: 2, Level: Link, Strict: true}
				want, err := Find(ted, q)
				if (err == nil) != ok || err != nil && !errors.Is(err, ErrStrict) && !errors.Is(err, ErrTooFew) {
					t.Fatalf("seed %d from %d to %d: found %v, Find: %v\n%s", seed, from, to, ok, err, dump(ted))
				}
				if !ok {
					return
				}
				level, _ := Score(ted, [][]int{p.One, p.Two})
				if p.Cost != want.Cost || level < Link || !joins(ted.Links(), p.One, from, to) || !joins(ted.Links(), p.Two, from, to) {
					t.Fatalf("seed %d from %d to %d: %v %v cost %d, want %d\n%s", seed, from, to, p.One, p.Two, p.Cost, want.Cost, dump(ted))
				}
			}
			s.Each(ask, check)
			for i, a := range ask {
				s.forest.source = -1
				p, ok := s.Pair(a[0], a[1])
				check(i, p, ok)
				p, ok = directed.Pair(a[0], a[1])
				check(i, p, ok)
			}
		}
	}
}
