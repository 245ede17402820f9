package disjoint

// flow is a min-cost flow with convex costs: the relaxation of the search for
// disjoint paths. The first unit on a link or through a node is free of sharing,
// every further one pays for it, so that the cheapest flow of k units shares as
// little as k paths possibly can. It knows neither that paths must be distinct
// nor SRLGs; see branch.go.
//
// Every node v is split into an entry (2v) and an exit (2v+1); 2n is the sink.
// Units are sent one by one along shortest paths of the residual network
// (successive shortest paths with node potentials).
type flow struct {
	s     *search
	arcs  []int32 // units on each arc
	nodes []int32 // units from each node's entry to its exit

	// What the fixed parts of paths use already: by arc, what an extra use of its
	// link costs (-1: not used); by node, whether it is used.
	used     []int64
	nodeUsed []bool
	// Not to be entered, not to be used.
	blocked []bool
	dead    []bool

	supply []int32 // units that begin at a node's exit
	demand []int32 // units that end at a node's entry

	pot, dist []cost
	potSource cost
	prev      []int32 // arc by which a node of the split graph was reached, see the codes
	seen      []int32 // stamp of dist, twice the stamp when settled
	stamp     int32
	heap      costHeap
	touched   []int32
}

// Codes of prev that are no arcs: begun here, through the node forwards, through
// the node backwards. against is the code of an arc taken backwards; the sink's
// prev is the node before it.
const (
	prevStart = -1
	prevNode  = -2
	prevBack  = -3
)

func against(a int32) int32 { return -4 - a }

func newFlow(s *search) *flow {
	n, m := s.g.n(), len(s.g.arcs)
	return &flow{
		s: s, arcs: make([]int32, m), nodes: make([]int32, n),
		used: make([]int64, m), nodeUsed: make([]bool, n), blocked: make([]bool, n), dead: make([]bool, m),
		supply: make([]int32, n), demand: make([]int32, n),
		pot: make([]cost, 2*n+1), dist: make([]cost, 2*n+1), prev: make([]int32, 2*n+1), seen: make([]int32, 2*n+1),
	}
}

func (f *flow) reset() {
	clear(f.arcs)
	clear(f.nodes)
	clear(f.pot)
	clear(f.supply)
	clear(f.demand)
	clear(f.nodeUsed)
	clear(f.blocked)
	clear(f.dead)
	for i := range f.used {
		f.used[i] = -1
	}
	f.potSource = zero
}

// send routes all of the supply and gives the flow's cost; ok is false if it
// cannot be routed. Sending stops as soon as the cost is not below the limit.
func (f *flow) send(limit cost) (sum cost, ok bool) {
	units := int32(0)
	for _, u := range f.supply {
		units += u
	}
	for ; units > 0; units-- {
		c, ok := f.augment()
		if !ok {
			return sum, false
		}
		sum = sum.plus(c)
		if !sum.less(limit) {
			return sum, false
		}
	}
	f.cancelOpposed()
	return sum, true
}

// up is what one more unit on an arc costs, down what one unit less saves.
func (f *flow) up(a int32) cost {
	arc := &f.s.g.arcs[a]
	c := cost{total: arc.cost}
	if f.used[a] >= 0 {
		c.share = f.used[a]
	} else if f.arcs[a] > 0 && f.s.level != None {
		c.share = arc.share
	}
	return c
}

func (f *flow) down(a int32) cost {
	arc := &f.s.g.arcs[a]
	c := cost{total: arc.cost}
	if f.used[a] >= 0 {
		c.share = f.used[a]
	} else if f.arcs[a] > 1 && f.s.level != None {
		c.share = arc.share
	}
	return c
}

func (f *flow) nodeUp(v int32) cost {
	if f.s.level.nodes() && (f.nodeUsed[v] || f.nodes[v] > 0) {
		return cost{risk: 1}
	}
	return zero
}

func (f *flow) nodeDown(v int32) cost {
	if f.s.level.nodes() && (f.nodeUsed[v] || f.nodes[v] > 1) {
		return cost{risk: 1}
	}
	return zero
}

// augment sends one unit along a shortest path of the residual network and gives
// the change of the flow's cost.
func (f *flow) augment() (cost, bool) {
	g := f.s.g
	sink := int32(2 * g.n())
	f.stamp += 2 // seen == stamp: labelled; stamp+1: settled
	f.heap = f.heap[:0]
	f.touched = f.touched[:0]
	for v, u := range f.supply {
		if u > 0 {
			x := int32(2*v + 1)
			f.label(x, f.potSource.minus(f.pot[x]), prevStart)
		}
	}
	reached := false
	for len(f.heap) > 0 {
		top := f.heap.pop()
		x := top.node
		if f.seen[x] != f.stamp {
			continue
		}
		f.seen[x] = f.stamp + 1
		f.s.budget--
		if x == sink {
			reached = true
			break
		}
		v := x / 2
		from := f.dist[x].plus(f.pot[x])
		if x%2 == 1 { // exit: out along arcs, back to the entry
			for a, end := g.out(v); a < end; a++ {
				if to := g.arcs[a].to; !f.dead[a] && !(f.blocked[to] && f.demand[to] == 0) {
					f.label(2*to, from.plus(f.up(a)).minus(f.pot[2*to]), a)
				}
			}
			if f.nodes[v] > 0 {
				f.label(2*v, from.minus(f.nodeDown(v)).minus(f.pot[2*v]), prevBack)
			}
			continue
		}
		if f.demand[v] > 0 {
			f.label(sink, from.minus(f.pot[sink]), v)
		}
		if !f.blocked[v] {
			f.label(2*v+1, from.plus(f.nodeUp(v)).minus(f.pot[2*v+1]), prevNode)
		}
		for _, a := range g.in[v] {
			if f.arcs[a] > 0 {
				u := 2*g.arcs[a].from + 1
				f.label(u, from.minus(f.down(a)).minus(f.pot[u]), against(a))
			}
		}
	}
	if !reached {
		return zero, false
	}
	// Potentials move by min(dist, dist of the sink); shifted by the latter, only
	// the settled nodes move.
	far := f.dist[sink]
	for _, x := range f.touched {
		if f.seen[x] == f.stamp+1 && f.dist[x].less(far) {
			f.pot[x] = f.pot[x].plus(f.dist[x]).minus(far)
		}
	}
	f.potSource = f.potSource.minus(far)
	return f.apply(sink), true
}

func (f *flow) label(x int32, d cost, prev int32) {
	switch f.seen[x] {
	case f.stamp + 1:
		return
	case f.stamp:
		if !d.less(f.dist[x]) {
			return
		}
	default:
		f.touched = append(f.touched, x)
	}
	f.seen[x] = f.stamp
	f.dist[x] = d
	f.prev[x] = prev
	f.heap.push(d, x)
}

// apply adds a unit along the path found and gives the change of the cost.
func (f *flow) apply(sink int32) cost {
	g := f.s.g
	x := 2 * f.prev[sink]
	f.demand[x/2]--
	sum := zero
	for {
		v := x / 2
		switch p := f.prev[x]; {
		case p == prevStart:
			f.supply[v]--
			return sum
		case p == prevNode:
			sum = sum.plus(f.nodeUp(v))
			f.nodes[v]++
			x--
		case p == prevBack:
			sum = sum.minus(f.nodeDown(v))
			f.nodes[v]--
			x++
		case p >= 0:
			sum = sum.plus(f.up(p))
			f.arcs[p]++
			x = 2*g.arcs[p].from + 1
		default:
			a := against(p) // its own inverse
			sum = sum.minus(f.down(a))
			f.arcs[a]--
			x = 2 * g.arcs[a].to
		}
	}
}

// cancelOpposed removes what flows to and fro on one link: it costs nothing less
// than not to, and paths would share the link.
func (f *flow) cancelOpposed() {
	for a, units := range f.arcs {
		b := f.s.g.twin[a]
		if units == 0 || b < int32(a) || f.arcs[b] == 0 {
			continue
		}
		arc := &f.s.g.arcs[a]
		m := min(units, f.arcs[b], f.nodes[arc.from], f.nodes[arc.to])
		f.arcs[a] -= m
		f.arcs[b] -= m
		f.nodes[arc.from] -= m
		f.nodes[arc.to] -= m
	}
}
