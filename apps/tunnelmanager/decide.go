package tunnelmanager

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/topology"
)

// decide asks for a plan when something it depends on has changed, and takes
// over what the thresholds and the mode allow.
func (m *Manager) decide(now time.Time, w *wake) {
	demands, fresh := m.admit(now, w)
	if !m.again.IsZero() && !now.Before(m.again) {
		m.dirty, m.again = true, time.Time{}
	}
	m.dirty = m.dirty || fresh
	if !m.dirty {
		w.by(m.again)
		return
	}
	if m.ted == nil { // asked again when there is one
		for i := range demands {
			d := m.demands[demands[i].ID]
			d.state, d.reason = "waiting", "no topology: no source tells one; mpbox pe list and mpbox status say why"
		}
		return
	}
	// Those of PEs that have not been read are left out: the reading is news.
	demands = slices.DeleteFunc(demands, func(d plan.Demand) bool { return !m.allRead(&d) || m.outside(&d) })
	m.dirty, m.again = false, time.Time{}
	if len(demands) == 0 {
		return
	}
	scope := plan.Incremental
	if m.mode == Observe {
		scope = plan.Evaluate
	}
	res, err := m.plan(scope, demands)
	if err != nil {
		m.log.Error("planning failed", zap.Error(err))
		m.record(now, Change{Action: "plan", Subject: "all demands", Detail: err.Error(), Result: ResultFailed})
		return
	}
	m.weigh(now, scope, res, w)
}

// outside tells whether the topology lacks a PE of a demand, and has the demand say
// so: no plan can be made for it, and it must not hold up the others. What is in
// force stays so.
func (m *Manager) outside(d *plan.Demand) bool {
	for _, pair := range slices.Concat(d.Forward, d.Reverse) {
		for _, pe := range [2]string{pair.Ingress, pair.Egress} {
			if _, ok := m.ted.NodeIndex(pe); !ok {
				s := m.demands[d.ID]
				s.state, s.reason = "waiting", "PE "+pe+" is not in the topology: is its router_id its MPLS-TE router id there?"
				return true
			}
		}
	}
	return false
}

// admit gives the demands that a plan may be made for: those that have an
// assignment, and those that the thresholds let in now. fresh tells that one of
// them was not let in before.
func (m *Manager) admit(now time.Time, w *wake) (out []plan.Demand, fresh bool) {
	for i := range m.groups {
		g, d := &m.groups[i], m.demands[m.groups[i].ID]
		if !d.has && m.mode != Observe {
			if why, until := m.notYet(g, now); why != "" {
				d.state, d.reason, d.let = "waiting", why, false
				w.by(until)
				continue
			}
			if !d.let {
				d.state, d.reason, d.let, fresh = "planned", "", true, true
			}
		}
		out = append(out, g.Demand)
	}
	return out, fresh
}

// notYet says why a demand is not planned for now, and when to look again; a zero
// time if only news can change it.
func (m *Manager) notYet(g *demandGroup, now time.Time) (string, time.Time) {
	d := threshold.Demand{Members: len(g.members), LastJoin: g.youngest}
	why := ""
	for i, c := range g.members {
		v := g.limits.Counts(countable(c, g.slots[i], g.limits, m.attachments, m.edgeOf.Bytes), now)
		if v.OK {
			d.Connections++
			continue
		}
		why = ": " + v.Reason
		if !v.Until.IsZero() && (d.Next.IsZero() || v.Until.Before(d.Next)) {
			d.Next = v.Until
		}
	}
	v := g.limits.Admit(d, now)
	if v.OK || d.Connections >= g.limits.MinConnections {
		why = ""
	}
	return v.Reason + why, v.Until
}

// plan asks the planner, with the LSPs as they are and those on their way.
func (m *Manager) plan(scope plan.Scope, demands []plan.Demand) (plan.Result, error) {
	in := plan.Input{
		Scope: scope, Owner: m.cfg.Owner, TED: m.ted, LSPs: m.planLSPs(), Demands: demands,
		Current: map[string]plan.Assignment{}, Default: m.defaultLSP, Memo: &m.memo,
	}
	for name := range m.pes {
		if m.maxLSPs(plan.Pair{Ingress: name}) > 0 {
			in.MaxPerPair = m.maxLSPs // only where it limits: planning then takes longer
		}
	}
	for i := range demands {
		s := m.demands[demands[i].ID]
		if s.has {
			in.Current[demands[i].ID] = s.Assignment
		}
		demands[i].NoNew = !s.retry.until.IsZero()
	}
	in.Avoid = m.avoid()
	return plan.Plan(in)
}

// maxLSPs is how many LSPs of a pair the ingress can tell apart; 0 for no limit.
func (m *Manager) maxLSPs(p plan.Pair) int {
	n := 0
	if pe := m.pes[p.Ingress]; pe != nil {
		n = pe.caps.MaxSlots
	}
	if m.steer[p.Ingress] == SteerClass && (n == 0 || n > len(classValues)) {
		n = len(classValues)
	}
	return n
}

// planLSPs are the LSPs that a plan may count on: those that are up, those that
// were just asked for or will be, and the rest as down.
func (m *Manager) planLSPs() []topology.LSP {
	now := time.Now()
	have := m.reported()
	var out []topology.LSP
	for _, id := range sortedLSPs(have) {
		l := have[id]
		if spec, ok := m.specOf(l); ok {
			l.Bandwidth, l.ERO = spec.Bandwidth, spec.ERO
			if l.Oper != topology.OperUp && now.Sub(m.asked[id]) < signalGrace && m.intact(spec) {
				l.Oper, l.RRO = topology.OperUp, nil
			} else if l.Oper == topology.OperUp && !m.intact(spec) {
				l.Oper = topology.OperDown // the head end has not noticed yet
			}
		}
		if !m.mayRide(l) {
			continue
		}
		out = append(out, l)
	}
	assigned := map[string]bool{}
	for _, d := range m.demands {
		for _, name := range slices.Concat(d.Assignment.Forward, d.Assignment.Reverse) {
			assigned[name] = true
		}
	}
	for _, name := range sortedKeys(m.specs) {
		l := m.specs[name]
		if _, ok := have[l.Key()]; ok || !assigned[name] {
			continue // released, where nobody wants it
		}
		l.Oper = topology.OperDown
		if pe := m.pes[l.Ingress]; pe != nil && m.intact(l) && !m.avoided(l) {
			if _, refused := pe.held[name]; !refused {
				l.Oper = topology.OperUp
			}
		}
		out = append(out, l)
	}
	return out
}

// mayRide tells whether slots may be given an LSP: ours, the pair's default, or
// another's where the PE can bind to it without changing it.
func (m *Manager) mayRide(l topology.LSP) bool {
	if strings.HasPrefix(l.Name, m.cfg.Owner) {
		return true
	}
	if name, ok := m.defaultLSP(plan.Pair{Ingress: l.Ingress, Egress: l.Egress}); ok && name == l.Name {
		return true
	}
	pe := m.pes[l.Ingress]
	return pe != nil && pe.caps.BindForeign
}

// intact tells whether all the links of an LSP's intended route are there.
func (m *Manager) intact(spec topology.LSP) bool {
	if m.ted == nil || len(spec.ERO) == 0 {
		return true
	}
	links, err := m.ted.Route(spec.Ingress, spec.ERO)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(links, func(i int) bool { return m.ted.Links()[i].Down })
}

// weigh decides, demand by demand, whether to take over what was planned.
func (m *Manager) weigh(now time.Time, scope plan.Scope, res plan.Result, w *wake) {
	signal := map[string]topology.LSP{}
	for _, l := range res.Signal {
		signal[l.Name] = l
	}
	p := &Plan{At: now, Scope: scope, State: PlanProposed}
	up := m.up()
	for _, o := range res.Demands {
		d, g := m.demands[o.ID], m.groupOf(o.ID)
		if d == nil || g == nil {
			continue
		}
		d.outcome = o
		if scope == plan.Evaluate {
			d.state, d.reason = demandVerdict(o, o.Before), o.Unmet
			continue
		}
		if d.has && sameAssignment(d.Assignment, o.Assignment) {
			d.level = o.After
			d.state, d.reason = demandVerdict(o, o.After), m.whyUnmet(g, o)
			continue
		}
		// A path that failed and was re-routed by its head end may share what it did
		// not share before: that is a failure too.
		broken := broken(&g.Demand, d.Assignment, up) || d.has && o.Before < d.level
		worth := g.limits.Worth(o.Gain, o.After > o.Before, broken)
		switch {
		case !worth.OK:
			d.state, d.reason = "waiting", worth.Reason
			continue
		case !broken && d.has && now.Before(g.youngest.Add(g.limits.Settle)):
			// A group grows: looked at again when it has settled.
			m.putOff(g.youngest.Add(g.limits.Settle), w)
			continue
		case !broken && d.has && (moves(d.Assignment, o.Assignment) || d.emptied && fills(d.Assignment, o.Assignment)) && !d.moved.IsZero() && now.Sub(d.moved) < g.limits.HoldDown:
			until := d.moved.Add(g.limits.HoldDown)
			if d.state != "held" {
				m.record(now, Change{Action: "hold-down", Subject: o.ID, Result: ResultSkipped,
					Detail: fmt.Sprintf("moved %s ago; not moved again before %s", now.Sub(d.moved).Round(time.Millisecond), until.Format(time.RFC3339))})
			}
			d.state, d.reason = "held", "hold-down until "+until.Format(time.RFC3339)
			m.putOff(until, w)
			continue
		}
		if p.Trigger == "" {
			p.Trigger = "demand " + o.ID + whyNow(d.has, broken)
		}
		p.Demands = append(p.Demands, o)
		if m.mode == Suggest && d.has { // what it has now, not what it had when that was approved
			d.state, d.reason = demandVerdict(o, o.Before), "another plan waits for approval"
		}
	}
	if len(p.Demands) == 0 {
		return
	}
	for _, o := range p.Demands {
		for _, name := range slices.Concat(o.Assignment.Forward, o.Assignment.Reverse) {
			if l, ok := signal[name]; ok && !slices.ContainsFunc(p.Signal, func(x topology.LSP) bool { return x.Name == name }) {
				p.Signal = append(p.Signal, l)
			}
		}
	}
	p.Ops = m.opsOf(p, res)
	if m.mode == Suggest {
		m.propose(now, p)
		return
	}
	m.addPlan(p)
	m.accept(now, p, "mpbox")
}

// whyNow says why a demand is planned for.
func whyNow(has, broken bool) string {
	switch {
	case !has:
		return " is new"
	case broken:
		return " lost a path"
	}
	return " can have better ones"
}

// putOff has a plan made at t at the latest, without news.
func (m *Manager) putOff(t time.Time, w *wake) {
	if m.again.IsZero() || t.Before(m.again) {
		m.again = t
	}
	w.by(t)
}

// propose keeps a plan for approval, unless the same one waits already.
func (m *Manager) propose(now time.Time, p *Plan) {
	for _, old := range m.plans {
		if old.State != PlanProposed {
			continue
		}
		if slices.EqualFunc(old.Demands, p.Demands, func(a, b plan.Outcome) bool { return a.ID == b.ID && sameAssignment(a.Assignment, b.Assignment) }) &&
			slices.EqualFunc(old.Signal, p.Signal, func(a, b topology.LSP) bool { return a.Name == b.Name && slices.Equal(a.ERO, b.ERO) }) {
			return
		}
		m.supersede(old, "the network or the demands changed")
	}
	m.addPlan(p)
	m.record(now, Change{Action: "plan", Subject: p.ID, Plan: p.ID, Result: ResultOK, Detail: "proposed: waits for approval"})
}

// accept puts a plan into force: from here on reconcile brings it about. Other
// proposals were made without it, and may give its names to other routes.
func (m *Manager) accept(now time.Time, p *Plan, actor string) {
	p.State, p.Actor, p.Began = PlanRunning, actor, now
	for _, old := range m.plans {
		if old.State == PlanProposed {
			m.supersede(old, p.ID+" came into force")
		}
	}
	for _, l := range p.Signal {
		m.specs[l.Name] = l
		m.saveSpec(l.Name, &l)
	}
	for _, o := range p.Demands {
		d := m.demands[o.ID]
		if d == nil {
			continue
		}
		if !d.has || moves(d.Assignment, o.Assignment) {
			d.moved, d.emptied = now, d.has && fills(o.Assignment, d.Assignment)
		}
		d.Assignment, d.has, d.level = o.Assignment, true, o.After
		d.state, d.reason = demandVerdict(o, o.After), m.whyUnmet(m.groupOf(o.ID), o)
		m.saveDemand(o.ID, d)
		m.record(now, Change{Actor: actor, Action: "plan", Subject: o.ID, Plan: p.ID, Result: ResultOK,
			Detail: fmt.Sprintf("disjointness %s -> %s (%s requested), gain %.2f, forward %s, reverse %s", o.Before, o.After, o.Requested, o.Gain,
				slotNames(o.Assignment.Forward), slotNames(o.Assignment.Reverse))})
	}
	m.keepPlan(p)
	m.log.Info("plan in force", zap.String("plan", p.ID), zap.Int("demands", len(p.Demands)), zap.Int("signal", len(p.Signal)))
}

// slotNames lists the LSPs of slots for people.
func slotNames(lsps []string) string {
	out := slices.Clone(lsps)
	for i, name := range out {
		if name == "" {
			out[i] = "-"
		}
	}
	return strings.Join(out, " ")
}

// up tells which LSPs a plan may count on.
func (m *Manager) up() map[topology.LSPKey]bool {
	up := map[topology.LSPKey]bool{}
	for _, l := range m.planLSPs() {
		up[l.Key()] = l.Oper == topology.OperUp
	}
	return up
}

// broken tells whether a slot's LSP is known to be gone or down: then hold-down
// and gain do not count.
func broken(d *plan.Demand, a plan.Assignment, up map[topology.LSPKey]bool) bool {
	down := false
	eachLSP(d, a, func(k topology.LSPKey) { down = down || !up[k] })
	return down
}

// moves tells whether a slot that has an LSP gets another. Filling an empty slot moves
// nothing, and hold-down does not count, unless its LSP was lost.
func moves(from, to plan.Assignment) bool {
	return anySlot(from, to, func(was, is string) bool { return was != "" && is != was })
}

// fills tells whether a slot that has no LSP gets one.
func fills(from, to plan.Assignment) bool {
	return anySlot(from, to, func(was, is string) bool { return was == "" && is != "" })
}

func anySlot(from, to plan.Assignment, f func(was, is string) bool) bool {
	for _, d := range [][2][]string{{from.Forward, to.Forward}, {from.Reverse, to.Reverse}} {
		for i, name := range d[0] {
			if i < len(d[1]) && f(name, d[1][i]) {
				return true
			}
		}
	}
	return false
}

// groupOf gives the connections of a demand; nil where none is left.
func (m *Manager) groupOf(demand string) *demandGroup {
	i, ok := slices.BinarySearchFunc(m.groups, demand, func(g demandGroup, id string) int { return strings.Compare(g.ID, id) })
	if !ok {
		return nil
	}
	return &m.groups[i]
}

func sameAssignment(a, b plan.Assignment) bool {
	return slices.Equal(a.Forward, b.Forward) && slices.Equal(a.Reverse, b.Reverse)
}
