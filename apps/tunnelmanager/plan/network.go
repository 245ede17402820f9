package plan

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// network is a TED compiled for planning: everything that routes can share is a
// bit, so that comparing two routes is a few AND operations.
type network struct {
	ted  *topology.TED
	arcs []arc // by TED link index
	out  [][]int32
	in   [][]int32
	// A route's bits: one for each link (both directions are one risk), then one
	// for each SRLG, one for each inner node, and one for each node.
	srlgAt, nodeAt, allAt, words int // first word of SRLGs, inner nodes, nodes; length
	links                        []linkInfo
	srlgs                        []uint32
	routes                       map[string]*route
	// Kept between searches, so that these allocate little.
	tree, walk search
	dist       []int64
	mask       []uint64
}

type arc struct {
	from, to int32
	link     int32 // index into network.links
	cost     costs
	delay    time.Duration
	capacity int64 // bit/s; -1 where unknown
	group    uint32
	down     bool
	srlgs    []int32 // indexes into network.srlgs
}

type linkInfo struct {
	name string
	cost costs // of the dearer direction
	arc  int32 // one of its arcs
}

// costs are by disjoint.Metric.
type costs [disjoint.MetricHops + 1]int64

// route is a loop-free way through the network. Routes are interned: equal routes
// are one pointer.
type route struct {
	id       int32
	from, to int32
	arcs     []int32
	bits     []uint64
	cost     costs
	delay    time.Duration
	// broken: a link of it is down.
	broken bool
}

func compile(ted *topology.TED) *network {
	n := &network{ted: ted, routes: map[string]*route{}}
	tl := ted.Links()
	nodes := len(ted.Nodes())
	n.arcs = make([]arc, len(tl))
	n.out, n.in = make([][]int32, nodes), make([][]int32, nodes)
	srlgIndex := map[uint32]int32{}
	for i := range tl {
		l := &tl[i]
		a := arc{
			from: int32(l.From), to: int32(l.To), cost: costsOf(l), delay: l.Delay,
			capacity: capacityOf(l), group: l.AdminGroup, down: l.Down,
		}
		if l.Reverse >= 0 && l.Reverse < i {
			a.link = n.arcs[l.Reverse].link
			for m, c := range a.cost {
				n.links[a.link].cost[m] = max(n.links[a.link].cost[m], c)
			}
		} else {
			a.link = int32(len(n.links))
			n.links = append(n.links, linkInfo{name: l.Name, cost: a.cost, arc: int32(i)})
		}
		for _, s := range l.SRLGs {
			j, ok := srlgIndex[s]
			if !ok {
				j = int32(len(n.srlgs))
				srlgIndex[s] = j
				n.srlgs = append(n.srlgs, s)
			}
			a.srlgs = append(a.srlgs, j)
		}
		n.arcs[i] = a
		if !a.down {
			n.out[l.From] = append(n.out[l.From], int32(i))
			n.in[l.To] = append(n.in[l.To], int32(i))
		}
	}
	n.srlgAt = wordsFor(len(n.links))
	n.nodeAt = n.srlgAt + wordsFor(len(n.srlgs))
	n.allAt = n.nodeAt + wordsFor(nodes)
	n.words = n.allAt + wordsFor(nodes)
	return n
}

func wordsFor(n int) int { return (n + 63) / 64 }

func costsOf(l *topology.Link) costs {
	return costs{
		disjoint.MetricTE: int64(l.TEMetric), disjoint.MetricIGP: int64(l.IGPMetric),
		disjoint.MetricDelay: l.Delay.Microseconds(), disjoint.MetricHops: 1,
	}
}

// capacityOf gives what a link can carry: what may be reserved of it, else its
// bandwidth, else -1.
func capacityOf(l *topology.Link) int64 {
	c := l.MaxReservable
	if c <= 0 {
		c = l.MaxBandwidth
	}
	if c <= 0 {
		return -1
	}
	return int64(math.Round(c))
}

// intern gives the route over arcs, which must be a connected way that begins at
// from.
func (n *network) intern(from int32, arcs []int32) *route {
	key := make([]byte, 0, 64)
	key = append(key, byte(from), byte(from>>8), byte(from>>16))
	for _, a := range arcs {
		key = append(key, byte(a), byte(a>>8), byte(a>>16))
	}
	if r, ok := n.routes[string(key)]; ok {
		return r
	}
	r := &route{id: int32(len(n.routes)), from: from, to: from, arcs: slices.Clone(arcs), bits: make([]uint64, n.words)}
	setBit(r.bits[n.allAt:], int(from))
	for i, ai := range arcs {
		a := &n.arcs[ai]
		setBit(r.bits, int(a.link))
		setBit(r.bits[n.allAt:], int(a.to))
		for _, s := range a.srlgs {
			setBit(r.bits[n.srlgAt:], int(s))
		}
		if i > 0 {
			setBit(r.bits[n.nodeAt:], int(a.from))
		}
		for m, c := range a.cost {
			r.cost[m] += c
		}
		r.delay += a.delay
		r.broken = r.broken || a.down
		r.to = a.to
	}
	n.routes[string(key)] = r
	return r
}

func setBit(b []uint64, i int)      { b[i/64] |= 1 << (i % 64) }
func hasBit(b []uint64, i int) bool { return b[i/64]>>(i%64)&1 == 1 }

// eachBit calls f for each bit that is set.
func eachBit(b []uint64, f func(int)) {
	for w, x := range b {
		for ; x != 0; x &= x - 1 {
			f(w*64 + bits.TrailingZeros64(x))
		}
	}
}

func overlap(a, b []uint64) bool {
	for i, x := range a {
		if x&b[i] != 0 {
			return true
		}
	}
	return false
}

// conflict tells what two routes share. A node is shared when it lies on both and
// inside at least one: common ends are not.
func (n *network) conflict(a, b *route) (link, srlg, node bool) {
	return overlap(a.bits[:n.srlgAt], b.bits[:n.srlgAt]),
		overlap(a.bits[n.srlgAt:n.nodeAt], b.bits[n.srlgAt:n.nodeAt]),
		overlap(a.bits[n.nodeAt:n.allAt], b.bits[n.allAt:]) || overlap(a.bits[n.allAt:], b.bits[n.nodeAt:n.allAt])
}

// routeOf gives the route that an LSP takes: as recorded, else as intended; nil
// where neither tells. It must lead to the egress without a loop.
func (n *network) routeOf(l *topology.LSP) *route {
	for _, hops := range [][]topology.Hop{l.RRO, l.ERO} {
		if len(hops) == 0 {
			continue
		}
		links, err := n.ted.Route(l.Ingress, hops)
		if err != nil || len(links) == 0 {
			continue
		}
		from, _ := n.ted.NodeIndex(l.Ingress)
		arcs := make([]int32, len(links))
		for i, li := range links {
			arcs[i] = int32(li)
		}
		r := n.intern(int32(from), arcs)
		if n.ted.Nodes()[r.to].Name == l.Egress && n.simple(r) {
			return r
		}
	}
	return nil
}

// simple tells whether a route passes no node twice.
func (n *network) simple(r *route) bool {
	nodes := 0
	for _, w := range r.bits[n.allAt:] {
		nodes += bits.OnesCount64(w)
	}
	return nodes == len(r.arcs)+1
}

// ero gives the strict explicit route of r.
func (n *network) ero(r *route) []topology.Hop {
	links := make([]int, len(r.arcs))
	for i, a := range r.arcs {
		links[i] = int(a)
	}
	return n.ted.ERO(links)
}

func (n *network) nodeName(i int32) string { return n.ted.Nodes()[i].Name }

// allows tells whether an arc meets the constraints that are each link's own.
func (n *network) allows(a *arc, c *disjoint.Constraints) bool {
	if a.down || a.group&c.ExcludeAny != 0 || a.group&c.IncludeAll != c.IncludeAll {
		return false
	}
	return c.IncludeAny == 0 || a.group&c.IncludeAny != 0
}

// bandwidthFree gives what is unreserved on a link at a priority. Sources that
// know no reservations leave all of them 0: then it is the capacity.
func (n *network) bandwidthFree(ai int32, priority uint8) float64 {
	l := &n.ted.Links()[ai]
	if l.Unreserved == [8]float64{} && l.MaxReservable == 0 {
		if l.MaxBandwidth == 0 {
			return math.Inf(1)
		}
		return l.MaxBandwidth
	}
	return l.Unreserved[min(priority, 7)]
}

// pathFits tells whether a route meets all the constraints but bandwidth.
func (n *network) pathFits(r *route, c *disjoint.Constraints) bool {
	if c.MaxHops > 0 && len(r.arcs) > c.MaxHops || c.MaxDelay > 0 && r.delay > c.MaxDelay {
		return false
	}
	for _, ai := range r.arcs {
		if !n.allows(&n.arcs[ai], c) {
			return false
		}
	}
	for _, name := range c.AvoidNodes {
		if i, ok := n.ted.NodeIndex(name); ok && hasBit(r.bits[n.nodeAt:], i) {
			return false
		}
	}
	for _, name := range c.RequireNodes {
		i, ok := n.ted.NodeIndex(name)
		if !ok || !hasBit(r.bits[n.allAt:], i) {
			return false
		}
	}
	return true
}

// withoutDelay names a link that f lets pass and whose delay is not known; "" where
// there is none, so that paths can be told apart by delay.
func (n *network) withoutDelay(f filter) string {
	mask := n.nodeMask(f)
	for i := range n.arcs {
		a := &n.arcs[i]
		if a.delay == 0 && n.passes(f, int32(i)) && !hasBit(mask, int(a.from)) && !hasBit(mask, int(a.to)) {
			return n.links[a.link].name
		}
	}
	return ""
}

// byCost orders routes by a metric.
func byCost(m disjoint.Metric) func(a, b *route) int {
	return func(a, b *route) int {
		return cmp.Or(cmp.Compare(a.cost[m], b.cost[m]), cmp.Compare(len(a.arcs), len(b.arcs)), slices.Compare(a.arcs, b.arcs))
	}
}
