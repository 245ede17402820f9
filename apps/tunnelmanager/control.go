package tunnelmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
)

// What callers of the control methods decide by.
var (
	ErrNoPlan      = errors.New("no such plan")
	ErrStopped     = errors.New("the tunnel manager has stopped")
	ErrNotProposed = errors.New("plan does not wait for approval")
	// ErrNotKept: the store did not take what is in force; that is tried again.
	ErrNotKept = fmt.Errorf("in force, but not kept: until the store takes it, which is tried every %s, a restart brings back what was before", savePause)
)

// SetMode changes what plans may lead to, from now on and over restarts. With
// ErrNotKept it is in force all the same.
func (m *Manager) SetMode(ctx context.Context, actor string, mode Mode) (err error) {
	if !mode.Valid() {
		return fmt.Errorf("mode %q: want observe, suggest or auto", mode)
	}
	cerr := m.call(ctx, func(now time.Time) {
		if mode != m.mode {
			m.log.Info("mode changed", zap.String("from", string(m.mode)), zap.String("to", string(mode)), zap.String("actor", actor))
			m.record(now, Change{Actor: actor, Action: "mode", Subject: string(mode), Detail: "was " + string(m.mode), Result: ResultOK})
			m.mode, m.dirty = mode, true
			if mode == Observe {
				m.takeBack()
			}
			m.save("mode", mode)
		}
		err = m.keep(now)
	})
	return errors.Join(cerr, err)
}

// takeBack takes from the workers the operations that they have not begun: a PE
// that is being read would be given them later.
func (m *Manager) takeBack() {
	for _, p := range m.pes {
		select {
		case <-p.worker.ops:
			p.busy = false
		default:
		}
	}
}

// Approve has a proposed plan carried out. With ErrNotKept it is carried out all the
// same.
func (m *Manager) Approve(ctx context.Context, actor, id string) (p *Plan, err error) {
	cerr := m.call(ctx, func(now time.Time) {
		for _, q := range m.plans {
			if q.ID != id {
				continue
			}
			if m.mode == Observe {
				err = fmt.Errorf("%w in mode observe, which touches no router: set the mode to suggest or auto first", ErrNotProposed)
				return
			}
			if q.State != PlanProposed {
				err = fmt.Errorf("%w: %s is %s", ErrNotProposed, id, q.State)
				return
			}
			if why := m.stale(q); why != "" {
				m.supersede(q, why)
				m.dirty = true
				err = fmt.Errorf("%w: %s is stale: %s", ErrNotProposed, id, why)
				return
			}
			m.dirty = true // for what it leaves open
			m.record(now, Change{Actor: actor, Action: "approve", Subject: id, Plan: id, Result: ResultOK})
			m.accept(now, q, actor)
			p, err = q.clone(), m.keep(now)
			return
		}
		err = fmt.Errorf("%w: %s", ErrNoPlan, id)
	})
	return p, errors.Join(cerr, err)
}

// stale says why a proposal cannot be carried out as it was shown: since then the
// network or what is in force has changed. "" where it can.
func (m *Manager) stale(p *Plan) string {
	up := m.up()
	for _, l := range p.Signal {
		if !m.intact(l) {
			return "a link of " + l.Name + " is gone"
		}
		up[l.Key()] = true
	}
	why := ""
	for _, o := range p.Demands {
		if g := m.groupOf(o.ID); g != nil {
			eachLSP(&g.Demand, o.Assignment, func(id topology.LSPKey) {
				if !up[id] {
					why = id.Name + " of " + id.Ingress + " is not up any more"
				}
			})
		}
	}
	return why
}

// supersede withdraws a proposal.
func (m *Manager) supersede(p *Plan, why string) {
	p.State, p.Reason = PlanSuperseded, why
	m.keepPlan(p)
}

// Propose computes a plan now. Evaluate only scores; the others wait for approval.
func (m *Manager) Propose(ctx context.Context, actor string, scope plan.Scope) (p *Plan, err error) {
	cerr := m.call(ctx, func(now time.Time) {
		if m.ted == nil {
			err = errors.New("no topology yet: no PE has told its TED")
			return
		}
		var demands []plan.Demand
		for i := range m.groups {
			if d := m.groups[i].Demand; !m.outside(&d) {
				demands = append(demands, d)
			}
		}
		res, e := m.plan(scope, demands)
		if e != nil {
			err = e
			return
		}
		q := &Plan{At: now, Scope: scope, State: PlanProposed, Demands: res.Demands, Signal: res.Signal, Trigger: actor + " asked for it"}
		if scope == plan.Evaluate {
			q.State = PlanDone
		}
		q.Ops = m.opsOf(q, res)
		m.addPlan(q)
		m.record(now, Change{Actor: actor, Action: "propose", Subject: q.ID, Plan: q.ID, Result: ResultOK})
		p = q.clone()
	})
	return p, errors.Join(cerr, err)
}
