package plan

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

var (
	oracleRuns = flag.Int("oracle", oracleDefault, "instances that are compared with the ILP optimum; the full comparison is 200")
	oracleFrom = flag.Uint64("oracle-from", 1, "seed of the first instance")
)

// The planner's redesign against the optimum that GLPK proves. Candidates are all
// combinations of all loop-free paths, enumerated and rated by code of this test
// alone; GLPK then minimises overload, changes and path cost one after the other,
// each to optimality.
func TestPlanAgainstILP(t *testing.T) {
	if _, err := exec.LookPath("glpsol"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs glpsol (Debian package glpk-utils): run make deps")
		}
		t.Skip("needs glpsol (Debian package glpk-utils)")
	}
	var overGap, costGap []float64
	worstChanges, loaded, n := 0, 0, 0
	for seed := *oracleFrom; n < *oracleRuns; seed++ {
		in := randomInput(t, seed)
		o := newOracle(t, in)
		if o == nil {
			continue // too many candidates for the solver
		}
		want, ok := o.solve(t)
		if !ok {
			t.Logf("seed %d: GLPK proved no optimum in 5 s", seed)
			continue
		}
		n++
		res := mustPlan(t, in)
		got := o.judge(t, in, res)
		t.Logf("seed %d: %d nodes, %d demands, %d candidates: overload %d (optimum %d), changes %d (%d), cost %d (%d)",
			seed, len(in.TED.Nodes()), len(in.Demands), o.columns, got.over, want.over, got.changes, want.changes, got.cost, want.cost)
		if got.over < want.over || got.over == want.over && (got.changes < want.changes || got.changes == want.changes && got.cost < want.cost) {
			t.Errorf("seed %d: better than the optimum: one of the two is wrong", seed)
		}
		gap := func(g, w int64) float64 {
			if g == w {
				return 0
			}
			return math.Abs(float64(g-w)) / math.Max(1, float64(w))
		}
		overGap, costGap = append(overGap, gap(got.over, want.over)), append(costGap, gap(got.cost, want.cost))
		worstChanges = max(worstChanges, got.changes-want.changes)
		if want.over > 0 {
			loaded++
		}
		if c := got.changes - want.changes; c > 1 {
			t.Errorf("seed %d: %d changes more than needed", seed, c)
		}
	}
	slices.Sort(overGap)
	slices.Sort(costGap)
	t.Logf("%d instances, %d of them overloaded at the optimum: overload gap median %.2f%% worst %.2f%%, cost gap median %.2f%% worst %.2f%%, at most %d changes more",
		n, loaded, 100*overGap[n/2], 100*overGap[n-1], 100*costGap[n/2], 100*costGap[n-1], worstChanges)
	for what, gaps := range map[string][]float64{"overload": overGap, "cost": costGap} {
		if gaps[n/2] > 0.01 || gaps[n-1] > 0.10 {
			t.Errorf("%s: median gap %.3f (want 0.01), worst %.3f (want 0.10)", what, gaps[n/2], gaps[n-1])
		}
	}
}

// randomInput makes a network of up to 12 nodes with up to 10 demands, some LSPs
// and some assignments.
func randomInput(t testing.TB, seed uint64) Input {
	r := rand.New(rand.NewPCG(seed, 7))
	n := 5 + r.IntN(8)
	var b topology.Builder
	for i := range n {
		b.AddNode(topology.Node{Name: "n" + strconv.Itoa(i), RouterID: netip.AddrFrom4([4]byte{10, 255, 0, byte(i + 1)})})
	}
	edges := 0
	edge := func(u, v int) {
		l := topology.Link{From: u, To: v, TEMetric: uint32(100 + r.IntN(900)), MaxBandwidth: float64(10+5*r.IntN(7)) * 1e6}
		l.LocalAddr = netip.AddrFrom4([4]byte{10, 0, byte(edges), 1})
		l.RemoteAddr = netip.AddrFrom4([4]byte{10, 0, byte(edges), 2})
		edges++
		if r.IntN(10) == 0 {
			l.MaxBandwidth = 0 // unknown
		}
		for s := range 3 {
			if r.IntN(12) == 0 {
				l.SRLGs = append(l.SRLGs, uint32(100+s))
			}
		}
		back := l
		back.From, back.To, back.LocalAddr, back.RemoteAddr = v, u, l.RemoteAddr, l.LocalAddr
		if r.IntN(4) == 0 {
			back.TEMetric = uint32(100 + r.IntN(900))
		}
		b.AddPair(l, back)
	}
	order := r.Perm(n)
	for i := range n {
		edge(order[i], order[(i+1)%n]) // a ring: two ways everywhere
	}
	for range n/4 + r.IntN(n/2+1) {
		if u, v := r.IntN(n), r.IntN(n); u != v {
			edge(u, v) // may be parallel
		}
	}
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Scope: Redesign, Owner: owner, TED: ted, Current: map[string]Assignment{}}
	lspsOf := map[Pair][]string{}
	walk := func(p Pair) {
		paths := allSimplePaths(ted, p)
		slices.SortStableFunc(paths, func(a, b []int) int { return cmp.Compare(pathCost(ted, a), pathCost(ted, b)) })
		path := paths[r.IntN(min(4, len(paths)))]
		l := topology.LSP{Ingress: p.Ingress, Egress: p.Egress, RRO: ted.ERO(path), Oper: topology.OperUp, AdminUp: true}
		l.Name = fmt.Sprintf("%s%s-%s/%d", owner, p.Ingress, p.Egress, len(lspsOf[p])+1)
		if r.IntN(4) == 0 {
			l.Name = "other-" + strconv.Itoa(len(in.LSPs))
		}
		lspsOf[p] = append(lspsOf[p], l.Name)
		in.LSPs = append(in.LSPs, l)
	}
	for i := range 1 + r.IntN(10) {
		u := r.IntN(n)
		v := (u + 1 + r.IntN(n-1)) % n
		name := func(i int) string { return "n" + strconv.Itoa(i) }
		d := demand("d"+strconv.Itoa(i), 2+btoi(r.IntN(4) == 0), name(u), name(v))
		if w := r.IntN(n); r.IntN(4) == 0 && w != u && w != v { // dual homed
			d.Forward[0].Ingress, d.Reverse[0].Egress = name(w), name(w)
		}
		d.Level = disjoint.Level(1 + r.IntN(4))
		d.Bandwidth = float64(2+r.IntN(8)) * 1e6
		d.Weight = 1 + r.IntN(5)
		in.Demands = append(in.Demands, d)
		a := Assignment{}
		for dir, slots := range [2][]Pair{d.Forward, d.Reverse} {
			var names []string
			for _, p := range slots {
				if r.IntN(3) == 0 {
					walk(p)
				}
				name := ""
				if have := lspsOf[p]; len(have) > 0 && r.IntN(2) == 0 {
					name = have[r.IntN(len(have))]
				}
				names = append(names, name)
			}
			if dir == 0 {
				a.Forward = names
			} else {
				a.Reverse = names
			}
		}
		if r.IntN(2) == 0 {
			in.Current[d.ID] = a
		}
	}
	return in
}

func pathCost(ted *topology.TED, path []int) int64 {
	c := int64(0)
	for _, li := range path {
		c += int64(ted.Links()[li].TEMetric)
	}
	return c
}

// allSimplePaths enumerates by depth first search.
func allSimplePaths(ted *topology.TED, p Pair) [][]int {
	from, _ := ted.NodeIndex(p.Ingress)
	to, _ := ted.NodeIndex(p.Egress)
	var out [][]int
	var path []int
	seen := map[int]bool{from: true}
	var walk func(at int)
	walk = func(at int) {
		if at == to {
			out = append(out, slices.Clone(path))
			return
		}
		for _, li := range ted.Out(at) {
			l := ted.Links()[li]
			if l.Down || seen[l.To] {
				continue
			}
			seen[l.To] = true
			path = append(path, li)
			walk(l.To)
			path = path[:len(path)-1]
			seen[l.To] = false
		}
	}
	walk(from)
	return out
}

// oracleScore rates a group by the public Score of path search, pair by pair.
type oracleScore struct {
	worst, sum, risks int
	linkCost          int64
}

func (a oracleScore) less(b oracleScore) bool {
	if a.worst != b.worst {
		return a.worst < b.worst
	}
	if a.sum != b.sum {
		return a.sum < b.sum
	}
	if a.risks != b.risks {
		return a.risks < b.risks
	}
	return a.linkCost < b.linkCost
}

type oracle struct {
	ted     *topology.TED
	halves  []*oracleHalf
	columns int
	fresh   map[string]int // new LSP (pair and path) -> variable
}

type oracleHalf struct {
	demand string
	bw     float64
	cols   []oracleColumn
	best   oracleScore
	level  disjoint.Level
}

type oracleColumn struct {
	loads map[int]int // uses by link index
	moved int
	fresh []int // variables of new LSPs
	cost  int64
}

const maxColumns = 2500

func newOracle(t testing.TB, in Input) *oracle {
	o := &oracle{ted: in.TED, fresh: map[string]int{}}
	routeOf := map[string][]int{}
	exists := map[string]bool{}
	key := func(p Pair, path []int) string { return fmt.Sprint(p, path) }
	for _, l := range in.LSPs {
		path, err := in.TED.Route(l.Ingress, l.RRO)
		if err != nil {
			t.Fatal(err)
		}
		routeOf[l.Name] = path
		exists[key(Pair{l.Ingress, l.Egress}, path)] = true
	}
	pools := map[Pair][][]int{}
	pairRating := map[string]int{}
	for _, d := range in.Demands {
		for dir, slots := range [2][]Pair{d.Forward, d.Reverse} {
			h := &oracleHalf{demand: d.ID, bw: d.Bandwidth, level: d.Level}
			current := [2][]string{in.Current[d.ID].Forward, in.Current[d.ID].Reverse}[dir]
			var stay [][]int
			have := map[string]int{} // slots that ride a route by an LSP
			for i, p := range slots {
				if pools[p] == nil {
					pools[p] = allSimplePaths(in.TED, p)
				}
				if len(pools[p]) > 60 {
					return nil
				}
				if i < len(current) && current[i] != "" {
					stay = append(stay, routeOf[current[i]])
					have[key(p, routeOf[current[i]])]++
				} else {
					stay = append(stay, cheapestOf(in.TED, pools[p]))
				}
			}
			stayScore := o.rate(d.Level, stay, pairRating)
			h.best.worst = math.MaxInt
			group := make([][]int, 0, len(slots))
			var rec func(slot int, from map[Pair]int)
			rec = func(slot int, from map[Pair]int) {
				if slot == len(slots) {
					s := o.rate(d.Level, group, pairRating)
					if h.best.less(s) {
						return
					}
					if s.less(h.best) {
						h.best, h.cols = s, nil
					}
					h.cols = append(h.cols, o.column(slots, group, have, exists, key))
					return
				}
				p := slots[slot]
				start := from[p]
				for i := start; i < len(pools[p]); i++ {
					group = append(group, pools[p][i])
					from[p] = i + 1
					rec(slot+1, from)
					group = group[:slot]
				}
				from[p] = start
			}
			rec(0, map[Pair]int{})
			if len(h.cols) == 0 {
				return nil // fewer paths than slots: another test's matter
			}
			if stayScore.less(h.best) {
				h.best, h.cols = stayScore, nil
			}
			if h.best == stayScore {
				c := o.column(slots, stay, have, exists, key)
				c.moved, c.fresh = 0, nil
				h.cols = append(h.cols, c)
			}
			h.cols = undominated(h.cols)
			o.columns += len(h.cols)
			o.halves = append(o.halves, h)
		}
	}
	if o.columns > maxColumns {
		return nil
	}
	return o
}

// cheapestOf is the assumed default route; metrics are such that ties are rare.
func cheapestOf(ted *topology.TED, paths [][]int) []int {
	var p []int
	for _, q := range paths {
		if p == nil || pathCost(ted, q) < pathCost(ted, p) {
			p = q
		}
	}
	return p
}

func (o *oracle) rate(level disjoint.Level, group [][]int, memo map[string]int) oracleScore {
	var s oracleScore
	for i := range group {
		for j := range i {
			k := fmt.Sprint(level, group[i], group[j])
			d, ok := memo[k]
			if !ok {
				got, _ := disjoint.Score(o.ted, [][]int{group[i], group[j]})
				d = oracleDeficit(level, got)
				memo[k] = d
			}
			s.worst = max(s.worst, d)
			s.sum += d
		}
	}
	if s.worst == 0 {
		return s // nothing that counts is shared
	}
	linkUse, srlgUse, through := map[int]int{}, map[uint32]int{}, map[int][]bool{}
	for _, path := range group {
		srlgs := map[uint32]bool{}
		for i, li := range path {
			l := o.ted.Links()[li]
			id := li
			if l.Reverse >= 0 {
				id = min(li, l.Reverse)
			}
			linkUse[id]++
			for _, g := range l.SRLGs {
				srlgs[g] = true
			}
			through[l.From] = append(through[l.From], i > 0)
			if i == len(path)-1 {
				through[l.To] = append(through[l.To], false)
			}
		}
		for g := range srlgs {
			srlgUse[g]++
		}
	}
	for id, uses := range linkUse {
		c := int64(o.ted.Links()[id].TEMetric)
		if rev := o.ted.Links()[id].Reverse; rev >= 0 {
			c = max(c, int64(o.ted.Links()[rev].TEMetric))
		}
		s.linkCost += c * int64(uses-1)
	}
	if level == disjoint.SRLG || level == disjoint.NodeSRLG {
		for _, uses := range srlgUse {
			s.risks += uses - 1
		}
	}
	if level == disjoint.Node || level == disjoint.NodeSRLG {
		for _, inner := range through {
			n := 0
			for _, in := range inner {
				n += btoi(in)
			}
			if n > 0 {
				s.risks += len(inner) - 1
				// Where only ends come together before it is passed, these share nothing.
				if len(inner) > n && n < len(inner)-1 {
					s.risks = s.risks - (len(inner) - 1) + sharedUses(inner)
				}
			}
		}
	}
	return s
}

// sharedUses counts, path by path, those that come to a node where it is then
// shared: it lies inside this path or one before.
func sharedUses(inner []bool) int {
	n, any := 0, false
	for i, in := range inner {
		if i > 0 && (in || any) {
			n++
		}
		any = any || in
	}
	return n
}

func oracleDeficit(requested, got disjoint.Level) int {
	for i, l := range ladder(requested) {
		ok := l == disjoint.None
		switch got {
		case disjoint.NodeSRLG:
			ok = true
		case disjoint.Node:
			ok = ok || l == disjoint.Node || l == disjoint.Link
		case disjoint.SRLG:
			ok = ok || l == disjoint.SRLG || l == disjoint.Link
		case disjoint.Link:
			ok = ok || l == disjoint.Link
		}
		if ok {
			return i
		}
	}
	return len(ladder(requested)) - 1
}

func (o *oracle) column(slots []Pair, group [][]int, have map[string]int, exists map[string]bool, key func(Pair, []int) string) oracleColumn {
	c := oracleColumn{loads: map[int]int{}}
	uses := map[string]int{}
	for i, path := range group {
		c.cost += pathCost(o.ted, path)
		for _, li := range path {
			c.loads[li]++
		}
		k := key(slots[i], path)
		if uses[k]++; uses[k] > have[k] {
			c.moved++
		}
		if !exists[k] && uses[k] == 1 {
			v, ok := o.fresh[k]
			if !ok {
				v = len(o.fresh)
				o.fresh[k] = v
			}
			c.fresh = append(c.fresh, v)
		}
	}
	return c
}

// undominated drops columns that another one is never worse than.
func undominated(cols []oracleColumn) []oracleColumn {
	dominates := func(a, b *oracleColumn) bool {
		if a.moved > b.moved || a.cost > b.cost {
			return false
		}
		for _, v := range a.fresh {
			if !slices.Contains(b.fresh, v) {
				return false
			}
		}
		for li, n := range a.loads {
			if n > b.loads[li] {
				return false
			}
		}
		return true
	}
	var out []oracleColumn
	for i := range cols {
		bad := false
		for j := range cols {
			if i != j && dominates(&cols[j], &cols[i]) && (!dominates(&cols[i], &cols[j]) || j < i) {
				bad = true
				break
			}
		}
		if !bad {
			out = append(out, cols[i])
		}
	}
	return out
}

// solve has GLPK minimise overload, then changes, then cost.
func (o *oracle) solve(t testing.TB) (price, bool) {
	var p price
	limits := ""
	over, changes, cost := o.terms()
	for i, goal := range []string{over, changes, cost} {
		if goal == "" {
			goal = "0 one"
		}
		v, ok := o.glpsol(t, goal, limits)
		if !ok {
			return p, false
		}
		switch i {
		case 0:
			p.over = v
			limits += fmt.Sprintf(" lim0: %s <= %d\n", goal, v)
		case 1:
			p.changes = int(v)
			limits += fmt.Sprintf(" lim1: %s <= %d\n", goal, v)
		case 2:
			p.cost = v
		}
	}
	return p, true
}

// Overload is counted in Mbit/s for the solver: all rates are whole ones.
func (o *oracle) terms() (over, changes, cost string) {
	var a, b, c []string
	for li := range o.ted.Links() {
		if o.ted.Links()[li].MaxBandwidth > 0 {
			a = append(a, fmt.Sprintf("o%d", li))
		}
	}
	for v := range len(o.fresh) {
		b = append(b, fmt.Sprintf("y%d", v))
	}
	for i, h := range o.halves {
		for j, col := range h.cols {
			if col.moved > 0 {
				b = append(b, fmt.Sprintf("%d x%d_%d", col.moved, i, j))
			}
			c = append(c, fmt.Sprintf("%d x%d_%d", col.cost, i, j))
		}
	}
	return strings.Join(a, " + "), strings.Join(b, " + "), strings.Join(c, " + ")
}

func (o *oracle) glpsol(t testing.TB, goal, limits string) (int64, bool) {
	var b bytes.Buffer
	line := func(s string) { // the format has a limit on the length of lines
		b.WriteString(strings.NewReplacer(" + ", "\n + ", " - ", "\n - ").Replace(s))
	}
	b.WriteString("Minimize\n goal: ")
	line(goal + "\n")
	b.WriteString("Subject To\n")
	line(limits)
	load := map[int][]string{}
	for i, h := range o.halves {
		var one []string
		needs := map[int][]string{}
		for j, col := range h.cols {
			x := fmt.Sprintf("x%d_%d", i, j)
			one = append(one, x)
			for li, n := range col.loads {
				load[li] = append(load[li], fmt.Sprintf("%d %s", n*int(h.bw/1e6), x))
			}
			for _, v := range col.fresh {
				needs[v] = append(needs[v], x)
			}
		}
		// One constraint for all the columns that need an LSP: a half has one column.
		for _, v := range slices.Sorted(maps.Keys(needs)) {
			line(fmt.Sprintf(" y%d - %s >= 0\n", v, strings.Join(needs[v], " - ")))
		}
		line(" " + strings.Join(one, " + ") + " = 1\n")
	}
	for li := range o.ted.Links() {
		if c := o.ted.Links()[li].MaxBandwidth; c > 0 && len(load[li]) > 0 {
			sort.Strings(load[li])
			line(" " + strings.Join(load[li], " + ") + fmt.Sprintf(" - o%d <= %d\n", li, int(c/1e6)))
		}
	}
	b.WriteString("Bounds\n one = 1\nBinary\n")
	for i, h := range o.halves {
		for j := range h.cols {
			fmt.Fprintf(&b, " x%d_%d\n", i, j)
		}
	}
	b.WriteString("End\n")
	dir := t.TempDir()
	model, out := filepath.Join(dir, "m.lp"), filepath.Join(dir, "out")
	if err := os.WriteFile(model, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := exec.Command("glpsol", "--lp", model, "-w", out, "--cuts", "--tmlim", "5").CombinedOutput()
	if bytes.Contains(log, []byte("TIME LIMIT EXCEEDED")) {
		return 0, false
	}
	if err != nil || !bytes.Contains(log, []byte("INTEGER OPTIMAL SOLUTION FOUND")) {
		t.Fatalf("glpsol: %v\n%s", err, log)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(raw), "\n") {
		if f := strings.Fields(l); len(f) == 6 && f[0] == "s" && f[1] == "mip" {
			v, err := strconv.ParseFloat(f[5], 64)
			if err != nil || f[4] != "o" {
				t.Fatalf("glpsol solution %q", l)
			}
			return int64(math.Round(v)), true
		}
	}
	t.Fatalf("glpsol gave no solution:\n%s", raw)
	return 0, false
}

// judge computes the objective of a result from its assignments, and checks that
// the disjointness of each direction is the best there is.
func (o *oracle) judge(t testing.TB, in Input, res Result) price {
	routes := map[string][]int{}
	for _, l := range slices.Concat(in.LSPs, res.Signal) {
		hops := l.RRO
		if len(hops) == 0 {
			hops = l.ERO
		}
		path, err := in.TED.Route(l.Ingress, hops)
		if err != nil {
			t.Fatal(err)
		}
		routes[l.Name] = path
	}
	load := map[int]float64{}
	p := price{changes: len(res.Signal)}
	n := 0
	memo := map[string]int{}
	for i, d := range in.Demands {
		i = slices.IndexFunc(res.Demands, func(o Outcome) bool { return o.ID == in.Demands[i].ID })
		out := res.Demands[i]
		for dir, slots := range [2][]Pair{d.Forward, d.Reverse} {
			names := [2][]string{out.Assignment.Forward, out.Assignment.Reverse}[dir]
			current := [2][]string{in.Current[d.ID].Forward, in.Current[d.ID].Reverse}[dir]
			var group [][]int
			for s, q := range slots {
				path := routes[names[s]]
				if names[s] == "" {
					path = cheapestOf(in.TED, allSimplePaths(in.TED, q))
				}
				group = append(group, path)
				p.cost += pathCost(in.TED, path)
				for _, li := range path {
					load[li] += d.Bandwidth
				}
				if was := ""; names[s] != "" {
					if s < len(current) {
						was = current[s]
					}
					p.changes += btoi(was != names[s])
				}
			}
			h := o.halves[n]
			n++
			if s := o.rate(d.Level, group, memo); s != h.best {
				t.Errorf("demand %s, direction %d: disjointness %+v, the best is %+v", d.ID, dir, s, h.best)
			}
		}
	}
	for li, l := range load {
		if c := in.TED.Links()[li].MaxBandwidth; c > 0 {
			p.over += int64(math.Round(max(0, l-c) / 1e6))
		}
	}
	return p
}
