package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// Planner keeps what a series of plans have in common: the compiled TED, the LSP
// inventory, candidate paths, every demand's choice and the links' load. It has
// no clock, no I/O and no goroutine, and is used by one goroutine at a time.
//
// It plans as if what it planned before has been carried out; build a new one
// when the TED or what the PEs report has changed otherwise.
type Planner struct {
	in        Input
	memo      *Memo
	net       *network
	lsps      map[topology.LSPKey]*lspState
	lspsOf    map[Pair][]*lspState
	pairs     map[Pair]*pairState
	templates []topology.LSP
	shapes    map[string]*shape
	demands   map[string]*demandState
	order     []*demandState                // by ID, then those that came later
	idle      map[topology.LSPKey]*lspState // owned LSPs without users
	touched   map[*demandState]bool
	quick     bool            // one demand at a time: bound the work by milliseconds
	taken     map[string]bool // names of LSPs that are or were in use, anywhere
	effort    int             // of each path search

	load []int64 // bit/s by arc
	over int64   // sum of load beyond capacity
	// total is the price of all choices together.
	total total
	// reserved by new LSPs of this plan and givenBack by owned LSPs that lost their
	// last user, in bit/s by arc.
	reserved, givenBack []float64
	reserving           bool // some template reserves bandwidth
	limited             bool // some limit on new LSPs or reservations is in force
	// avoid are the routes on which an LSP that reserves so much did not come up.
	avoid   map[*route]float64
	newLSPs int // to be signalled by this plan
	newOf   map[Pair]int

	evals int // work done by the search for less overload, in sets looked at
}

// demandState is a demand with what was found out about it.
type demandState struct {
	*Demand
	current Assignment // as given
	halves  [2]*half
	before  disjoint.Level
	// broken: a slot lost the LSP that it is assigned to.
	broken  bool
	refused bool // strict, and less was all there is
}

// half is one direction of a demand.
type half struct {
	d     *demandState
	dir   int
	shape *shape
	order []int // slot of the demand, by slot of the shape
	bw    int64
	// rides is the LSP that the flows of a slot ride now (assigned or by default),
	// nil where it is unknown; keeps is the same where flows may stay there.
	rides, keeps []*lspState
	stay         *set
	before       score
	chosen       *set
	in           bool // counted in load and users
	names        []string
	// limited: the choice is less disjoint than could be had without limits.
	limited bool
}

// New compiles an input.
func New(in Input) (*Planner, error) {
	if in.TED == nil {
		return nil, fmt.Errorf("plan: no topology is known yet")
	}
	memo := in.Memo
	if memo == nil {
		memo = new(Memo)
	}
	memo.reset(in.TED)
	p := &Planner{
		in: in, memo: memo, net: memo.net,
		lsps: make(map[topology.LSPKey]*lspState, len(in.LSPs)), lspsOf: map[Pair][]*lspState{},
		pairs: map[Pair]*pairState{}, shapes: map[string]*shape{}, demands: make(map[string]*demandState, len(in.Demands)),
		taken: make(map[string]bool, len(in.LSPs)), newOf: map[Pair]int{}, idle: map[topology.LSPKey]*lspState{}, touched: map[*demandState]bool{},
		limited: in.MaxNewLSPs > 0 || in.MaxPerPair != nil || len(in.Avoid) > 0, avoid: map[*route]float64{},
	}
	p.load = make([]int64, len(p.net.arcs))
	p.reserved, p.givenBack = make([]float64, len(p.net.arcs)), make([]float64, len(p.net.arcs))
	p.effort = 20_000
	for i := range in.LSPs {
		l := &in.LSPs[i]
		if _, dup := p.lsps[l.Key()]; dup {
			return nil, fmt.Errorf("plan: LSP %q of %s is reported twice", l.Name, l.Ingress)
		}
		s := p.addLSP(*l)
		p.taken[l.Name] = true
		if s.owned {
			p.idle[s.Key()] = s
		}
		if s.owned && s.Bandwidth > 0 && s.route != nil && s.alive { // no users so far
			for _, a := range s.route.arcs {
				p.givenBack[a] += s.Bandwidth
			}
		}
		if !s.owned && s.Bandwidth > 0 && s.route != nil && s.alive {
			for _, a := range s.route.arcs {
				p.addLoad(a, int64(s.Bandwidth))
			}
		}
	}
	for id := range in.Pending {
		p.taken[id.Name] = true
	}
	for _, a := range in.Current {
		for _, names := range [2][]string{a.Forward, a.Reverse} {
			for _, name := range names {
				p.taken[name] = true
			}
		}
	}
	for i := range in.Avoid {
		l := in.Avoid[i]
		l.RRO = nil
		if r := p.net.routeOf(&l); r != nil {
			if least, ok := p.avoid[r]; !ok || l.Bandwidth < least {
				p.avoid[r] = l.Bandwidth
			}
		}
	}
	for i := range in.Demands {
		if _, err := p.take(&in.Demands[i], in.Current[in.Demands[i].ID]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(p.order, func(a, b *demandState) int { return cmp.Compare(a.ID, b.ID) })
	return p, nil
}

// take checks a demand and counts what it rides now.
func (p *Planner) take(d *Demand, current Assignment) (*demandState, error) {
	if d.ID == "" {
		return nil, fmt.Errorf("plan: a demand has no ID")
	}
	if _, dup := p.demands[d.ID]; dup {
		return nil, fmt.Errorf("plan: demand %q is given twice", d.ID)
	}
	if int(d.Level) >= len(ladders) {
		return nil, fmt.Errorf("plan: demand %q: unknown disjointness %d", d.ID, d.Level)
	}
	if int(d.Metric) >= len(costs{}) {
		return nil, fmt.Errorf("plan: demand %q: unknown metric %d", d.ID, d.Metric)
	}
	if d.Bandwidth < 0 || math.IsNaN(d.Bandwidth) || math.IsInf(d.Bandwidth, 0) {
		return nil, fmt.Errorf("plan: demand %q: bandwidth %v: want bit/s from 0", d.ID, d.Bandwidth)
	}
	ds := &demandState{Demand: d, current: current}
	cons := d.Constraints
	t := &d.Template
	cons.IncludeAny |= t.IncludeAny
	cons.IncludeAll |= t.IncludeAll
	cons.ExcludeAny |= t.ExcludeAny
	template := p.template(*t)
	p.reserving = p.reserving || t.Bandwidth > 0
	p.limited = p.limited || p.reserving || d.NoNew
	for dir, slots := range [2][]Pair{d.Forward, d.Reverse} {
		h, err := p.newHalf(ds, dir, slots, cons, template)
		if err != nil {
			return nil, fmt.Errorf("plan: demand %q: %w", d.ID, err)
		}
		ds.halves[dir] = h
		p.put(h, h.stay)
	}
	ds.before = worse(d.Level, ds.halves[0].before.level(d.Level), ds.halves[1].before.level(d.Level))
	p.demands[d.ID] = ds
	p.order = append(p.order, ds)
	return ds, nil
}

func (p *Planner) newHalf(ds *demandState, dir int, slots []Pair, cons disjoint.Constraints, template int32) (*half, error) {
	h := &half{d: ds, dir: dir, bw: int64(math.Round(ds.Bandwidth)), order: make([]int, len(slots))}
	pairs := make([]*pairState, len(slots))
	for i, q := range slots {
		ps, err := p.pair(q)
		if err != nil {
			return nil, err
		}
		pairs[i], h.order[i] = ps, i
	}
	slices.SortStableFunc(h.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(pairs[a].from, pairs[b].from), cmp.Compare(pairs[a].to, pairs[b].to))
	})
	sorted := make([]*pairState, len(slots))
	for i, slot := range h.order {
		sorted[i] = pairs[slot]
	}
	h.shape = p.shapeOf(sorted, goal{ds.Level, ds.Metric}, cons, template)
	h.rides, h.keeps = make([]*lspState, len(slots)), make([]*lspState, len(slots))
	h.names = make([]string, len(slots))
	routes := make([]*route, len(slots))
	names := [2][]string{ds.current.Forward, ds.current.Reverse}[dir]
	for i, slot := range h.order {
		ps := sorted[i]
		var l *lspState
		if slot < len(names) && names[slot] != "" {
			l = p.lsps[topology.LSPKey{Ingress: ps.Ingress, Name: names[slot]}]
			if l == nil || !l.alive || l.Egress != ps.Egress {
				l = nil
				ds.broken = true
			} else {
				h.names[i] = l.Name
			}
		}
		if l == nil {
			l = ps.byDefault
			routes[i] = ps.defaultRoute
		} else {
			routes[i] = l.route
		}
		h.rides[i] = l
		if l != nil && l.route != nil && (l.usable || h.names[i] != "") && p.net.pathFits(l.route, &h.shape.cons) {
			h.keeps[i] = l
		}
	}
	h.stay = &set{stay: true, routes: routes}
	h.stay.count(h.shape.metric)
	h.before = p.net.rate(h.shape.goal, routes)
	return h, nil
}

func (p *Planner) addLoad(a int32, bw int64) {
	c := p.net.arcs[a].capacity
	if c < 0 {
		return
	}
	was := max(0, p.load[a]-c)
	p.load[a] += bw
	p.over += max(0, p.load[a]-c) - was
}

// put makes a set the choice of a half and counts it.
func (p *Planner) put(h *half, s *set) {
	h.chosen, h.in = s, true
	p.touched[h.d] = true
	p.tally(h, s, 1)
}

// lift takes a half out of the count.
func (p *Planner) lift(h *half) {
	if h.in {
		h.in = false
		p.tally(h, h.chosen, -1)
	}
}

func (p *Planner) tally(h *half, s *set, sign int) {
	if h.bw > 0 {
		for _, u := range s.arcs {
			p.addLoad(u.arc, int64(sign)*int64(u.uses)*h.bw)
		}
	}
	p.total.over = p.over
	p.total.cost[h.shape.metric] += int64(sign) * s.cost
	if s.stay {
		for i, name := range h.names {
			if name != "" {
				p.use(h.rides[i], sign)
			}
		}
		return
	}
	for i, c := range s.carriers {
		if j := h.keptOn(s, i); j >= 0 {
			p.use(h.keeps[j], sign)
			continue
		}
		p.total.changes += sign
		if len(c.existing) > 0 {
			p.use(c.existing[0], sign)
			continue
		}
		was := c.fresh
		c.fresh += sign
		if (was == 0) != (c.fresh == 0) {
			p.countNew(c, sign)
			p.total.changes += sign
		}
	}
}

// keptOn gives the slot of the half whose flows ride already what slot i of a set
// would give them, so that nothing moves; -1 where there is none.
func (h *half) keptOn(s *set, i int) int {
	c := s.carriers[i]
	// The n-th slot of the set on this route goes with the n-th slot that rides it.
	n := 0
	for _, o := range s.carriers[:i] {
		if o == c {
			n++
		}
	}
	for j, l := range h.keeps {
		if l != nil && l.route == c.route && h.shape.pairs[j] == c.pair {
			if n == 0 {
				return j
			}
			n--
		}
	}
	return -1
}

// countNew counts an LSP that has to be signalled, or no longer has to.
func (p *Planner) countNew(c *carrier, sign int) {
	p.newLSPs += sign
	p.newOf[c.pair.Pair] += sign
	if sign > 0 {
		c.pair.learn(c.route)
	}
	if bw := p.templates[c.template].Bandwidth; bw > 0 {
		for _, a := range c.route.arcs {
			p.reserved[a] += float64(sign) * bw
		}
	}
}

// price is what a half's choice costs, in the order of the objective after disjointness.
type price struct {
	over    int64
	changes int
	cost    int64
}

func (a price) less(b price) bool {
	if a.over != b.over {
		return a.over < b.over
	}
	if a.changes != b.changes {
		return a.changes < b.changes
	}
	return a.cost < b.cost
}

// total is the price of all choices together.
type total struct {
	over    int64
	changes int
	cost    costs
}

// less tells whether a is better than b. Costs in different metrics are not weighed
// against each other: none may be higher.
func (a total) less(b total) bool {
	if a.over != b.over {
		return a.over < b.over
	}
	if a.changes != b.changes {
		return a.changes < b.changes
	}
	for m, c := range a.cost {
		if c > b.cost[m] {
			return false
		}
	}
	return a.cost != b.cost
}

// price of a set for a half that is lifted.
func (p *Planner) price(h *half, s *set) price {
	p.evals++
	pr := price{cost: s.cost}
	if h.bw > 0 {
		for _, u := range s.arcs {
			c := p.net.arcs[u.arc].capacity
			if c < 0 {
				continue
			}
			l := p.load[u.arc]
			pr.over += max(0, l+int64(u.uses)*h.bw-c) - max(0, l-c)
		}
	}
	if !s.stay {
		pr.changes = p.changes(h, s)
	}
	return pr
}

// changes counts the slots that move and the LSPs that have to be signalled.
func (p *Planner) changes(h *half, s *set) int {
	n := 0
	for i, c := range s.carriers {
		if h.keptOn(s, i) >= 0 {
			continue
		}
		n++
		if len(c.existing) == 0 && c.fresh == 0 && !slices.Contains(s.carriers[:i], c) {
			n++
		}
	}
	return n
}

// feasible tells whether a set keeps the limits on new LSPs and reservations, and
// asks for none that did not come up before; the half is lifted.
func (p *Planner) feasible(h *half, s *set) bool {
	if !p.limited {
		return true
	}
	fresh := 0
	for i, c := range s.carriers {
		if !p.isNew(h, s, i) {
			continue
		}
		if least, ok := p.avoid[c.route]; h.d.NoNew || ok && p.templates[c.template].Bandwidth >= least {
			return false
		}
		fresh++
		if m := p.in.MaxPerPair; m != nil {
			if limit := m(c.pair.Pair); limit > 0 && p.owned(c.pair)+p.newOf[c.pair.Pair]+fresh > limit {
				return false
			}
		}
	}
	if fresh > 0 && p.in.MaxNewLSPs > 0 && p.newLSPs+fresh > p.in.MaxNewLSPs {
		return false
	}
	return !p.reserving || p.reservable(h, s)
}

// isNew tells whether slot i of a set is the first that needs a new LSP there.
func (p *Planner) isNew(h *half, s *set, i int) bool {
	c := s.carriers[i]
	return len(c.existing) == 0 && c.fresh == 0 && !slices.Contains(s.carriers[:i], c) && h.keptOn(s, i) < 0
}

// owned counts the owned LSPs that a pair has; those without users too, for they
// are released late.
func (p *Planner) owned(ps *pairState) int {
	n := 0
	for _, l := range ps.lsps {
		if l.owned && !l.planned {
			n++
		}
	}
	return n
}

// reservable tells whether there is bandwidth for the new LSPs of a set, and still
// for those that lost their users and would be used again: theirs may have been
// promised to others.
func (p *Planner) reservable(h *half, s *set) bool {
	var need reservations
	if s.stay {
		for i, name := range h.names {
			if name != "" {
				need.again(h.rides[i])
			}
		}
	}
	for i, c := range s.carriers {
		if j := h.keptOn(s, i); j >= 0 {
			need.again(h.keeps[j])
		} else if len(c.existing) > 0 {
			need.again(c.existing[0])
		} else if p.isNew(h, s, i) {
			t := &p.templates[c.template]
			need = append(need, reservation{nil, c.route, t.Bandwidth, t.SetupPriority})
		}
	}
	for i, n := range need {
		for _, a := range n.route.arcs {
			want := n.bandwidth
			for _, o := range need[:i] {
				if slices.Contains(o.route.arcs, a) {
					want += o.bandwidth
				}
			}
			if n.bandwidth > 0 && p.free(a, n.priority) < want {
				return false
			}
		}
	}
	return true
}

type reservation struct {
	lsp       *lspState // nil for a new one
	route     *route
	bandwidth float64
	priority  uint8
}

type reservations []reservation

// again notes an LSP that is given up so far, and would be used again.
func (rs *reservations) again(l *lspState) {
	if !l.owned || l.planned || l.users > 0 || l.Bandwidth == 0 || l.route == nil {
		return
	}
	if !slices.ContainsFunc(*rs, func(r reservation) bool { return r.lsp == l }) {
		*rs = append(*rs, reservation{l, l.route, l.Bandwidth, l.SetupPriority})
	}
}

// pick gives the cheapest candidate of a half that is lifted; nil where none keeps
// the limits. The stay set, where it is as good, is a candidate too.
func (p *Planner) pick(h *half) *set {
	s := h.shape
	var best *set
	var least price
	try := func(st *set) {
		if !p.feasible(h, st) {
			return
		}
		if pr := p.price(h, st); best == nil || pr.less(least) {
			best, least = st, pr
		}
	}
	if s.none {
		return nil
	}
	switch c := h.before.compare(s.best); {
	case c < 0 && p.feasible(h, h.stay): // only where flows share a route, and two routes would share more
		return h.stay
	case c == 0:
		try(h.stay)
	}
	for _, st := range p.candidates(s) {
		try(st)
	}
	return best
}
