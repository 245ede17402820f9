package tunnelmanager

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// PlanState is how far a plan has come.
type PlanState string

// States of a plan.
const (
	PlanProposed   PlanState = "proposed"
	PlanRunning    PlanState = "running"
	PlanDone       PlanState = "done"
	PlanFailed     PlanState = "failed"
	PlanSuperseded PlanState = "superseded"
)

// Plan is what was decided at one time for some demands.
type Plan struct {
	ID     string
	At     time.Time
	Scope  plan.Scope
	State  PlanState
	Reason string
	Actor  string
	// Trigger is what led to it: of its demands, the first.
	Trigger string
	Demands []plan.Outcome
	Signal  []topology.LSP
	// Ops as they were last; never changed in place.
	Ops []Op
	// Began is when it came into force.
	Began time.Time

	unsaved bool      // Ops are newer than in the store
	saved   time.Time // when they were saved last
}

func (p *Plan) clone() *Plan { c := *p; return &c }

// Demand is a demand as the API shows it.
type Demand struct {
	plan.Demand
	Connections int
	Since       time.Time
	State       string
	Reason      string
	Achieved    disjoint.Level
	Shared      disjoint.Shared
	// LSPs of the slots, by direction; nil where none is assigned.
	Assignment plan.Assignment
	Members    []uint64
	// Limits that it is judged by.
	Limits threshold.Limits
}

// PEView is a router as the manager sees it.
type PEView struct {
	PE
	Caps      driver.Capabilities
	Read      bool
	Reachable bool
	LastRead  time.Time
	Err       error
	ErrAt     time.Time
	TEDErr    error
	TEDAt     time.Time
	State     driver.State
	SetsSent  uint64
}

// View is a snapshot of everything that the manager shows. It is never changed.
type View struct {
	At         time.Time
	Mode       Mode
	Limits     threshold.Limits
	Rules      threshold.Rules
	Demands    []Demand            // by ID
	Bindings   []*Binding          // by Name
	ByFlow     map[string]*Binding // by Name
	PEs        []PEView            // by name
	LSPs       []LSPView           // by name, then head end
	TED        *topology.TED
	TEDAt      time.Time
	TEDFrom    TEDSource
	Plans      []*Plan  // oldest first
	Changes    []Change // oldest first
	DemandOf   map[uint64]string
	Owner      string
	EdgeErr    error
	edgeReadOK bool
	counted    map[uint64]uint64 // EdgeState.Bytes
}

// LSPView is an LSP with what uses it.
type LSPView struct {
	topology.LSP
	Owned    bool
	State    string // unknown, down, up, signalling, releasing
	Links    []int  // of the View's TED
	Bindings int
	Demands  []string
	told     bool // by its PE
}

// View gives the last snapshot.
func (m *Manager) View() *View { return m.view.Load() }

// FlowName names the binding of a flow, bound or not.
func (m *Manager) FlowName(f Flow) string { return flowName(m.cfg.Owner, f) }

// publish makes the snapshot that readers see from now on.
func (m *Manager) publish(now time.Time) {
	v := &View{At: now, Mode: m.mode, Limits: m.limits, Rules: m.rules, TED: m.ted, TEDAt: m.tedAt, TEDFrom: m.tedFrom, ByFlow: m.binding, Owner: m.cfg.Owner,
		Changes: m.audit.ring[:len(m.audit.ring):len(m.audit.ring)], DemandOf: map[uint64]string{}, EdgeErr: m.edgeErr, edgeReadOK: m.edgeOK, counted: m.edgeOf.Bytes}
	for _, name := range sortedKeys(m.binding) {
		v.Bindings = append(v.Bindings, m.binding[name])
	}
	for _, p := range m.plans {
		v.Plans = append(v.Plans, p.clone())
	}
	lsps := m.viewLSPs(v, now)
	for i := range m.groups {
		g := &m.groups[i]
		d := m.demands[g.ID]
		if d == nil {
			continue
		}
		o := Demand{Demand: g.Demand, Connections: len(g.members), Since: d.since, State: d.state, Reason: d.reason, Shared: d.outcome.Shared, Limits: g.limits}
		if d.has {
			o.Assignment = d.Assignment
		}
		o.Achieved, o.Shared = m.scoreNow(g, lsps)
		if d.has && d.state == "met" && o.Achieved < g.Level {
			o.State, o.Reason = m.shortOf(g, o.Achieved)
		}
		for _, c := range g.members {
			v.DemandOf[c.ID] = g.ID
			o.Members = append(o.Members, c.ID)
		}
		v.Demands = append(v.Demands, o)
	}
	for _, name := range sortedKeys(m.pes) {
		p := m.pes[name]
		pv := PEView{PE: p.PE, Caps: p.caps, Read: p.read, Reachable: p.reachable, LastRead: p.state.At, Err: p.err, ErrAt: p.errAt,
			TEDErr: p.tedErr, TEDAt: p.tedAt, State: p.state, SetsSent: p.setsSent}
		v.PEs = append(v.PEs, pv)
	}
	if before := m.view.Swap(v); before != nil {
		m.notify(Notice{Views: &Views{before, v}})
	}
}

// viewLSPs fills in the LSPs, and gives them by what identifies them.
func (m *Manager) viewLSPs(v *View, now time.Time) map[topology.LSPKey]*LSPView {
	byKey := map[topology.LSPKey]*LSPView{}
	have := m.reported()
	for id, l := range have {
		lv := LSPView{LSP: l, Owned: strings.HasPrefix(l.Name, m.cfg.Owner), State: l.Oper.String(), told: true}
		if m.ted != nil {
			lv.Links = m.routeOf(l)
		}
		if _, idle := m.wanted[id]; idle && lv.Owned {
			lv.State = "releasing"
		} else if lv.Owned && l.Oper != topology.OperUp && now.Sub(m.asked[id]) < signalGrace {
			lv.State = "signalling"
		}
		v.LSPs = append(v.LSPs, lv)
	}
	for _, l := range m.specs {
		if _, ok := have[l.Key()]; ok {
			continue
		}
		lv := LSPView{LSP: l, Owned: true, State: "signalling"}
		if pe := m.pes[l.Ingress]; pe != nil {
			if h, refused := pe.held[l.Name]; refused {
				lv.State, lv.Reason = "down", h.err.Error()
			}
		}
		v.LSPs = append(v.LSPs, lv)
	}
	slices.SortFunc(v.LSPs, func(a, b LSPView) int { return a.Key().Compare(b.Key()) })
	for i := range v.LSPs {
		byKey[v.LSPs[i].Key()] = &v.LSPs[i]
	}
	type use struct {
		lsp    topology.LSPKey
		demand string
	}
	seen := map[use]bool{}
	for _, b := range v.Bindings {
		if u := byKey[b.lspKey()]; u != nil {
			u.Bindings++
			if k := (use{b.lspKey(), b.Demand}); !seen[k] {
				seen[k] = true
				u.Demands = append(u.Demands, b.Demand)
			}
		}
	}
	return byKey
}

// scoreNow scores a demand by what its flows ride now, as read back: verified
// bindings count with their LSP, all others with the default route.
func (m *Manager) scoreNow(g *demandGroup, lsps map[topology.LSPKey]*LSPView) (disjoint.Level, disjoint.Shared) {
	if m.ted == nil || len(g.slots) == 0 {
		return disjoint.None, disjoint.Shared{}
	}
	level, shared := disjoint.NodeSRLG, disjoint.Shared{}
	for dir, pairs := range [2][]plan.Pair{g.Forward, g.Reverse} {
		var routes [][]int
		for i, s := range g.slots[0] {
			name, _ := m.defaultLSP(pairs[i])
			if b, ok := m.binding[flowName(m.cfg.Owner, s.Flows[dir])]; ok && b.State == BindingVerified {
				name = b.LSP
			}
			l := lsps[topology.LSPKey{Ingress: pairs[i].Ingress, Name: name}]
			if l == nil || !l.told || l.Links == nil {
				return disjoint.None, shared
			}
			routes = append(routes, l.Links)
		}
		if l, sh := disjoint.Score(m.ted, routes); l <= level {
			level, shared = l, sh
		}
	}
	if level > g.Level {
		level = g.Level
	}
	return level, shared
}

// shortOf says why a demand whose plan meets it does not have it: what was planned
// was refused, or has not been read back.
func (m *Manager) shortOf(g *demandGroup, achieved disjoint.Level) (state, reason string) {
	state, reason = "unmet", "the LSPs' routes are "+achieved.String()+"-disjoint only"
	for _, subs := range g.slots {
		for _, s := range subs {
			for _, f := range s.Flows {
				b := m.binding[flowName(m.cfg.Owner, f)]
				if b == nil || b.State == BindingVerified {
					continue
				}
				state, reason = "planned", b.Reason
				if b.State == BindingFailed {
					return "unmet", b.Reason
				}
			}
		}
	}
	return state, reason
}

// addPlan keeps a plan under the next number, which goes on over restarts.
func (m *Manager) addPlan(p *Plan) {
	m.planSeq++
	m.save("plans", m.planSeq)
	p.ID = fmt.Sprintf("p%d", m.planSeq)
	m.plans = append(m.plans, p)
	for ; len(m.plans) > maxPlans; m.plans = m.plans[1:] {
		m.save(planKey(m.plans[0]), nil)
	}
	m.keepPlan(p)
}

// keepPlan keeps a plan that is new or has changed over restarts, and tells of it.
func (m *Manager) keepPlan(p *Plan) {
	m.save(planKey(p), *p.clone())
	m.notify(Notice{Plan: p.clone()})
}
