package mib

import (
	"slices"
	"sync"
	"time"

	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/router"
)

// Handler answers for a router.
type Handler struct {
	r      *router.Router
	tables []table

	config, counts cache
}

// New makes the handler of a router.
func New(r *router.Router) *Handler {
	return &Handler{r: r, tables: []table{
		newTunnelTable(r), newHopTable(), newResourceTable(), newFTNTable(), newMapTable(r),
	}}
}

// vars are all variables in order, without the counters.
func (h *Handler) vars() []agentx.VarBind {
	return h.config.get(h.r, func(v *view) { v.build(h.tables) })
}

// perf are the counters. They cost a look at the data plane, so they are made
// for those who ask for them.
func (h *Handler) perf() []agentx.VarBind { return h.counts.get(h.r, (*view).perf) }

// cache keeps variables while their router does not change, at most for a
// second: counters and times go on.
type cache struct {
	mu   sync.Mutex
	vars []agentx.VarBind
	of   *router.Snapshot
	at   time.Time
}

func (c *cache) get(r *router.Router, build func(*view)) []agentx.VarBind {
	c.mu.Lock()
	defer c.mu.Unlock()
	snap := r.Snapshot()
	if snap != c.of || time.Since(c.at) > time.Second {
		v := &view{r: r, snap: snap, now: time.Now()}
		build(v)
		slices.SortFunc(v.vars, func(a, b agentx.VarBind) int { return a.Name.Compare(b.Name) })
		c.vars, c.of, c.at = v.vars, snap, time.Now()
	}
	return c.vars
}

func find(vars []agentx.VarBind, name agentx.OID) (int, bool) {
	return slices.BinarySearchFunc(vars, name, func(vb agentx.VarBind, o agentx.OID) int { return vb.Name.Compare(o) })
}

// Get is agentx.Handler's.
func (h *Handler) Get(name agentx.OID) agentx.Value {
	vars := h.vars()
	for _, p := range perfTables {
		if name.HasPrefix(p) {
			vars = h.perf()
		}
	}
	if i, ok := find(vars, name); ok {
		return vars[i].Value
	}
	for _, t := range h.tables {
		if _, _, known := t.column(name); known {
			return agentx.Value{Type: agentx.NoSuchInstance}
		}
	}
	return agentx.Value{Type: agentx.NoSuchObject}
}

// Next is agentx.Handler's.
func (h *Handler) Next(r agentx.SearchRange) (agentx.VarBind, bool) {
	vb, ok := next(h.vars(), r)
	for _, p := range perfTables {
		behind := r.Start.Compare(p) > 0 && !r.Start.HasPrefix(p)
		if behind || (ok && vb.Name.Compare(p) < 0) {
			continue
		}
		if pvb, found := next(h.perf(), r); found && (!ok || pvb.Name.Compare(vb.Name) < 0) {
			vb, ok = pvb, true
		}
	}
	return vb, ok
}

func next(vars []agentx.VarBind, r agentx.SearchRange) (agentx.VarBind, bool) {
	i, ok := find(vars, r.Start)
	if ok && !r.Include {
		i++
	}
	if i >= len(vars) || (len(r.End) > 0 && vars[i].Name.Compare(r.End) >= 0) {
		return agentx.VarBind{}, false
	}
	return vars[i], true
}

// view collects the variables of a snapshot.
type view struct {
	r    *router.Router
	snap *router.Snapshot
	now  time.Time
	vars []agentx.VarBind
}

func (v *view) add(base agentx.OID, val agentx.Value, sub ...uint32) {
	v.vars = append(v.vars, agentx.VarBind{Name: base.Append(sub...), Value: val})
}

func (v *view) build(tables []table) {
	for _, t := range tables {
		t.show(v)
	}
	v.interfaces()
	v.scalars()
	v.routes()
	v.lsr()
}

// ticks is a time since the router started, in hundredths of a second.
func (v *view) ticks(t time.Time) agentx.Value {
	d := t.Sub(v.r.Started())
	if t.IsZero() || d < 0 {
		d = 0
	}
	return ticks(d)
}

func ticks(d time.Duration) agentx.Value {
	return agentx.Value{Type: agentx.TimeTicks, Num: uint64(uint32(d / (10 * time.Millisecond)))}
}

func truth(b bool) agentx.Value {
	if b {
		return agentx.Int(1)
	}
	return agentx.Int(2)
}

func counter32(n uint64) agentx.Value {
	return agentx.Value{Type: agentx.Counter32, Num: n & 0xffffffff}
}
func counter64(n uint64) agentx.Value { return agentx.Value{Type: agentx.Counter64, Num: n} }
