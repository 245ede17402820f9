package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// A day in a provider's life: demands come and go, links fail and come back, at
// random. day plays the tunnel manager with simulated time: it lets demands in by
// their thresholds, plans, and brings plans about one operation at a time.
type day struct {
	t      *testing.T
	r      *rand.Rand
	limits threshold.Limits
	bucket threshold.Bucket
	now    time.Time

	links   []topology.Link
	nodes   []topology.Node
	down    map[int]bool // by link index of the first direction
	ted     *topology.TED
	lsps    map[string]*topology.LSP
	demands map[string]*dayDemand
	next    int

	unwanted map[string]time.Time
	ops      []time.Time
	// what happened, for the log
	moves, repairs, signals, releases int
	checkpoints                       []string
	memo                              plan.Memo
}

type dayDemand struct {
	plan.Demand
	joined, moved time.Time
	planned       bool
	want          plan.Assignment
	bound         [2][]string
	// settled is the level of what was bound when the last plan was done, by paths
	// that were not touched since.
	settled      disjoint.Level
	settledValid bool
}

const owner = "mpbox/lab/"

func newDay(t *testing.T, seed uint64, nodes, links int) *day {
	d := &day{
		t: t, r: rand.New(rand.NewPCG(seed, 11)), now: time.Unix(1_700_000_000, 0), down: map[int]bool{},
		lsps: map[string]*topology.LSP{}, demands: map[string]*dayDemand{}, unwanted: map[string]time.Time{},
		limits: threshold.Limits{
			MinConnections: 1, MinSubflows: 2, MinGain: 1.1, Settle: 500 * time.Millisecond, HoldDown: 10 * time.Second,
			MaxOpsPerMinute: 120, ReleaseDelay: 30 * time.Second,
		},
	}
	for i := range nodes {
		d.nodes = append(d.nodes, topology.Node{Name: fmt.Sprintf("n%d", i), RouterID: netip.AddrFrom4([4]byte{10, 255, 0, byte(i + 1)})})
	}
	add := func(u, v int) {
		n := len(d.links)
		l := topology.Link{
			Name: fmt.Sprintf("l%d", n), From: u, To: v, TEMetric: uint32(10 + d.r.IntN(90)), MaxBandwidth: 1e9, MaxReservable: 1e9,
			LocalAddr: netip.AddrFrom4([4]byte{10, 0, byte(n), 1}), RemoteAddr: netip.AddrFrom4([4]byte{10, 0, byte(n), 2}),
		}
		for i := range l.Unreserved {
			l.Unreserved[i] = 1e9
		}
		if d.r.IntN(6) == 0 {
			l.SRLGs = []uint32{uint32(d.r.IntN(4))}
		}
		d.links = append(d.links, l)
	}
	for i := range nodes {
		add(i, (i+1)%nodes)
	}
	for len(d.links) < links {
		if u, v := d.r.IntN(nodes), d.r.IntN(nodes); u != v {
			add(u, v)
		}
	}
	d.build()
	return d
}

func (d *day) build() {
	var b topology.Builder
	for _, n := range d.nodes {
		b.AddNode(n)
	}
	for i, l := range d.links {
		l.Down = d.down[i]
		back := l
		back.From, back.To, back.LocalAddr, back.RemoteAddr = l.To, l.From, l.RemoteAddr, l.LocalAddr
		b.AddPair(l, back)
	}
	ted, err := b.Build()
	if err != nil {
		d.t.Fatal(err)
	}
	d.ted = ted
	for _, l := range d.lsps {
		up := true
		for _, li := range d.route(l) {
			up = up && !ted.Links()[li].Down
		}
		switch {
		case !up:
			l.Oper, l.RRO = topology.OperDown, nil
		default: // an explicit LSP comes back on its route
			l.Oper, l.RRO = topology.OperUp, l.ERO
		}
	}
}

func (d *day) route(l *topology.LSP) []int {
	links, err := d.ted.Route(l.Ingress, l.ERO)
	if err != nil {
		d.t.Fatalf("route of %s: %v", l.Name, err)
	}
	return links
}

// happen lets one random thing happen.
func (d *day) happen() {
	d.now = d.now.Add(time.Duration(d.r.IntN(17_280)) * time.Millisecond)
	switch n := d.r.IntN(100); {
	case n < 12 && len(d.demands) < 25:
		d.arrive()
	case n < 20 && len(d.demands) > 5:
		ids := slices.Sorted(maps.Keys(d.demands))
		delete(d.demands, ids[d.r.IntN(len(ids))])
	case n < 24 && len(d.down) < 3:
		i := d.r.IntN(len(d.links))
		d.down[i] = true
		d.build()
	case n < 30 && len(d.down) > 0:
		ids := slices.Sorted(maps.Keys(d.down))
		delete(d.down, ids[d.r.IntN(len(ids))])
		d.build()
	}
}

func (d *day) arrive() {
	u := d.r.IntN(len(d.nodes))
	v := (u + 1 + d.r.IntN(len(d.nodes)-1)) % len(d.nodes)
	n := 2 + d.r.IntN(2)
	dd := &dayDemand{joined: d.now}
	dd.ID = fmt.Sprintf("d%d", d.next)
	d.next++
	for range n {
		dd.Forward = append(dd.Forward, plan.Pair{Ingress: d.nodes[u].Name, Egress: d.nodes[v].Name})
		dd.Reverse = append(dd.Reverse, plan.Pair{Ingress: d.nodes[v].Name, Egress: d.nodes[u].Name})
	}
	if w := d.r.IntN(len(d.nodes)); w != u && w != v && d.r.IntN(4) == 0 {
		dd.Forward[0].Ingress, dd.Reverse[0].Egress = d.nodes[w].Name, d.nodes[w].Name
	}
	dd.Weight = 1 + d.r.IntN(9)
	dd.Level = disjoint.Level(1 + d.r.IntN(4))
	dd.Bandwidth = float64(10+d.r.IntN(90)) * 1e6
	dd.bound = [2][]string{make([]string, n), make([]string, n)}
	d.demands[dd.ID] = dd
}

func (d *day) usable(name string) bool {
	l := d.lsps[name]
	return l != nil && l.Oper == topology.OperUp
}

// broken tells whether an LSP that is wanted has failed.
func (d *day) broken(dd *dayDemand) bool {
	for _, name := range slices.Concat(dd.want.Forward, dd.want.Reverse) {
		if l := d.lsps[name]; name != "" && l != nil && l.Oper == topology.OperDown {
			return true
		}
	}
	return false
}

// input is what the planner is asked.
func (d *day) input(scope plan.Scope, tidy bool) plan.Input {
	in := plan.Input{Scope: scope, Owner: owner, TED: d.ted, Current: map[string]plan.Assignment{}, Tidy: tidy, Memo: &d.memo}
	in.Pending = map[topology.LSPKey]bool{}
	for _, name := range slices.Sorted(maps.Keys(d.lsps)) {
		in.LSPs = append(in.LSPs, *d.lsps[name])
		if d.lsps[name].Oper == topology.OperUnknown {
			in.Pending[d.lsps[name].Key()] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.demands)) {
		dd := d.demands[id]
		v := d.limits.Admit(threshold.Demand{Connections: dd.Weight, LastJoin: dd.joined, Moved: dd.moved, Planned: dd.planned, Broken: d.broken(dd)}, d.now)
		if !v.OK && !dd.planned {
			continue
		}
		dem := dd.Demand
		dem.Hold = !v.OK
		in.Demands = append(in.Demands, dem)
		in.Current[id] = dd.want
	}
	return in
}

// think asks for a plan and takes it over.
func (d *day) think(tidy bool) {
	in := d.input(plan.Incremental, tidy)
	res, err := plan.Plan(in)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, o := range res.Demands {
		dd := d.demands[o.ID]
		same := slices.Equal(dd.want.Forward, o.Assignment.Forward) && slices.Equal(dd.want.Reverse, o.Assignment.Reverse)
		if same || !dd.planned && o.Changed == 0 {
			dd.planned = dd.planned || same && o.Changed > 0
			continue
		}
		failed := d.broken(dd)
		if failed {
			d.repairs++
		} else {
			if d.now.Sub(dd.moved) < d.limits.HoldDown {
				d.t.Errorf("%v: demand %s is moved %v after it was moved, though none of its LSPs failed: %v -> %v", d.now, o.ID, d.now.Sub(dd.moved), dd.want, o.Assignment)
			}
			d.moves++
		}
		dd.want, dd.moved, dd.planned = o.Assignment, d.now, true
		dd.settledValid = dd.settledValid && !failed
	}
	for _, l := range res.Signal {
		if d.lsps[l.Name] != nil {
			d.t.Fatalf("LSP %s is signalled twice", l.Name)
		}
		spec := l
		d.lsps[l.Name] = &spec // asked for; up once it is signalled
		spec.Oper = topology.OperUnknown
	}
}

// act carries out what is wanted and not there yet, as far as the limit allows.
func (d *day) act() {
	take := func() bool {
		if d.bucket.Take(d.now, 1, d.limits.MaxOpsPerMinute) == 0 {
			return false
		}
		d.ops = append(d.ops, d.now)
		return true
	}
	wanted := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(d.demands)) {
		dd := d.demands[id]
		for _, name := range slices.Concat(dd.want.Forward, dd.want.Reverse, dd.bound[0], dd.bound[1]) {
			wanted[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.lsps)) {
		l := d.lsps[name]
		if !wanted[name] {
			continue
		}
		delete(d.unwanted, name)
		if l.Oper == topology.OperUnknown {
			if !take() {
				return
			}
			d.signals++
			l.Oper, l.RRO = topology.OperUp, l.ERO
			for _, li := range d.route(l) {
				if d.ted.Links()[li].Down {
					l.Oper, l.RRO = topology.OperDown, nil
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.demands)) {
		dd := d.demands[id]
		for dir, names := range [2][]string{dd.want.Forward, dd.want.Reverse} {
			for i, name := range names {
				if dd.bound[dir][i] == name || name != "" && !d.usable(name) {
					continue
				}
				if !take() {
					return
				}
				dd.bound[dir][i] = name
				d.check(dd)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.lsps)) {
		if wanted[name] {
			continue
		}
		if _, ok := d.unwanted[name]; !ok {
			d.unwanted[name] = d.now
		}
		if d.limits.MayRelease(d.unwanted[name], d.now).OK {
			if !take() {
				return
			}
			d.releases++
			delete(d.lsps, name)
			delete(d.unwanted, name)
		}
	}
}

// check looks at all bindings after an operation on one demand.
func (d *day) check(changed *dayDemand) {
	for _, id := range slices.Sorted(maps.Keys(d.demands)) {
		dd := d.demands[id]
		for dir := range dd.bound {
			for i, name := range dd.bound[dir] {
				if name == "" || d.usable(name) {
					continue
				}
				// Only what failed under a binding may be down, until its repair's turn.
				if l := d.lsps[name]; l == nil || l.Oper != topology.OperDown || len(d.down) == 0 {
					d.t.Fatalf("%v: after an operation on %s, slot %d of %s is bound to %s, which is not up", d.now, changed.ID, i, id, name)
				}
			}
		}
	}
}

// level rates what a demand's flows ride; ok is false while it is on its way, or
// something under it is down.
func (d *day) level(dd *dayDemand) (worst disjoint.Level, ok bool) {
	worst = dd.Level
	for dir, names := range [2][]string{dd.want.Forward, dd.want.Reverse} {
		var paths [][]int
		for i, name := range names {
			if name == "" || name != dd.bound[dir][i] || !d.usable(name) {
				return 0, false // a default route may change by itself
			}
			paths = append(paths, d.route(d.lsps[name]))
		}
		if got, _ := disjoint.Score(d.ted, paths); rank(dd.Level, got) > rank(dd.Level, worst) {
			worst = got
		}
	}
	return worst, len(dd.want.Forward) > 0
}

// watch checks that no demand's disjointness fell but by a failure of its own.
func (d *day) watch() {
	for _, id := range slices.Sorted(maps.Keys(d.demands)) {
		dd := d.demands[id]
		if d.broken(dd) {
			dd.settledValid = false
			continue
		}
		got, ok := d.level(dd)
		if !ok {
			continue
		}
		if dd.settledValid && rank(dd.Level, got) > rank(dd.Level, dd.settled) {
			d.t.Errorf("%v: disjointness of %s fell from %s to %s (asked for %s), and none of its paths failed", d.now, id, dd.settled, got, dd.Level)
		}
		dd.settled, dd.settledValid = got, true
	}
}

// rank is how far down the ladder of the requested level another one is.
func rank(requested, got disjoint.Level) int {
	meets := func(l disjoint.Level) bool {
		switch got {
		case disjoint.NodeSRLG:
			return true
		case disjoint.Node, disjoint.SRLG:
			return l == got || l <= disjoint.Link
		}
		return l <= got
	}
	ladder := []disjoint.Level{requested, disjoint.Link, disjoint.None}
	if requested == disjoint.NodeSRLG {
		ladder = []disjoint.Level{disjoint.NodeSRLG, disjoint.Node, disjoint.SRLG, disjoint.Link, disjoint.None}
	}
	return slices.IndexFunc(ladder, meets)
}

// quiet lets time pass until releases are done, then compares the number of LSPs
// with that of a fresh design.
func (d *day) quiet() {
	for i := range 300 {
		d.now = d.now.Add(time.Second)
		d.think(i%20 == 0)
		d.act()
		d.watch()
	}
	in := d.input(plan.Redesign, false)
	in.LSPs, in.Current = nil, nil
	for i := range in.Demands {
		in.Demands[i].Hold = false
	}
	res, err := plan.Plan(in)
	if err != nil {
		d.t.Fatal(err)
	}
	fresh := len(res.Signal)
	d.checkpoints = append(d.checkpoints, fmt.Sprintf("%d/%d", len(d.lsps), fresh))
	if len(d.lsps) > fresh*12/10+2 {
		d.t.Errorf("%v: %d LSPs are there, a fresh redesign has %d", d.now, len(d.lsps), fresh)
	}
}

func (d *day) limitKept() {
	for i := d.limits.MaxOpsPerMinute; i < len(d.ops); i++ {
		if d.ops[i].Sub(d.ops[i-d.limits.MaxOpsPerMinute]) < time.Minute {
			d.t.Fatalf("more than %d operations within a minute of %v", d.limits.MaxOpsPerMinute, d.ops[i])
		}
	}
}

func TestReplayOfADay(t *testing.T) {
	for seed, size := range [][2]int{{12, 20}, {22, 36}} {
		start := time.Now()
		d := newDay(t, uint64(seed+1), size[0], size[1])
		for step := range plan.ReplaySteps {
			d.happen()
			d.think(false)
			d.act()
			d.watch()
			if step%(plan.ReplaySteps/4) == plan.ReplaySteps/4-1 {
				d.quiet()
			}
			if t.Failed() {
				t.Fatalf("at step %d", step)
			}
		}
		d.limitKept()
		t.Logf("%d nodes, %d links, %d steps in %v (%v of simulated time): %d demands came, %d moves, %d repairs, %d LSPs signalled, %d released; LSPs at rest / of a fresh design: %v",
			size[0], size[1], plan.ReplaySteps, time.Since(start).Round(time.Millisecond), d.now.Sub(time.Unix(1_700_000_000, 0)).Round(time.Minute), d.next, d.moves, d.repairs, d.signals, d.releases, d.checkpoints)
	}
}
