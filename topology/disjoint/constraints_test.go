package disjoint

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mpbox/topology"
)

// constrained gives a random network attributes that constraints look at.
func constrained(r *rand.Rand) *topology.TED {
	plain := randomTED(r, false)
	b := &topology.Builder{}
	for _, n := range plain.Nodes() {
		b.AddNode(n)
	}
	for i, l := range plain.Links() {
		if l.Reverse >= 0 && l.Reverse < i {
			continue
		}
		l.Delay = time.Duration(1+r.IntN(9)) * time.Millisecond
		l.AdminGroup = uint32(r.IntN(8))
		l.Unreserved[2] = float64(r.IntN(4))
		if l.Reverse < 0 {
			b.AddOneWay(l)
			continue
		}
		back := l
		back.From, back.To = l.To, l.From
		b.AddPair(l, back)
	}
	t, err := b.Build()
	if err != nil {
		panic(err)
	}
	return t
}

func randomConstraints(r *rand.Rand, names []string) Constraints {
	c := Constraints{Priority: 2}
	some := func(n int) bool { return r.IntN(n) == 0 }
	if some(4) {
		c.ExcludeAny = uint32(1 << r.IntN(3))
	}
	if some(6) {
		c.IncludeAny = uint32(1 + r.IntN(7))
	}
	if some(8) {
		c.IncludeAll = uint32(1 << r.IntN(3))
	}
	if some(4) {
		c.Bandwidth = float64(r.IntN(3))
	}
	if some(3) {
		c.MaxHops = 1 + r.IntN(4)
	}
	if some(3) {
		c.MaxDelay = time.Duration(3+r.IntN(20)) * time.Millisecond
	}
	if some(3) {
		c.MaxDelaySpread = time.Duration(1+r.IntN(8)) * time.Millisecond
	}
	if some(4) {
		c.AvoidNodes = names[:1]
	}
	if some(5) {
		c.RequireNodes = names[1:2]
	}
	return c
}

// meets tells whether a path meets the constraints, from the definition of each.
func meets(t *topology.TED, path []int, c Constraints) bool {
	var delay time.Duration
	passed := map[string]bool{}
	for _, i := range path {
		l := t.Links()[i]
		delay += l.Delay
		passed[t.Nodes()[l.From].Name], passed[t.Nodes()[l.To].Name] = true, true
		if l.AdminGroup&c.ExcludeAny != 0 || c.IncludeAny != 0 && l.AdminGroup&c.IncludeAny == 0 ||
			l.AdminGroup&c.IncludeAll != c.IncludeAll || l.Unreserved[c.Priority] < c.Bandwidth {
			return false
		}
	}
	for _, n := range c.AvoidNodes {
		if passed[n] {
			return false
		}
	}
	for _, n := range c.RequireNodes {
		if !passed[n] {
			return false
		}
	}
	return (c.MaxHops == 0 || len(path) <= c.MaxHops) && (c.MaxDelay == 0 || delay <= c.MaxDelay)
}

func TestConstraintsEqualBruteForce(t *testing.T) {
	t.Parallel()
	found, none := 0, 0
	for seed := range oracleCases(t, 4000) {
		r := rand.New(rand.NewPCG(uint64(seed), 9))
		ted := constrained(r)
		n := len(ted.Nodes())
		k := 1 + r.IntN(3)
		p := r.Perm(n)
		from, to := p[0], p[1]
		var names []string
		for _, v := range p[2:] {
			names = append(names, ted.Nodes()[v].Name)
		}
		c := randomConstraints(r, append(names, names...))
		level := Level(r.IntN(5))
		all := brutePaths(ted, from, to)
		all = slices.DeleteFunc(all, func(b brutePath) bool { return !meets(ted, b.links, c) })
		ends := uint32(1<<from | 1<<to)
		var want bruteKey
		var ok bool
		eachSet(all, k, func(set []brutePath) {
			if c.MaxDelaySpread > 0 && spread(ted, set) > c.MaxDelaySpread {
				return
			}
			if key := bruteSet(ted, set, ends, level); !ok || key.less(want) {
				want, ok = key, true
			}
		})
		for _, only := range []method{0, onlyBranch, onlyConflicts} {
			if level == None && c.MaxDelaySpread == 0 && only != 0 {
				continue
			}
			if only == onlyConflicts && c.MaxDelaySpread > 0 {
				continue // it knows nothing of the spread, and says so
			}
			got, err := find(ted, Query{From: []string{ted.Nodes()[from].Name}, To: []string{ted.Nodes()[to].Name}, K: k, Level: level, Constraints: c, Metric: MetricTE}, only)
			if !ok {
				none++
				if err == nil {
					t.Fatalf("seed %d method %d %+v: found %+v where there is none\n%s", seed, only, c, got, dump(ted))
				}
				continue
			}
			found++
			if err != nil {
				t.Fatalf("seed %d %s %+v method %d: %v, there is %v\n%s", seed, level, c, only, err, want, dump(ted))
			}
			fromAll, toAll := slices.Repeat([]int{from}, k), slices.Repeat([]int{to}, k)
			if !checkResult(t, ted, fromAll, toAll, level, ends, got, want) {
				t.Fatalf("seed %d %s %+v method %d\n%s", seed, level, c, only, dump(ted))
			}
			for _, path := range got.Paths {
				if !meets(ted, path.Links, c) {
					t.Fatalf("seed %d %s: path %v does not meet %+v", seed, level, path.Links, c)
				}
			}
		}
	}
	if found < none/4 || none < found/20 {
		t.Errorf("the cases are lopsided: %d found, %d none", found, none)
	}
}

func eachSet(all []brutePath, k int, visit func([]brutePath)) {
	var set []brutePath
	var pick func(from int)
	pick = func(from int) {
		if len(set) == k {
			visit(set)
			return
		}
		for i := from; i < len(all); i++ {
			set = append(set, all[i])
			pick(i + 1)
			set = set[:len(set)-1]
		}
	}
	pick(0)
}

func spread(t *topology.TED, set []brutePath) time.Duration {
	least, most := time.Duration(1<<62), time.Duration(0)
	for _, p := range set {
		var d time.Duration
		for _, l := range p.links {
			d += t.Links()[l].Delay
		}
		least, most = min(least, d), max(most, d)
	}
	return most - least
}

func TestMetrics(t *testing.T) {
	b := &topology.Builder{}
	for _, n := range []string{"A", "B", "C"} {
		b.AddNode(topology.Node{Name: n})
	}
	add := func(from, to int, te, igp uint32, delay time.Duration) {
		l := topology.Link{From: from, To: to, TEMetric: te, IGPMetric: igp, Delay: delay}
		back := l
		back.From, back.To = to, from
		b.AddPair(l, back)
	}
	add(0, 1, 10, 4, 2500*time.Microsecond)
	add(0, 2, 1, 3, time.Millisecond)
	add(2, 1, 1, 3, time.Millisecond)
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for m, want := range map[Metric]struct {
		way  string
		cost int64
	}{MetricTE: {"ACB", 2}, MetricIGP: {"AB", 4}, MetricDelay: {"ACB", 2000}, MetricHops: {"AB", 1}} {
		r, err := Find(ted, Query{From: []string{"A"}, To: []string{"B"}, K: 1, Level: Link, Metric: m})
		if err != nil || ways(ted, r)[0] != want.way || r.Cost != want.cost {
			t.Errorf("%s: %v %v, want %v", m, r, err, want)
		}
	}
}
