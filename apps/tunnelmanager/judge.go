package tunnelmanager

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// judge tells how far each binding has come, from what was read back alone.
func (m *Manager) judge(now time.Time) {
	ftns := map[string]map[string]topology.FTN{}
	for name, p := range m.pes {
		ftns[name] = map[string]topology.FTN{}
		for _, f := range p.state.FTNs {
			ftns[name][f.Name] = f
		}
	}
	lsps := map[topology.LSPKey]lspVerdict{}
	for name, b := range m.want.bindings {
		old := m.binding[name]
		b.Since = now
		if old != nil {
			b.Since, b.VerifiedAt = old.Since, old.VerifiedAt
			if old.LSP != b.LSP {
				b.Since, b.VerifiedAt = now, time.Time{}
			}
		}
		lsp, ok := lsps[b.lspKey()]
		if !ok { // many bindings have one
			lsp = m.judgeLSP(b.lspKey())
			lsps[b.lspKey()] = lsp
		}
		m.judgeOne(b, lsp, ftns[b.PE])
		if b.State == BindingVerified && b.VerifiedAt.IsZero() {
			b.VerifiedAt = now
		}
		if old == nil || old.State != b.State || old.LSP != b.LSP || old.Reason != b.Reason {
			if b.State == BindingFailed && (old == nil || old.State != BindingFailed) {
				m.log.Warn("binding failed", zap.String("pe", b.PE), zap.String("lsp", b.LSP), zap.String("reason", b.Reason))
			}
			m.notify(Notice{Binding: b})
		}
	}
	clear(m.rode)
	m.binding = m.want.bindings
	m.saveBound()
	m.finishPlans(now)
}

// lspVerdict is what judge finds of an LSP.
type lspVerdict struct {
	route  []string // its links' names
	usable bool
	why    string // not
}

func (m *Manager) judgeLSP(id topology.LSPKey) (v lspVerdict) {
	l, ok := m.reported()[id]
	if !ok {
		return lspVerdict{why: "LSP is not there yet"}
	}
	if m.ted != nil {
		v.route = linkNames(m.ted, m.routeOf(l))
	}
	switch v.usable = m.usable(l); {
	case v.usable:
	case l.Oper == topology.OperUp:
		v.why = "LSP is up on another route than planned"
	default:
		v.why = "LSP is " + l.Oper.String() + reasonSuffix(l.Reason)
	}
	return v
}

func (m *Manager) judgeOne(b *Binding, lsp lspVerdict, ftns map[string]topology.FTN) {
	if b.State == BindingFailed {
		return
	}
	pe := m.pes[b.PE]
	pending := func(why string) { b.State, b.Reason = BindingPending, why }
	switch {
	case pe == nil:
		b.State, b.Reason = BindingFailed, "PE "+b.PE+" is not configured"
		return
	case !pe.read:
		pending("PE " + b.PE + " has not been read yet")
		return
	}
	if h, ok := pe.held[b.LSP]; ok {
		b.State, b.Reason = BindingFailed, h.err.Error()
		return
	}
	if h, ok := pe.held[b.Name]; ok {
		b.State, b.Reason = BindingFailed, h.err.Error()
		return
	}
	b.Route = lsp.route
	if !lsp.usable {
		pending(lsp.why)
		return
	}
	need := []string{b.Name}
	if b.Steer == SteerClass {
		need = b.needs
	}
	if !b.Default {
		for _, n := range need {
			if f, ok := ftns[n]; !ok || f != m.want.ftns[b.PE][n] {
				if h, held := pe.held[n]; held {
					b.State, b.Reason = BindingFailed, h.err.Error()
				} else {
					pending("FTN is not there yet")
				}
				return
			}
		}
	}
	if !pe.reachable {
		b.State, b.Reason = BindingInstalled, "PE does not answer: "+pe.err.Error()
		return
	}
	if m.edge != nil {
		for _, id := range b.rules {
			r := m.want.rules[id]
			if got, ok := m.edgeOf.Rules[r.ID]; !ok || got != r.EdgeRule {
				b.State, b.Reason = BindingInstalled, "edge flow at "+r.Attachment+" has not been read back"
				return
			}
		}
	}
	b.State, b.Reason = BindingVerified, ""
}

func reasonSuffix(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// routeOf gives the links that an LSP takes: recorded, else intended; nil where
// neither can be told.
func (m *Manager) routeOf(l topology.LSP) []int {
	for _, hops := range [][]topology.Hop{l.RRO, l.ERO} {
		if len(hops) > 0 {
			if links, err := m.ted.Route(l.Ingress, hops); err == nil {
				return links
			}
		}
	}
	return nil
}

func linkNames(ted *topology.TED, links []int) []string {
	out := make([]string, len(links))
	for i, l := range links {
		out[i] = ted.Links()[l].Name
	}
	return out
}

// demandVerdict is a demand's state after a plan that gives it a level.
func demandVerdict(o plan.Outcome, got disjoint.Level) string {
	if got >= o.Requested {
		return "met"
	}
	return "unmet"
}

// finishPlans closes the plans in force whose LSPs are up and whose bindings are
// verified, or that something refused.
func (m *Manager) finishPlans(now time.Time) {
	var bindings map[slotOf][]*Binding
	for _, p := range m.plans {
		if p.State != PlanRunning {
			continue
		}
		if bindings == nil {
			bindings = m.bindingsBySlot()
		}
		m.follow(p, bindings, now)
		open, failed := 0, ""
		of := map[string]bool{}
		for _, o := range p.Demands {
			of[o.ID] = true
		}
		for _, b := range m.binding {
			if !of[b.Demand] {
				continue
			}
			switch b.State {
			case BindingFailed:
				failed = b.Reason
			case BindingPending, BindingInstalled:
				open++
			case BindingVerified:
			}
		}
		switch {
		case failed != "":
			p.State, p.Reason = PlanFailed, failed
		case open == 0:
			p.State = PlanDone
		case now.Sub(p.Began) > time.Minute:
			p.State, p.Reason = PlanFailed, fmt.Sprintf("%d bindings were not verified within a minute", open)
		default:
			continue
		}
		m.keepPlan(p)
	}
}
