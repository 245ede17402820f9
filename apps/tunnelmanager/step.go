package tunnelmanager

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// step looks at everything once and does what can be done now. It gives the time
// at which something more may have to be done without news.
func (m *Manager) step(now time.Time, edge chan<- []EdgeRule) (next time.Time) {
	w := wake{now: now, at: now.Add(time.Second)}
	m.groups = group(m.conns, groupInput{now: now, attachments: m.attachments, policies: m.cfg.Policies, limits: m.limitsOf})
	m.keepSlots(now)
	m.backOff(now, &w)
	m.decide(now, &w)
	m.reconcile(now, edge, &w)
	m.judge(now)
	m.publish(now)
	return w.at
}

// wake collects the earliest time at which to look again.
type wake struct{ now, at time.Time }

func (w *wake) by(t time.Time) {
	if t.After(w.now) && t.Before(w.at) {
		w.at = t
	}
}

// keepSlots gives a demand that is new what its flows ride already: a connection
// that gained or lost a subflow has another signature, and keeps its slots. It
// also ages demands that nothing stands behind.
func (m *Manager) keepSlots(now time.Time) {
	seen := map[string]bool{}
	for i := range m.groups {
		g := &m.groups[i]
		seen[g.ID] = true
		d := m.demands[g.ID]
		if d == nil {
			d = &demandState{since: now, state: "waiting"}
			m.demands[g.ID] = d
			m.dirty = true
		}
		d.demand = g.Demand
		if !d.empty.IsZero() {
			d.empty, m.dirty = time.Time{}, true
		}
		if d.has {
			continue
		}
		if a, ok := m.riding(g); ok {
			d.Assignment, d.has, d.moved = a, true, now
			m.saveDemand(g.ID, d)
			m.dirty = true
		}
	}
	for id, d := range m.demands {
		if seen[id] {
			continue
		}
		limits := m.limitsOf(&d.demand)
		if d.empty.IsZero() {
			d.empty = now
			if d.has {
				m.record(now, Change{Action: "release-delay", Subject: id, Result: ResultOK,
					Detail: "no connection left; its LSPs are released in " + limits.ReleaseDelay.String()})
			}
		}
		if limits.MayRelease(d.empty, now).OK {
			delete(m.demands, id)
			m.saveDemand(id, nil)
			m.dirty = true
		}
	}
}

// riding gives the assignment that the bindings of a group's members amount to.
func (m *Manager) riding(g *demandGroup) (plan.Assignment, bool) {
	for _, subs := range g.slots {
		a := plan.Assignment{Forward: make([]string, len(subs)), Reverse: make([]string, len(subs))}
		any := false
		for i, s := range subs {
			a.Forward[i], a.Reverse[i] = m.ride(flowName(m.cfg.Owner, s.Flows[C2S])), m.ride(flowName(m.cfg.Owner, s.Flows[S2C]))
			any = any || a.Forward[i] != "" || a.Reverse[i] != ""
		}
		if any {
			return a, true
		}
	}
	return plan.Assignment{}, false
}

// ride tells which LSP a flow is bound to; after a restart, was bound to before.
func (m *Manager) ride(name string) string {
	if b, ok := m.binding[name]; ok {
		return b.LSP
	}
	return m.rode[name]
}

// reconcile derives what should be there, and hands each idle PE and the edge the
// next step towards it. In observe mode nothing is handed out.
func (m *Manager) reconcile(now time.Time, edge chan<- []EdgeRule, w *wake) {
	have := m.reported()
	assignments := map[string]plan.Assignment{}
	for id, d := range m.demands {
		if d.has {
			assignments[id] = d.Assignment
		}
	}
	m.want = desire(desireInput{
		owner: m.cfg.Owner, groups: m.groups, assignments: assignments, specs: m.specs, attachments: m.attachments, networks: m.networks,
		steer: m.steer, classes: m.classes, ride: m.ride, read: func(pe string) bool { return m.pes[pe] != nil && m.pes[pe].read },
		isDefault: func(p plan.Pair, name string) bool { l, ok := m.defaultLSP(p); return ok && l == name },
	})
	// A demand that just lost its last connection keeps its LSPs for a while.
	used := map[topology.LSPKey]lspUse{}
	for id, a := range assignments {
		for _, name := range slices.Concat(a.Forward, a.Reverse) {
			if spec, ok := m.specs[name]; ok {
				put(m.want.lsps, spec.Ingress, name, spec)
				used[spec.Key()] = used[spec.Key()].by(m.demands[id])
			}
		}
	}
	for id, u := range used {
		m.uses[id] = u
		delete(m.wanted, id)
	}
	if m.mode == Observe {
		return
	}
	m.dropSpecs()
	m.forgetNames(have, now)
	m.flush(now)
	for _, name := range sortedKeys(m.pes) {
		m.reconcilePE(m.pes[name], have, now, w)
	}
	m.reconcileEdge(m.edgeRules(), now, edge, w)
	ridden := map[topology.LSPKey]bool{}
	for _, b := range m.want.bindings {
		ridden[b.lspKey()] = true
	}
	m.classes.retain(func(p plan.Pair, lsp string, dscp uint8) bool {
		if ridden[topology.LSPKey{Ingress: p.Ingress, Name: lsp}] {
			return true
		}
		pe := m.pes[p.Ingress]
		return pe != nil && slices.ContainsFunc(pe.state.FTNs, func(f topology.FTN) bool { return f.LSP == lsp && f.FEC.HasDSCP && f.FEC.DSCP == dscp })
	})
	if m.classes.changed {
		m.classes.changed = false
		m.save("classes", m.classes.list())
	}
}

func (m *Manager) reconcilePE(p *peState, have map[topology.LSPKey]topology.LSP, now time.Time, w *wake) {
	for name, h := range p.held {
		if !now.Before(h.until) {
			delete(p.held, name)
			m.dirty = true
		} else {
			w.by(h.until)
		}
	}
	if p.busy || !p.read || !p.reachable || !m.settled(p) {
		return
	}
	for _, l := range p.state.LSPs {
		if _, ok := m.want.lsps[p.Name][l.Name]; ok || !strings.HasPrefix(l.Name, m.cfg.Owner) {
			continue
		}
		if _, ok := m.wanted[l.Key()]; !ok {
			m.wanted[l.Key()] = m.uses[l.Key()].ended(now)
		}
		w.by(m.mayRelease(l, now).Until)
	}
	ops := diff(diffInput{
		owner: m.cfg.Owner, want: m.want.lsps[p.Name], ftns: m.want.ftns[p.Name], have: p.state,
		usable: m.usable, marked: m.marked, mayRelease: func(l topology.LSP) bool { return m.mayRelease(l, now).OK },
		held: func(name string) bool { _, ok := p.held[name]; return ok },
	})
	ops = m.afford(p, ops, have, now, w)
	if len(ops) == 0 {
		m.watchSignalled(p, now, w)
		return
	}
	p.busy = true
	p.worker.ops <- ops
	for _, op := range ops {
		if s, ok := op.(driver.Signal); ok {
			m.asked[s.LSP.Key()] = now
			w.by(now.Add(signalGrace))
		}
	}
}

// afford gives those of a PE's operations that this minute has room for. LSPs and
// what moves off one that is not usable may take all of it; other bindings leave a
// tenth of it free and tidying up a quarter, so that a repair need not wait for them.
// An atomic driver is given few at a time: all of them are lost with the session. No
// operation needs one that comes after it, so the rest can wait for the next visit.
func (m *Manager) afford(p *peState, ops []driver.Op, have map[topology.LSPKey]topology.LSP, now time.Time, w *wake) []driver.Op {
	rides := map[string]string{}
	for _, f := range p.state.FTNs {
		rides[f.Name] = f.LSP
	}
	most := len(ops)
	if p.caps.Atomic {
		most = min(most, maxCommit)
	}
	var out []driver.Op
	for _, op := range ops {
		if len(out) == most {
			break
		}
		percent := 75
		switch o := op.(type) {
		case driver.Signal:
			percent = 100
		case driver.Bind:
			percent = 90
			if lsp, bound := rides[o.FTN.Name]; bound && !m.usable(have[topology.LSPKey{Ingress: p.Name, Name: lsp}]) {
				percent = 100
			}
		}
		room := (m.limits.MaxOpsPerMinute*percent + 99) / 100
		if m.budget.Take(now, 1, room) == 0 {
			w.by(m.budget.Next(now, room))
			continue
		}
		out = append(out, op)
	}
	return out
}

// forgetNames drops what was noted of LSPs that no PE has.
func (m *Manager) forgetNames(have map[topology.LSPKey]topology.LSP, now time.Time) {
	for id := range m.wanted {
		if _, ok := have[id]; !ok {
			delete(m.wanted, id)
		}
	}
	for id := range m.uses {
		if _, ok := have[id]; !ok {
			delete(m.uses, id)
		}
	}
	for id := range m.blamed {
		if _, ok := have[id]; !ok {
			delete(m.blamed, id)
		}
	}
	for id, at := range m.asked {
		if _, ok := have[id]; !ok && now.Sub(at) > signalGrace {
			delete(m.asked, id)
		}
	}
}

// signalPoll is how often a PE is read while one of its LSPs is being signalled.
const signalPoll = 50 * time.Millisecond

// watchSignalled has a PE read again soon while an LSP that was asked for is not
// up: flows wait for it.
func (m *Manager) watchSignalled(p *peState, now time.Time, w *wake) {
	for _, l := range p.state.LSPs {
		if _, ok := m.want.lsps[p.Name][l.Name]; !ok || l.Oper == topology.OperUp || now.Sub(m.asked[l.Key()]) > signalGrace {
			continue
		}
		if again := p.state.At.Add(signalPoll); now.Before(again) {
			w.by(again)
			return
		}
		select {
		case p.worker.poll <- struct{}{}:
		default:
		}
		w.by(now.Add(signalPoll))
		return
	}
}

// settled tells whether the connections that were known before a restart can have
// been put back: until then their FTNs must not be taken for leftovers. Restored
// connections are there before Run, so it is only the edge that may be late.
func (m *Manager) settled(*peState) bool { return m.edge == nil || m.edgeOK }

// dropSpecs forgets the intent of LSPs that no PE has and no demand wants.
func (m *Manager) dropSpecs() {
	have := m.reported()
	for name, s := range m.specs {
		_, wanted := m.want.lsps[s.Ingress][name]
		if _, ok := have[s.Key()]; !ok && !wanted {
			delete(m.specs, name)
			m.saveSpec(name, nil)
		}
	}
}

// specOf gives what an LSP was asked for with, where it is ours.
func (m *Manager) specOf(l topology.LSP) (topology.LSP, bool) {
	spec, ok := m.specs[l.Name]
	return spec, ok && spec.Ingress == l.Ingress
}

// usable tells whether a class may be moved to an LSP: it is up and, where it is
// ours and its route was recorded, on the route that it was planned on.
func (m *Manager) usable(l topology.LSP) bool {
	if l.Oper != topology.OperUp {
		return false
	}
	spec, ours := m.specOf(l)
	if !ours || len(l.RRO) == 0 || len(spec.ERO) == 0 || m.ted == nil {
		return true
	}
	got, err1 := m.ted.Route(l.Ingress, l.RRO)
	want, err2 := m.ted.Route(spec.Ingress, spec.ERO)
	return err1 != nil || err2 != nil || slices.Equal(got, want)
}

// edgeRules are the rules that the edge may have now: a mark only when the PE has
// been read back to map it and the far edge to restore the customer's; until then what is installed stays, else the flow is
// only counted.
func (m *Manager) edgeRules() map[uint64]EdgeRule {
	out := map[uint64]EdgeRule{}
	for id, r := range m.want.rules {
		rule := r.EdgeRule
		if rule.Mark && len(r.needs) > 0 && !(m.mapped(r) && m.restores(r)) {
			if old, ok := m.edgeOf.Rules[id]; ok {
				rule = old
			} else {
				rule.Mark, rule.DSCP = false, 0
			}
		}
		out[id] = rule
	}
	return out
}

// restores tells whether the far edge gives the customer's DSCP back, or did so
// before a restart.
func (m *Manager) restores(r desiredRule) bool {
	_, ok := m.edgeOf.Rules[r.restore]
	return ok || m.before[r.flow]
}

// mapped tells whether the PE maps the class that a rule would mark.
func (m *Manager) mapped(r desiredRule) bool {
	pe := m.pes[r.pe]
	if pe == nil {
		return false
	}
	if !pe.read {
		return m.before[r.flow] // after a restart: what was marked stays marked
	}
	for _, name := range r.needs {
		want := m.want.ftns[r.pe][name]
		if !slices.Contains(pe.state.FTNs, want) {
			return false
		}
	}
	return true
}

// marked tells whether an edge bridge may mark packets for a class FTN,
// "…class/<attachment>/<dscp>/<prefix>": by what was read back, by what it was told
// last, or because it does not answer.
func (m *Manager) marked(ftn string) bool {
	rest, ok := strings.CutPrefix(ftn, m.cfg.Owner+"class/")
	if !ok {
		return false
	}
	at, _, _ := strings.Cut(rest, "/")
	if _, known := m.attachments[at]; m.edge != nil && known && !m.edgeOf.Attachments[at] {
		return true
	}
	for _, rules := range []map[uint64]EdgeRule{m.edgeOf.Rules, m.sent} {
		for _, r := range rules {
			if r.Mark && !r.FromPE && strings.HasPrefix(rest, r.Attachment+"/"+strconv.Itoa(int(r.DSCP))+"/") {
				return true
			}
		}
	}
	return false
}
