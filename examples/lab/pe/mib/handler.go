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

	mu    sync.Mutex
	cache []agentx.VarBind
	of    *router.Snapshot
	at    time.Time
}

// New makes the handler of a router.
func New(r *router.Router) *Handler {
	return &Handler{r: r, tables: []table{
		newTunnelTable(r), newHopTable(), newResourceTable(), newFTNTable(), newMapTable(r),
	}}
}

// maxAge of what is shown; counters and times go on while nothing else changes.
const maxAge = time.Second

// vars are all variables in order.
func (h *Handler) vars() []agentx.VarBind {
	h.mu.Lock()
	defer h.mu.Unlock()
	snap := h.r.Snapshot()
	if snap != h.of || time.Since(h.at) > maxAge {
		v := &view{r: h.r, snap: snap, now: time.Now()}
		v.build(h.tables)
		h.cache, h.of, h.at = v.vars, snap, time.Now()
	}
	return h.cache
}

// Get is agentx.Handler's.
func (h *Handler) Get(name agentx.OID) agentx.Value {
	vars := h.vars()
	i, ok := slices.BinarySearchFunc(vars, name, func(vb agentx.VarBind, o agentx.OID) int { return vb.Name.Compare(o) })
	if ok {
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
	vars := h.vars()
	i, ok := slices.BinarySearchFunc(vars, r.Start, func(vb agentx.VarBind, o agentx.OID) int { return vb.Name.Compare(o) })
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
	v.perf()
	v.lsr()
	slices.SortFunc(v.vars, func(a, b agentx.VarBind) int { return a.Name.Compare(b.Name) })
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
